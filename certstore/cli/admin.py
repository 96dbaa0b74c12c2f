"""`certedge admin …`: people who may use the console, and tokens for its API."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from certstore.cli.asking import ask
from certstore.cli.completion import site_keys, words
from certstore.cli.context import AsJson, Config, open_edge
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.output import GOOD, Cell, print_json, print_lines, print_table

if TYPE_CHECKING:
    from certstore.control.commands.results import TokenRemoved, UserFacts, UserResult

app = typer.Typer(
    no_args_is_help=True,
    help="Users of the console, and tokens for its API.",
    epilog="Example: certedge admin user list",
)
user = typer.Typer(
    no_args_is_help=True, help="People who may sign in to the console.", epilog="Example: certedge admin user add anna"
)
token = typer.Typer(
    no_args_is_help=True, help="Tokens for the API.", epilog="Example: certedge admin token add monitoring --scope read"
)
app.add_typer(user, name="user")
app.add_typer(token, name="token")

_PASSWORD_LIMIT = 4096

Sites = Annotated[
    list[str] | None,
    typer.Option(
        "--site", metavar="SITE", show_default=False, autocompletion=site_keys, help="Only this site; may be repeated."
    ),
]


@user.command("add", epilog="Example: certedge admin user add anna --role domain --site webmail.example.com")
def add_user(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="With what the person signs in.")],
    role: Annotated[
        str,
        typer.Option(
            "--role",
            metavar="admin|domain",
            autocompletion=words(lambda: ("admin", "domain")),
            help="All sites, or their own only.",
        ),
    ] = "admin",
    site: Sites = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="A user of this name gets this password, role and sites.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Let somebody sign in to the console. The password is asked for."""
    from certstore.control.commands.requests import AddUserRequest
    from certstore.model.console.people import Role

    attempted = f"add the user {name}"
    edge = open_edge(config)
    password = _read_password(attempted, from_stdin=password_stdin)
    request = AddUserRequest(name, _one_of(Role, role, attempted), password, tuple(site or ()), replace)
    _show(ask(edge, request, attempted), as_json=as_json)


@user.command("list", epilog="Example: certedge admin user list")
def list_users(config: Config = None, as_json: AsJson = False) -> None:
    """Who may sign in, and what they see."""
    from certstore.control.commands.requests import ListUsersRequest

    result = ask(open_edge(config), ListUsersRequest(), "list the users")
    if as_json:
        print_json(result.to_json())
        return
    print_table(
        ("user", "role", "sites", "sign-in"),
        [(each.name, each.role, _sites(each.sites), _sign_in(each)) for each in result.users],
        wraps=("sites", "sign-in"),
    )


@user.command("remove", epilog="Example: certedge admin user remove anna")
def remove_user(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="Who is to go.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take somebody's sign-in away, at once. The last administrator stays."""
    from certstore.control.commands.requests import RemoveUserRequest

    _show(ask(open_edge(config), RemoveUserRequest(name), f"remove the user {name}"), as_json=as_json)


@token.command("list", epilog="Example: certedge admin token list --json")
def list_tokens(config: Config = None, as_json: AsJson = False) -> None:
    """Which tokens there are. A token begins with `cet_` and its key."""
    from certstore.control.commands.requests import ListTokensRequest

    result = ask(open_edge(config), ListTokensRequest(), "list the tokens")
    if as_json:
        print_json(result.to_json())
        return
    print_table(
        ("key", "name", "scope", "sites", "made by", "made"),
        [
            (each.key, each.name, each.scope, _sites(each.sites), each.made_by, f"{each.made_at:%Y-%m-%d}")
            for each in result.tokens
        ],
        gives_way=("made by", "made"),
        wraps=("sites",),
    )


@token.command("remove", epilog="Example: certedge admin token remove 5f3a09c1d2e4")
def remove_token(
    key: Annotated[str, typer.Argument(metavar="KEY", show_default=False, help="As `admin token list` shows it.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a token good for nothing, at once."""
    from certstore.control.commands.requests import RemoveTokenRequest

    _show(ask(open_edge(config), RemoveTokenRequest(key), f"remove the token {key}"), as_json=as_json)


@token.command("add", epilog="Example: certedge admin token add monitoring --scope read")
def add_token(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What it is used for.")],
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            metavar="read|operate|admin",
            show_default=False,
            autocompletion=words(lambda: ("read", "operate", "admin")),
            help="What it may do.",
        ),
    ],
    site: Sites = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a token for the API; it is printed once."""
    from certstore.control.commands.requests import AddTokenRequest
    from certstore.model.console.authorization import Scope

    attempted = f"add the token {name}"
    request = AddTokenRequest(name, _one_of(Scope, scope, attempted), tuple(site or ()))
    result = ask(open_edge(config), request, attempted)
    if as_json:
        print_json(result.to_json())
        return
    print_lines(result.token)
    sys.stderr.write("This is the only time that the token is shown.\n" if sys.stderr.isatty() else "")


def _show(result: UserResult | TokenRemoved, *, as_json: bool) -> None:
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


def _sites(sites: Sequence[str] | None) -> str:
    return ", ".join(sites) if sites else "all"


def _sign_in(user: UserFacts) -> str:
    if not user.has_password:
        return "invited"
    return "password and code" if user.has_one_time_codes else "password"


def _read_password(attempted: str, *, from_stdin: bool) -> str:
    if from_stdin:
        text = sys.stdin.buffer.readline(_PASSWORD_LIMIT)
        try:
            return text.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise CommandFailed(attempted, "the password on stdin is not UTF-8 text", "", Exit.USAGE) from None
    if not sys.stdin.isatty():
        found = "there is nobody to ask for the password"
        raise CommandFailed(attempted, found, "give it with --password-stdin", Exit.USAGE)
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
