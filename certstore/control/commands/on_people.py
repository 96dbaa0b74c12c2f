"""The verbs on users and tokens that the command line has: JSON-able arguments in, JSON-able facts out.

Performed by control on what it holds open, or under the lock where no control runs. Whoever may use them owns the
store or is root, so nothing is authorized here; everything goes into the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from certstore.control.commands.on_store import Arguments
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.authorization import Scope
from certstore.model.console.people import InvalidPerson, Role, check_password, parse_user_name
from certstore.model.did_you_mean import site_advice
from certstore.model.text import shown
from certstore.people.access import Access
from certstore.people.passwords import Passwords
from certstore.people.tokens import UnknownToken
from certstore.people.users import UnknownUser, UserExists

COMMAND = "command line"


def perform_admin(access: Access, sites: Collection[str], command: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """`sites` are the keys of those there are. Raises VerbFailed, OSError."""
    act = ADMIN_VERBS.get(command)
    if act is None:
        raise RequestFailed(Fault.BAD_REQUEST, f"there is no verb {command!r:.60}; there are: {', '.join(ADMIN_VERBS)}")
    arguments = Arguments(args)
    for unknown in (site for site in arguments.texts("sites") if site not in sites):
        raise RequestFailed(Fault.INVALID, f"there is no site {shown(unknown)}", site_advice(unknown, sites))
    try:
        return act(access, arguments)
    except InvalidPerson as error:
        raise RequestFailed(Fault.INVALID, str(error)) from None
    except (UnknownUser, UnknownToken) as error:
        raise RequestFailed(Fault.NOT_FOUND, str(error), "the command `list` beside this one names them") from None


def _list_users(access: Access, _: Arguments) -> dict[str, Any]:
    users = access.users.all()
    return {
        "users": [
            {
                "name": user.name,
                "role": user.role.value,
                "sites": list(user.sites),
                "has_password": bool(user.password_hash),
                "has_one_time_codes": bool(user.totp_secret),
                "made_at": user.made_at.isoformat(timespec="seconds"),
            }
            for user in users
        ]
    }


def _remove_user(access: Access, arguments: Arguments) -> dict[str, Any]:
    """Signed out at once, and no link left."""
    name = arguments.text("name")
    access.users.remove(name)
    access.invitations.withdraw(name)
    access.sessions.end_all(name)
    message = f"user {name} removed, and signed out everywhere"
    access.audit.note(COMMAND, "local", "user.remove", None, "done", message)
    return {"name": name, "message": message}


def _add_user(access: Access, arguments: Arguments) -> dict[str, Any]:
    """A new user, or with `replace` a new password for one, who is then signed out everywhere and has no link left."""
    name, password = parse_user_name(arguments.text("name")), arguments.text("password")
    role, sites = Role(_one_of(arguments.text("role"), Role)), tuple(arguments.texts("sites"))
    check_password(password, name)
    password_hash = Passwords().hash(password)
    try:
        access.users.add(name, role, sites, password_hash)
        message = f"user {name} added"
    except UserExists as error:
        if not arguments.flag("replace"):
            raise RequestFailed(Fault.EXISTS, str(error), "give a new password with --replace") from None
        access.users.change(name, role, sites)
        access.users.set_password(name, password_hash)
        access.users.set_totp(name, "", 0)
        access.sessions.end_all(name)
        access.invitations.withdraw(name)
        message = f"user {name} has a new password, and is signed out everywhere"
    access.audit.note(COMMAND, "local", "user.add", None, "done", message)
    return {"name": name, "role": role.value, "sites": list(sites), "message": message}


def _add_token(access: Access, arguments: Arguments) -> dict[str, Any]:
    sites = tuple(arguments.texts("sites")) or None
    scope = Scope(_one_of(arguments.text("scope"), Scope))
    token, text = access.tokens.add(arguments.text("name"), scope, sites, COMMAND)
    access.audit.note(COMMAND, "local", "token.add", None, "done", f"{token.name} ({token.key}), scope {scope}")
    return {"key": token.key, "name": token.name, "scope": scope.value, "sites": sites, "token": text}


def _list_tokens(access: Access, _: Arguments) -> dict[str, Any]:
    return {
        "tokens": [
            {
                "key": token.key,
                "name": token.name,
                "scope": token.scope.value,
                "sites": None if token.sites is None else list(token.sites),
                "made_at": token.made_at.isoformat(timespec="seconds"),
                "made_by": token.made_by,
            }
            for token in access.tokens.all()
        ]
    }


def _remove_token(access: Access, arguments: Arguments) -> dict[str, Any]:
    token = access.tokens.remove(arguments.text("key"))
    message = f"token {token.name} ({token.key}) is good for nothing any more"
    access.audit.note(COMMAND, "local", "token.remove", None, "done", message)
    return {"key": token.key, "name": token.name, "message": message}


def _one_of(text: str, kind: type[Role] | type[Scope]) -> str:
    allowed = [each.value for each in kind]
    if text not in allowed:
        raise RequestFailed(Fault.INVALID, f"{text!r:.40} is none of {', '.join(allowed)}")
    return text


ADMIN_VERBS: dict[str, Callable[[Access, Arguments], dict[str, Any]]] = {
    "admin.user.add": _add_user,
    "admin.user.list": _list_users,
    "admin.user.remove": _remove_user,
    "admin.token.add": _add_token,
    "admin.token.list": _list_tokens,
    "admin.token.remove": _remove_token,
}
