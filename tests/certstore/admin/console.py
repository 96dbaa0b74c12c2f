"""A running console in this process: real HTTPS on a free port, a real store, commands performed as control does.

The loop runs in a thread; tests reach the store's writer, users and tokens, and the clock. `Client` speaks HTTP/1.1 and
keeps cookies; it checks no certificate, as no test here is about trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from certstore.admin.http.identity import COOKIE
from certstore.admin.server import console
from certstore.control.commands.requests import CommandRequest
from certstore.control.commands.results import CommandResult
from certstore.control.commands.table import Runs, perform, runs
from certstore.control.console import ConsoleContext
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.authorization import Scope
from certstore.model.console.people import Role
from certstore.model.progress import Tell, tell_nobody
from certstore.model.settings.models import Settings
from certstore.people.access import Access
from certstore.people.invitations import FIRST
from certstore.people.passwords import Passwords
from certstore.store.writer import StoreWriter
from tests.certstore.renewal.scene import Clock
from tests.certstore.stores import acquire

if TYPE_CHECKING:
    from certstore.control.upkeep import Upkeep

PASSWORD = "a calm afternoon by the sea"


@dataclass(slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One browser or program. It sends `token` with every request and keeps cookies. `name` is the host that it asks
    for, `source` the address that it comes from."""

    def __init__(
        self, port: int, token: str | None = None, *, name: str = "127.0.0.1", source: str = "127.0.0.1"
    ) -> None:
        self.port = port
        self.token = token
        self.name, self.source = name, source
        self.cookies: dict[str, str] = {}
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Redirects are not followed."""
        given = dict(headers or {})
        if self.token is not None:
            given.setdefault("Authorization", f"Bearer {self.token}")
        if self.cookies:
            given.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        connection = http.client.HTTPConnection(self.name, self.port, timeout=60)
        plain = socket.create_connection(("127.0.0.1", self.port), 30, (self.source, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.closing(connection):
            connection.sock = self._context.wrap_socket(plain, server_hostname=self.name)
            connection.request(method, path, body, given)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        for line in answer.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                if morsel.value:
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def send(self, method: str, path: str, facts: Any = None, **headers: str) -> Answer:
        """A JSON request."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        body = None if facts is None else json.dumps(facts).encode()
        return self.request(method, path, body, {"Content-Type": "application/json", **given})

    def post_form(self, path: str, fields: Mapping[str, Any], **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        body = urlencode(fields, doseq=True).encode()
        return self.request("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded", **given})


@cache
def _password_hash() -> str:
    return Passwords().hash(PASSWORD)


@dataclass
class RunningConsole:
    writer: StoreWriter
    access: Access
    clock: Clock
    address: str
    performed: list[str]
    context: ConsoleContext

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    def client(self, token: str | None = None) -> Client:
        return Client(self.port, token)

    def api(self, scope: Scope = Scope.ADMIN, *sites: str) -> Client:
        """A client with a new token."""
        _, text = self.access.tokens.add("test", scope, sites or None, "test")
        return self.client(text)

    def add_user(self, name: str, role: Role = Role.ADMIN, *sites: str) -> None:
        self.access.users.add(name, role, sites, _password_hash())

    def signed_in(self, name: str) -> Client:
        """A client with a session, without the form, as hashing takes time."""
        client = self.client()
        client.cookies[COOKIE] = self.access.sessions.begin(name, "127.0.0.1").secret
        return client

    def first_link(self) -> str:
        return f"/setup?link={self.access.invitations.make(FIRST)}"

    def audit(self) -> list[dict[str, Any]]:
        """Newest first."""
        return self.access.audit.page(None, 1000)[0]


@contextlib.contextmanager
def running_console(
    root: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    upkeep: Callable[[StoreWriter, Settings, Path], Upkeep] | None = None,
) -> Iterator[RunningConsole]:
    """`root` is the store's folder; its parent serves as the folder of edge.yaml."""
    chosen = Settings.model_validate({"admin": {"listen": "127.0.0.1:0"}, **(settings or {})})
    clock, performed = Clock(), list[str]()
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(acquire(root))
        running = upkeep(writer, chosen, root.parent) if upkeep is not None else None
        if running is not None:
            stack.callback(running.stop)
        turns = threading.Lock()

        def perform_one[R: CommandResult](request: CommandRequest[R], tell: Tell = tell_nobody) -> R:
            performed.append(request.command)
            if runs(request) is Runs.WRITER:
                with turns:
                    return perform(writer, request, tell)
            if running is None:
                raise RequestFailed(Fault.INTERNAL, f"{request.command} needs upkeep, and this test has none")
            return perform(running, request, tell)

        context = ConsoleContext(writer, chosen, root.parent, perform_one, lambda: running, clock)
        access = stack.enter_context(Access.opened(writer.layout, clock))
        address = stack.enter_context(_in_thread(context, access))
        yield RunningConsole(writer, access, clock, address, performed, context)


@contextlib.contextmanager
def _in_thread(context: ConsoleContext, access: Access) -> Iterator[str]:
    """The loop has its own thread: the test's may be busy with the loop of a browser's driver."""
    loop = asyncio.new_event_loop()

    def live() -> None:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=live, name="console-loop")
    thread.start()
    try:
        opened = console(context, access)
        address = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(30)
        try:
            yield address
        finally:
            asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
