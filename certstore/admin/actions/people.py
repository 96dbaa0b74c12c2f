"""Actions on users and tokens: sign-in, set-up links, passwords, one-time codes, users, API tokens."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta

from certstore.admin.actions.action import Actions, Actor
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console import totp
from certstore.model.console.authorization import Action, Scope
from certstore.model.console.people import InvalidPerson, Role, Token, User, check_password, parse_user_name
from certstore.model.snapshot import MAIN
from certstore.model.text import shown
from certstore.people.invitations import FIRST
from certstore.people.sessions import Session
from certstore.people.tokens import UnknownToken
from certstore.people.users import UserExists


class SignInFailed(Exception):
    """`wait`: how long to wait after too many attempts. `needs_code`: name and password are right."""

    def __init__(self, message: str, *, wait: timedelta | None = None, needs_code: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.needs_code = needs_code


# Signing in


def sign_in(actions: Actions, name: str, password: str, code: str, address: str) -> Session:
    """A new session. Raises SignInFailed, with the same message whether the name or the password is wrong."""
    name = name.strip().lower()[:80]
    if (wait := actions.throttle.enter(name, address)) is not None:
        seconds = max(1, round(wait.total_seconds()))
        raise SignInFailed(f"Too many failed attempts. Try again in {seconds} seconds.", wait=wait)
    user = actions.access.users.find(name)
    is_right = actions.passwords.is_right(user.password_hash if user else "", password[:1100])
    if user is None or not is_right:
        _refuse(actions, name, address, "wrong name or password")
        raise SignInFailed("Wrong name or password.")
    if user.totp_secret:
        if not code:
            actions.throttle.take_back(name, address)
            raise SignInFailed("Enter the code from your authenticator app.", needs_code=True)
        step = totp.matching_step(user.totp_secret, code, actions.context.clock(), last_step=user.totp_step)
        if step is None or not actions.access.users.use_totp_step(name, step):
            _refuse(actions, name, address, "wrong code")
            raise SignInFailed("The code is wrong or was already used. Wait for the next one.", needs_code=True)
    actions.throttle.succeeded(name, address)
    actions.access.audit.note(f"user {name}", address, "sign_in", None, "done")
    return actions.access.sessions.begin(name, address)


def _refuse(actions: Actions, name: str, address: str, why: str) -> None:
    actions.access.audit.note("nobody", address, "sign_in", None, "refused", f"{why}: {name}")


def sign_out(actions: Actions, actor: Actor, *, everywhere: bool = False) -> None:
    actions.check(actor, Action.PROFILE_CHANGE)
    if actor.session is None:
        return
    if everywhere:
        actions.access.sessions.end_all(actor.name)
    actions.access.sessions.end(actor.session.digest)
    detail = "everywhere" if everywhere else ""
    actions.access.audit.note(actor.who, actor.address, "sign_out", None, "done", detail)


def invited_user(actions: Actions, secret: str) -> str | None:
    """The user's name, or FIRST; None if the link is not valid.

    A link for the first administrator is invalid once there is one, even if the command line added it.
    """
    invited = actions.access.invitations.find(secret)
    return None if invited == FIRST and not actions.access.users.is_empty else invited


def use_set_up_link(actions: Actions, secret: str, name: str, password: str, address: str) -> Session:
    """Set a password with a set-up link; the first administrator chooses a name too. Raises RequestFailed,
    InvalidPerson."""
    invited = invited_user(actions, secret)
    if invited is None:
        found = "this link is no longer valid: it was used, has expired, or was replaced by a newer one"
        raise RequestFailed(Fault.NOT_FOUND, found, "ask an administrator for a new one, or: certedge admin user add")
    chosen = parse_user_name(name) if invited == FIRST else invited
    check_password(password, chosen)
    password_hash = actions.passwords.hash(password)
    # Used up only now: a password that is too short does not cost the link.
    if actions.access.invitations.use(secret) is None:
        raise RequestFailed(Fault.NOT_FOUND, "this link was used a moment ago")
    if invited == FIRST:
        try:
            actions.access.users.add(chosen, Role.ADMIN, (), password_hash)
        except UserExists:
            raise InvalidPerson(f"there is a user {chosen} already; choose another name") from None
    else:
        actions.access.users.set_password(chosen, password_hash)
        actions.access.users.set_totp(chosen, "", 0)
        actions.access.sessions.end_all(chosen)
    actions.access.audit.note(f"user {chosen}", address, "set_up", None, "done")
    return actions.access.sessions.begin(chosen, address)


# The user's own account


def change_password(actions: Actions, actor: Actor, old: str, new: str) -> None:
    """Ends the user's other sessions. Raises InvalidPerson."""
    with actions.audited(actor, Action.PROFILE_CHANGE, detail="password"):
        _check_current_password(actions, actor, old)
        check_password(new, actor.name)
        actions.access.users.set_password(actor.name, actions.passwords.hash(new))
        actions.access.sessions.end_all(actor.name, but=actor.session.digest if actor.session else None)


def _check_current_password(actions: Actions, actor: Actor, password: str) -> None:
    """Throttled like sign-in: someone who finds a signed-in browser must not guess passwords here."""
    if (wait := actions.throttle.enter(actor.name, actor.address)) is not None:
        raise InvalidPerson(f"too many failed attempts; try again in {max(1, round(wait.total_seconds()))} seconds")
    if not actions.passwords.is_right(actions.access.users.get(actor.name).password_hash, password[:1100]):
        raise InvalidPerson("the current password is wrong")
    actions.throttle.take_back(actor.name, actor.address)


def list_sessions(actions: Actions, actor: Actor) -> list[Session]:
    """The user's sessions, last used first."""
    actions.check(actor, Action.PROFILE_VIEW)
    return sorted(actions.access.sessions.of(actor.name), key=lambda each: each.seen_at, reverse=True)


def offer_codes(actions: Actions, actor: Actor, secret: str = "") -> tuple[str, str]:
    """A secret, a new one unless it is given, and its URI for authenticator apps. Changes nothing."""
    actions.check(actor, Action.PROFILE_VIEW)
    secret = secret or base64.b32encode(secrets.token_bytes(totp.SECRET_BYTES)).decode()
    return secret, totp.provisioning_uri(secret, actor.name, actions.context.writer.site(MAIN).host)


def switch_codes_on(actions: Actions, actor: Actor, secret: str, code: str) -> None:
    """Needs a code of this secret, so that nobody locks themselves out. Raises InvalidPerson.

    Replacing a secret needs `switch_codes_off` first, and so the password.
    """
    with actions.audited(actor, Action.PROFILE_CHANGE, detail="one-time codes on"):
        if actions.access.users.get(actor.name).totp_secret:
            raise InvalidPerson("one-time codes are already on; turn them off first")
        try:
            step = totp.matching_step(secret, code, actions.context.clock(), last_step=0)
        except ValueError:
            raise InvalidPerson("this secret was not created here; reload the page and try again") from None
        if step is None or len(secret) < 32:
            raise InvalidPerson("the code does not match; check the clock of your phone and try the next code")
        actions.access.users.set_totp(actor.name, secret, step)


def switch_codes_off(actions: Actions, actor: Actor, password: str) -> None:
    """Raises InvalidPerson."""
    with actions.audited(actor, Action.PROFILE_CHANGE, detail="one-time codes off"):
        _check_current_password(actions, actor, password)
        actions.access.users.set_totp(actor.name, "", 0)


# Users and tokens, by administrators


def list_users(actions: Actions, actor: Actor) -> list[User]:
    actions.check(actor, Action.USERS_VIEW)
    return actions.access.users.all()


def put_user(actions: Actions, actor: Actor, name: str, role: Role, sites: tuple[str, ...]) -> tuple[User, bool]:
    """Add or change a user; also whether the user is new. Raises InvalidPerson, RequestFailed for an unknown site."""
    name = parse_user_name(name)
    is_new = actions.access.users.find(name) is None
    with actions.audited(actor, Action.USER_ADD if is_new else Action.USER_CHANGE, detail=name) as audited:
        _check_sites(actions, sites)
        sites = tuple(sorted(set(sites)))
        user = actions.access.users.add(name, role, sites) if is_new else actions.access.users.change(name, role, sites)
        audited.detail = f"{name}: {role.value}" + (f" of {', '.join(sites)}" if sites else "")
    return user, is_new


def invite(actions: Actions, actor: Actor, name: str) -> str:
    """The secret of a set-up link with which the user chooses a new password. Raises UnknownUser."""
    with actions.audited(actor, Action.USER_INVITE, detail=name):
        return actions.access.invitations.make(actions.access.users.get(name).name)


def remove_user(actions: Actions, actor: Actor, name: str) -> None:
    """Also ends the user's sessions. Raises UnknownUser, InvalidPerson for the last administrator."""
    with actions.audited(actor, Action.USER_REMOVE, detail=name):
        actions.access.users.remove(name)
        actions.access.invitations.withdraw(name)
        actions.access.sessions.end_all(name)


def list_tokens(actions: Actions, actor: Actor) -> list[Token]:
    actions.check(actor, Action.TOKENS_VIEW)
    return actions.access.tokens.all()


def add_token(
    actions: Actions,
    actor: Actor,
    name: str,
    scope: Scope,
    sites: tuple[str, ...] | None,
    ends_at: datetime | None = None,
) -> tuple[Token, str]:
    """The token and its text, which is shown once. Raises InvalidPerson."""
    with actions.audited(actor, Action.TOKEN_ADD, detail=name[:80]) as audited:
        _check_sites(actions, sites or ())
        token, text = actions.access.tokens.add(name, scope, sites, actor.who, ends_at)
        audited.detail = f"{token.name} ({token.key}), scope {scope.value}"
    return token, text


def _check_sites(actions: Actions, sites: tuple[str, ...]) -> None:
    known = set(actions.context.writer.sites())
    if unknown := [site for site in sites if site not in known]:
        raise RequestFailed(Fault.INVALID, f"there is no site {shown(unknown[0])}")


def remove_token(actions: Actions, actor: Actor, key: str) -> None:
    """Raises RequestFailed (not found)."""
    with actions.audited(actor, Action.TOKEN_REMOVE, detail=key[:20]) as audited:
        try:
            token = actions.access.tokens.remove(key)
        except UnknownToken:
            raise RequestFailed(Fault.NOT_FOUND, "there is no such token") from None
        audited.detail = f"{token.name} ({token.key})"
