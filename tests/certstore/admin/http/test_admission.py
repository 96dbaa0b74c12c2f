"""What a sender may not do is refused before a byte of the body is waited for, and before anything is validated."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from certstore.admin.app import build_app
from certstore.admin.http.admission import needed_by
from certstore.admin.http.connections import DISCARDED_BYTES
from certstore.admin.http.guard import ENTRANCE_LIMIT
from certstore.admin.server import build_actions
from certstore.model.console.authorization import Action, Scope
from tests.certstore.admin.console import RunningConsole, running_console
from tests.certstore.admin.test_routes import PEOPLE, PROGRAMS
from tests.certstore.stores import SITE

WITH_BODY = [name for name in (*PROGRAMS, *PEOPLE) if not name.startswith("GET")]
CHANGES = [name for name in PROGRAMS if PROGRAMS[name].body is not None and "/me/" not in name]
BY_JOB = {"GET /api/v1/jobs/{key}", "GET /api/v1/jobs/{key}/events"}
"""The job knows its site, the path does not."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    folder: Path = tmp_path_factory.mktemp("console")
    with running_console(folder / "store") as console:
        yield console


def filled(name: str) -> tuple[str, str]:
    method, path = name.split(" ")
    return method, path.format(site=SITE, key="0" * 32, version="9", name="zoe")


def answer_to_head(console: RunningConsole, name: str, *lines: str, length: int = 4 << 20) -> bytes:
    """The first line of the answer to a request of which only the head is ever sent."""
    method, path = filled(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}", *lines, "", ""))
    with (
        socket.create_connection(("127.0.0.1", console.port), timeout=60) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(head.encode())
        return connection.recv(4096).partition(b"\r\n")[0]


@pytest.mark.parametrize("name", WITH_BODY)
def test_the_body_of_a_stranger_is_not_waited_for(running: RunningConsole, name: str) -> None:
    if name == "POST /signout":
        return  # strangers may send it a form; its size is bounded below
    line = answer_to_head(running, name, "Content-Type: application/json")
    assert line.split()[1] == (b"401" if "/api/" in name else b"303")


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("body", [b"{", b'{"nonsense": 1}', b""], ids=["not JSON", "not valid", "nothing"])
def test_a_read_token_gets_403_and_learns_nothing_of_the_form(running: RunningConsole, name: str, body: bytes) -> None:
    method, path = filled(name)
    answer = running.api(Scope.READ).request(method, path, body, {"Content-Type": "application/json"})
    assert answer.status == 403
    assert b"errors" not in answer.body


@pytest.mark.parametrize("name", ["POST /signin", "POST /setup", "POST /signout"])
def test_a_strangers_form_is_bounded(running: RunningConsole, name: str) -> None:
    method, path = filled(name)
    body = b"name=" + b"a" * ENTRANCE_LIMIT
    answer = running.client().request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 413


def test_what_follows_a_refusal_is_discarded_up_to_a_bound(running: RunningConsole) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sent = 0
    with (
        socket.create_connection(("127.0.0.1", running.port), timeout=60) as plain,
        context.wrap_socket(plain) as connection,
        contextlib.suppress(ConnectionError, ssl.SSLError),
    ):
        connection.sendall(b"POST /api/v1/tokens HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 401")
        while sent < 20 * DISCARDED_BYTES:
            connection.sendall(b"a" * 65536)
            sent += 65536
    assert sent < 20 * DISCARDED_BYTES, "the connection was closed"


def marks_of(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, Action | None]]:
    """As `test_routes.addresses_of`, with what each endpoint is marked with."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from marks_of(route.original_router.routes, prefix + route.include_context.prefix)
        elif isinstance(route, APIRoute):
            for method in route.methods or ():
                yield f"{method} {prefix}{route.path}", needed_by(route.endpoint)


def test_every_address_is_marked_with_the_right_that_its_table_has(running: RunningConsole) -> None:
    async def build() -> FastAPI:
        actions = build_actions(running.context, running.access)
        try:
            return build_app(actions).app  # type: ignore[return-value]
        finally:
            actions.jobs.stop()
            actions.index.close()

    marked = dict(marks_of(asyncio.run(build()).routes))
    for name, route in (PROGRAMS | PEOPLE).items():
        if name not in BY_JOB and name != "GET /metrics":
            assert marked[name] is (route.asks if isinstance(route.asks, Action) else None), name
