"""Every address of the console with every kind of grant, for its own and for another site.

The addresses come from the application itself: one that is missing in the table below fails, so none goes untested.
`tests/certstore/model/console/test_authorization.py` has the table of what a grant may do; these tests show that each
address checks it.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from certstore.admin.app import build_app
from certstore.admin.server import build_actions
from certstore.model.console.authorization import Action, Grant, Scope, Verdict, authorize
from certstore.model.console.people import Role
from tests.certstore.admin.browser import submit, upload
from tests.certstore.admin.console import Answer, Client, RunningConsole, running_console
from tests.certstore.stores import OTHER, SITE
from tests.deadlines import wait_for

API = "/api/v1"
NUMBERS = itertools.count(1)


class Open(StrEnum):
    """Addresses outside the table of rights."""

    ANYBODY = "anybody"
    SIGNED_IN = "signed in"


@dataclass(frozen=True)
class Route:
    """The right that an address needs, and a request that only a missing right can stop."""

    asks: Action | Open
    body: Mapping[str, Any] | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    is_upload: bool = False
    is_endless: bool = False


def changing(**facts: Any) -> dict[str, Any]:
    """Settings that differ from the present ones."""
    return facts | {"contact": [f"a{next(NUMBERS)}@x.test"]}


ZOE, TOKEN = {"name": "zoe"}, {"key": "0" * 12}
PUBLIC = {
    "GET /healthz": Route(Open.ANYBODY),
    "GET /readyz": Route(Open.ANYBODY),
    "GET /api/v1/openapi.json": Route(Open.ANYBODY),
    "GET /signin": Route(Open.ANYBODY),
    "POST /signin": Route(Open.ANYBODY),
    "GET /setup": Route(Open.ANYBODY),
    "POST /setup": Route(Open.ANYBODY),
}
PROGRAMS = {
    "GET /metrics": Route(Action.SERVICE_VIEW),
    f"GET {API}/me": Route(Open.SIGNED_IN),
    f"GET {API}/me/sessions": Route(Action.PROFILE_VIEW),
    f"DELETE {API}/me/sessions": Route(Action.PROFILE_CHANGE),
    f"PUT {API}/me/password": Route(Action.PROFILE_CHANGE, {"present": "x", "new": "y"}),
    f"POST {API}/me/codes": Route(Action.PROFILE_VIEW),
    f"PUT {API}/me/codes": Route(Action.PROFILE_CHANGE, {"secret": "x", "code": "y"}),
    f"POST {API}/me/codes/off": Route(Action.PROFILE_CHANGE, {"password": "x"}),
    f"GET {API}/sites": Route(Action.SITES_LIST),
    f"GET {API}/sites/{{site}}": Route(Action.SITE_VIEW),
    f"GET {API}/sites/{{site}}/settings": Route(Action.SITE_VIEW),
    f"PUT {API}/sites/{{site}}/settings": Route(Action.SITE_SET_SOURCE, {"contact": []}),
    f"DELETE {API}/sites/{{site}}": Route(Action.SITE_REMOVE),
    f"GET {API}/sites/{{site}}/versions": Route(Action.SITE_VIEW),
    f"GET {API}/sites/{{site}}/attempts": Route(Action.SITE_VIEW),
    f"POST {API}/sites/{{site}}/handshakes": Route(Action.SITE_VERIFY),
    f"POST {API}/sites/{{site}}/certificate/preview": Route(Action.CERT_PREVIEW, {"files": []}),
    f"PUT {API}/sites/{{site}}/certificate": Route(Action.CERT_INSTALL, {"files": []}),
    f"GET {API}/sites/{{site}}/certificate/chain.pem": Route(Action.SITE_VIEW),
    f"PUT {API}/sites/{{site}}/versions/{{version}}/live": Route(Action.CERT_ACTIVATE, values={"version": "9"}),
    f"POST {API}/sites/{{site}}/orders": Route(Action.CERT_ORDER, {}),
    f"POST {API}/sites/{{site}}/preflights": Route(Action.SITE_PREFLIGHT),
    f"GET {API}/jobs/{{key}}": Route(Action.SITE_VIEW),
    f"GET {API}/jobs/{{key}}/events": Route(Action.SITE_VIEW),
    f"GET {API}/users": Route(Action.USERS_VIEW),
    f"PUT {API}/users/{{name}}": Route(Action.USER_CHANGE, {"role": "domain", "sites": [SITE]}, ZOE),
    f"POST {API}/users/{{name}}/invitation": Route(Action.USER_INVITE, values=ZOE),
    f"DELETE {API}/users/{{name}}": Route(Action.USER_REMOVE, values=ZOE),
    f"GET {API}/tokens": Route(Action.TOKENS_VIEW),
    f"POST {API}/tokens": Route(Action.TOKEN_ADD, {"name": "x", "scope": "read"}),
    f"DELETE {API}/tokens/{{key}}": Route(Action.TOKEN_REMOVE, values=TOKEN),
    f"GET {API}/service": Route(Action.SERVICE_VIEW),
    f"GET {API}/cluster": Route(Action.SERVICE_VIEW),
    f"POST {API}/service/account": Route(Action.ACCOUNT_REGISTER, {"agree_to_terms": False}),
    f"POST {API}/service/test-mail": Route(Action.NOTIFY_TEST, {"to": []}),
    f"GET {API}/audit": Route(Action.AUDIT_VIEW),
    f"GET {API}/audit.jsonl": Route(Action.AUDIT_VIEW),
    f"GET {API}/events": Route(Action.SITES_LIST, is_endless=True),
}
PEOPLE = {
    "GET /": Route(Action.SITES_LIST),
    "GET /sites/new": Route(Action.SITE_ADD),
    "POST /sites/new": Route(Action.SITE_ADD, {"host": "third.test", "certificate": "main"}),
    "GET /sites/{site}": Route(Action.SITE_VIEW),
    "GET /sites/{site}/handshakes": Route(Action.SITE_VERIFY),
    "GET /sites/{site}/settings": Route(Action.SITE_SET_SOURCE),
    "POST /sites/{site}/settings": Route(Action.SITE_SET_SOURCE, {"contact": "a@x.test"}),
    "GET /sites/{site}/remove": Route(Action.SITE_REMOVE),
    "POST /sites/{site}/remove": Route(Action.SITE_REMOVE, {"typed": "something else"}),
    "POST /sites/{site}/rollback": Route(Action.CERT_ACTIVATE, {"version": "9"}),
    "GET /sites/{site}/certificate": Route(Action.CERT_PREVIEW),
    "POST /sites/{site}/certificate/files": Route(Action.CERT_PREVIEW, is_upload=True),
    "POST /sites/{site}/certificate/take": Route(Action.CERT_INSTALL, {"key": "x"}),
    "POST /sites/{site}/certificate/main": Route(Action.SITE_SET_SOURCE),
    "POST /sites/{site}/certificate/order": Route(Action.CERT_ORDER),
    "POST /sites/{site}/renew": Route(Action.CERT_ORDER),
    "POST /sites/{site}/preflight": Route(Action.SITE_PREFLIGHT),
    "GET /sites/{site}/jobs/{key}": Route(Action.SITE_VIEW),
    "GET /sites/{site}/chain.pem": Route(Action.SITE_VIEW),
    "GET /service": Route(Action.SERVICE_VIEW),
    "GET /nodes": Route(Action.SERVICE_VIEW),
    "POST /service/account": Route(Action.ACCOUNT_REGISTER),
    "POST /service/test-mail": Route(Action.NOTIFY_TEST),
    "GET /people": Route(Action.USERS_VIEW),
    "POST /people/users": Route(Action.USER_CHANGE, {"name": "zoe", "role": "domain", "sites": SITE}),
    "POST /people/users/{name}/invite": Route(Action.USER_INVITE, values=ZOE),
    "POST /people/users/{name}/remove": Route(Action.USER_REMOVE, values=ZOE),
    "POST /people/tokens": Route(Action.TOKEN_ADD, {"name": "x", "scope": "read"}),
    "POST /people/tokens/{key}/remove": Route(Action.TOKEN_REMOVE, values=TOKEN),
    "GET /profile": Route(Action.PROFILE_VIEW),
    "POST /profile/password": Route(Action.PROFILE_CHANGE, {"old": "x", "new": "y", "again": "y"}),
    "POST /profile/codes": Route(Action.PROFILE_CHANGE, {"password": "x"}),
    "GET /audit": Route(Action.AUDIT_VIEW),
    "GET /audit/export": Route(Action.AUDIT_VIEW),
    "POST /signout": Route(Open.SIGNED_IN),
}
TABLE = PUBLIC | PROGRAMS | PEOPLE
TOKENS = {
    "administrator": (Scope.ADMIN, ()),
    "operator": (Scope.OPERATE, ()),
    "reader": (Scope.READ, ()),
    "bound administrator": (Scope.ADMIN, (SITE,)),
    "domain administrator": (Scope.OPERATE, (SITE,)),
    "bound reader": (Scope.READ, (SITE,)),
}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with running_console(tmp_path_factory.mktemp("routes") / "store") as running:
        running.add_user("anna")
        yield running


@pytest.fixture(scope="module")
def root(console: RunningConsole) -> Client:
    return console.api()


@pytest.fixture(autouse=True)
def everything_is_there(console: RunningConsole, root: Client) -> None:
    """Restores what the case before may have removed."""
    for site in (SITE, OTHER):
        if site not in console.writer.sites():
            assert root.send("PUT", f"{API}/sites/{site}/settings", {"host": site}).status == 201
    if "zoe" not in [user.name for user in console.access.users.all()]:
        assert root.send("PUT", f"{API}/users/zoe", {"role": "domain", "sites": [SITE]}).status == 201


def addresses_of(routes: Iterable[Any], prefix: str = "") -> Iterator[str]:
    """`METHOD /path` of everything that answers, through any inclusion, except public files."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from addresses_of(route.original_router.routes, prefix + route.include_context.prefix)
        elif route.path != "/static":
            yield from (f"{method} {prefix}{route.path}" for method in route.methods - {"HEAD"})


def test_every_address_is_in_the_table(console: RunningConsole, tmp_path: Path) -> None:
    async def addresses() -> list[str]:
        actions = build_actions(console.context, console.access)
        app = build_app(actions).app
        assert isinstance(app, FastAPI)
        try:
            return list(addresses_of(app.routes))
        finally:
            actions.jobs.stop()
            actions.index.close()

    found = asyncio.run(addresses())
    assert len(found) == len(set(found))
    assert set(found) == set(TABLE)


def job_of(root: Client, site: str) -> str:
    begun = root.send("POST", f"{API}/sites/{site}/preflights")
    wait_for(lambda: root.get(begun.headers["Location"]).json["state"] != "running", "the job is over")
    return str(begun.json["id"])


def outcome(answer: Answer) -> Verdict:
    """An answer that is not about rights means that the rights sufficed."""
    if answer.status == 403:
        return Verdict.FORBIDDEN
    if answer.status == 404 and any(
        words in answer.text.lower() for words in ("there is no site", "there is no such job")
    ):
        return Verdict.HIDDEN
    assert answer.status != 401
    assert "next=" not in answer.headers.get("Location", "")
    return Verdict.ALLOWED


def check(
    root: Client, grant: Grant, address: str, route: Route, ask: Callable[[str, str, Mapping[str, Any]], Answer]
) -> None:
    method, _, path = address.partition(" ")
    for site in (SITE, OTHER) if address != "POST /signout" else (SITE,):
        verdict = authorize(grant, route.asks, site) if isinstance(route.asks, Action) else Verdict.ALLOWED
        if route.is_endless and verdict is Verdict.ALLOWED:
            continue  # its stream is followed in test_browser
        values = {"site": site, **route.values}
        if "{key}" in path and "key" not in values:
            values["key"] = job_of(root, site)
        body = dict(route.body or {})
        if address == f"PUT {API}/sites/{{site}}/settings":
            body = changing(host=site)
        assert outcome(ask(method, path.format(**values), body)) is verdict, f"{address} for {site}"


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("address", PROGRAMS)
def test_program_may_do_what_its_token_says(console: RunningConsole, root: Client, address: str, name: str) -> None:
    scope, sites = TOKENS[name]
    client = console.api(scope, *sites)
    grant = Grant(scope, frozenset(sites) if sites else None, is_person=False)
    route = PROGRAMS[address]

    def ask(method: str, path: str, body: Mapping[str, Any]) -> Answer:
        return client.send(method, path, body if route.body is not None else None)

    check(root, grant, address, route, ask)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("address", PEOPLE)
def test_person_may_do_what_the_role_says(console: RunningConsole, root: Client, address: str, role: Role) -> None:
    name = f"{role.value}{next(NUMBERS)}"
    console.add_user(name, role, *((SITE,) if role is Role.DOMAIN else ()))
    client, route = console.signed_in(name), PEOPLE[address]

    def ask(method: str, path: str, body: Mapping[str, Any]) -> Answer:
        if method == "GET":
            return client.get(path)
        return upload(client, path, [("a.pem", b"nothing")]) if route.is_upload else submit(client, path, body)

    check(root, console.access.users.get(name).grant, address, route, ask)


@pytest.mark.parametrize("address", sorted({*PROGRAMS, *PEOPLE}))
def test_nobody_else_may_do_anything(console: RunningConsole, address: str) -> None:
    """Without a session or a token, programs get 401 and browsers get to the sign-in page."""
    method, _, path = address.partition(" ")
    path = path.format(site=SITE, key="0" * 32 if "jobs" in path else "0" * 12, name="zoe", version="1")
    answer = console.client().send(method, path, dict(TABLE[address].body or {}))
    if path.startswith(API) or path == "/metrics":
        assert answer.status == 401
    elif address == "POST /sites/{site}/certificate/files":
        assert answer.status in (303, 422)
    else:
        assert (answer.status, answer.headers["Location"].partition("?")[0]) == (303, "/signin")


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_for_anybody_needs_no_session(console: RunningConsole, address: str) -> None:
    method, _, path = address.partition(" ")
    answer = console.client().send(method, path)
    assert answer.status != 401
    assert "Location" not in answer.headers
