"""The commands on the console's users and tokens that the command line has.

Only root and the store's owner can give these commands, so nothing is authorized here.
"""

from __future__ import annotations

from dataclasses import dataclass

from certstore.control.commands import requests, results
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.people import check_password, parse_user_name
from certstore.model.did_you_mean import site_advice
from certstore.model.progress import Tell
from certstore.model.text import shown
from certstore.people.access import Access
from certstore.people.passwords import Passwords
from certstore.people.users import UserExists
from certstore.store.writer import StoreWriter

COMMAND = "command line"


@dataclass(frozen=True, slots=True)
class People:
    """What these commands are performed on."""

    access: Access
    writer: StoreWriter

    def check_sites(self, sites: tuple[str, ...]) -> None:
        """Raises RequestFailed for one that does not exist."""
        known = self.writer.sites()
        for unknown in (site for site in sites if site not in known):
            raise RequestFailed(Fault.INVALID, f"there is no site {shown(unknown)}", site_advice(unknown, known))


def list_users(people: People, request: requests.ListUsersRequest, tell: Tell) -> results.UsersResult:
    return results.UsersResult(tuple(map(results.UserFacts.of, people.access.users.all())))


def add_user(people: People, request: requests.AddUserRequest, tell: Tell) -> results.UserResult:
    """With `replace`, an existing user is signed out everywhere, and a set-up link is withdrawn."""
    people.check_sites(request.sites)
    access, name = people.access, parse_user_name(request.name)
    check_password(request.password, name)
    password_hash = Passwords().hash(request.password)
    try:
        access.users.add(name, request.role, request.sites, password_hash)
        message = f"user {name} added"
    except UserExists as error:
        if not request.replace:
            raise RequestFailed(Fault.EXISTS, str(error), "to set a new password: --replace") from None
        access.users.change(name, request.role, request.sites)
        access.users.set_password(name, password_hash)
        access.users.set_totp(name, "", 0)
        access.sessions.end_all(name)
        access.invitations.withdraw(name)
        message = f"user {name} has a new password and is signed out everywhere"
    return results.UserResult(name=name, role=request.role, sites=request.sites, message=message)


def remove_user(people: People, request: requests.RemoveUserRequest, tell: Tell) -> results.UserResult:
    """The user is signed out at once, and a set-up link is withdrawn."""
    access, name = people.access, request.name
    access.users.remove(name)
    access.invitations.withdraw(name)
    access.sessions.end_all(name)
    message = f"user {name} removed and signed out everywhere"
    return results.UserResult(name=name, message=message)


def list_tokens(people: People, request: requests.ListTokensRequest, tell: Tell) -> results.TokensResult:
    return results.TokensResult(tuple(map(results.TokenFacts.of, people.access.tokens.all())))


def add_token(people: People, request: requests.AddTokenRequest, tell: Tell) -> results.TokenResult:
    people.check_sites(request.sites)
    sites = request.sites or None
    token, text = people.access.tokens.add(request.name, request.scope, sites, COMMAND, request.ends_at)
    return results.TokenResult(token.key, token.name, request.scope, sites, text)


def remove_token(people: People, request: requests.RemoveTokenRequest, tell: Tell) -> results.TokenRemoved:
    token = people.access.tokens.remove(request.key)
    message = f"token {token.name} ({token.key}) revoked"
    return results.TokenRemoved(token.key, token.name, message)
