"""`certedge admin …`: people who may use the console, and tokens for its API."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from certstore.cli.asking import ask
from certstore.cli.completion import OF_SITES, words
from certstore.cli.context import AsJson, Config, argument, group, open_edge, option, repeated_option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import authorization, people, requests, results
from certstore.cli.output import GOOD, Cell, print_json, print_lines, print_table
from certstore.model.text import written_text

app = group("Manage users of the console and tokens for its API.", "certedge admin user list")
user = group("Manage the people who can sign in to the console.", "certedge admin user add anna")
token = group("Manage tokens for the API.", "certedge admin token add monitoring --scope read")
app.add_typer(user, name="user")
app.add_typer(token, name="token")

_PASSWORD_LIMIT = 4096
_ROLES, _SCOPES = ("admin", "domain"), ("read", "operate", "admin")

Sites = Annotated[list[str] | None, repeated_option("--site", "SITE", "Restrict to this site", **OF_SITES)]


def _choice(name: str, allowed: Sequence[str], what: str, **more: Any) -> Any:
    return typer.Option(name, metavar="|".join(allowed), autocompletion=words(lambda: allowed), help=what, **more)


@user.command("add", epilog="Example: certedge admin user add anna --role domain --site webmail.example.com")
def add_user(
    name: Annotated[str, argument("NAME", "The name to sign in with.")],
    role: Annotated[
        str, _choice("--role", _ROLES, "admin: all sites; domain: only those given with --site.")
    ] = "admin",
    site: Sites = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="If the user exists, set this password, role and sites.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Add a user of the console. You are prompted for the password."""
    attempted = f"add the user {name}"
    edge = open_edge(config)
    password = _read_password(attempted, from_stdin=password_stdin)
    request = requests.AddUserRequest(name, _one_of(people.Role, role, attempted), password, tuple(site or ()), replace)
    _show(ask(edge, request, attempted), as_json=as_json)


@user.command("list", epilog="Example: certedge admin user list")
def list_users(config: Config = None, as_json: AsJson = False) -> None:
    """List the users, their sites and how they sign in."""
    result = ask(open_edge(config), requests.ListUsersRequest(), "list the users")
    if as_json:
        print_json(result.to_json())
    else:
        rows = [(each.name, each.role, _sites(each.sites), _sign_in(each)) for each in result.users]
        print_table(("user", "role", "sites", "sign-in"), rows, wraps=("sites", "sign-in"))


@user.command("remove", epilog="Example: certedge admin user remove anna")
def remove_user(
    name: Annotated[str, argument("NAME", "The user to remove.")], config: Config = None, as_json: AsJson = False
) -> None:
    """Remove a user and sign them out at once. The last administrator can't be removed."""
    _show(ask(open_edge(config), requests.RemoveUserRequest(name), f"remove the user {name}"), as_json=as_json)


@token.command("add", epilog="Example: certedge admin token add monitoring --scope read --ends 2027-12-31")
def add_token(
    name: Annotated[str, argument("NAME", "What the token is for.")],
    scope: Annotated[str, _choice("--scope", _SCOPES, "What the token allows.", show_default=False)],
    site: Sites = None,
    ends: Annotated[
        str, option("--ends", "DATE", "Its last day, in UTC; without one, it is valid until you remove it.")
    ] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Create a token for the API and print it. It can't be shown again."""
    attempted = f"add the token {name}"
    kind, ends_at = _one_of(authorization.Scope, scope, attempted), _end_of(ends, attempted)
    request = requests.AddTokenRequest(name, kind, tuple(site or ()), ends_at)
    result = ask(open_edge(config), request, attempted)
    if as_json:
        print_json(result.to_json())
        return
    print_lines(result.token)
    sys.stderr.write("Copy the token now: it can't be shown again.\n" if sys.stderr.isatty() else "")


@token.command("list", epilog="Example: certedge admin token list --json")
def list_tokens(config: Config = None, as_json: AsJson = False) -> None:
    """List the tokens. The text of a token begins with `cet_` and its key."""
    result = ask(open_edge(config), requests.ListTokensRequest(), "list the tokens")
    if as_json:
        print_json(result.to_json())
        return
    rows = [
        (
            each.key,
            each.name,
            each.scope,
            _sites(each.sites),
            each.made_by,
            f"{each.made_at:%Y-%m-%d}",
            f"{each.used_at:%Y-%m-%d %H:%M}" if each.used_at else "never",
            f"{each.ends_at:%Y-%m-%d %H:%M}" if each.ends_at else "never",
        )
        for each in result.tokens
    ]
    headers = ("key", "name", "scope", "sites", "made by", "made", "last used", "ends")
    print_table(headers, rows, gives_way=("made by", "made"), wraps=("sites",))


@token.command("remove", epilog="Example: certedge admin token remove 5f3a09c1d2e4")
def remove_token(
    key: Annotated[str, argument("KEY", "The key, as shown by `admin token list`.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a token at once."""
    _show(ask(open_edge(config), requests.RemoveTokenRequest(key), f"remove the token {key}"), as_json=as_json)


def _show(result: results.UserResult | results.TokenRemoved, *, as_json: bool) -> None:
    if as_json:
        print_json(result.to_json())
    else:
        print_lines(Cell(result.message, GOOD))


def _one_of[E: StrEnum](kind: type[E], word: str, attempted: str) -> E:
    try:
        return kind(word)
    except ValueError:
        found = f"{word!r:.40} is none of {', '.join(each.value for each in kind)}"
        raise CommandFailed(attempted, found, "", Exit.USAGE) from None


def _end_of(day: str, attempted: str) -> datetime | None:
    try:
        return people.end_of_day(day) if day else None
    except people.InvalidPerson as error:
        raise CommandFailed(attempted, str(error), "", Exit.USAGE) from None


def _sites(sites: Iterable[str] | None) -> str:
    return ", ".join(sites or ()) or "all"


def _sign_in(user: results.UserFacts) -> str:
    if not user.has_password:
        return "invited"
    return "password and code" if user.has_one_time_codes else "password"


def _read_password(attempted: str, *, from_stdin: bool) -> str:
    if from_stdin:
        text = sys.stdin.buffer.readline(_PASSWORD_LIMIT)
        try:
            return written_text(text).rstrip("\r\n")
        except UnicodeDecodeError:
            raise CommandFailed(attempted, "the password on stdin is not UTF-8 text", "", Exit.USAGE) from None
    if not sys.stdin.isatty():
        found = "there is no terminal to ask for the password"
        raise CommandFailed(attempted, found, "pass it with --password-stdin", Exit.USAGE)
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
