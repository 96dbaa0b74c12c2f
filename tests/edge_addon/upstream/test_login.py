"""A login that belongs to a connection: the upstream connection is one client's until either ends."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.inspection.edge import SITE, inspected, inspecting_edge
from tests.edge_addon.relay.edge import MAIN_HOST, Edge, relay_edge
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.connection_login import authenticating, field_of, refusal
from tests.peers.recorder import Connection, Recorder, answering, ok

HTTP_1_1_REQUIRED = 0xD
SECONDS = 30


class Client:
    """A keep-alive connection of one user."""

    def __init__(self, edge: Edge, name: bytes, server_name: str | None) -> None:
        self._edge = edge
        self._name = name
        self._server_name = server_name
        self._challenge = b""

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await self._edge.connect(self._server_name)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def send(self, credentials: bytes = b"", *, path: bytes = b"/ews", method: bytes = b"GET") -> None:
        lines = [b"%b %b HTTP/1.1" % (method, path), b"Host: " + (self._server_name or MAIN_HOST).encode()]
        if credentials:
            lines.append(b"Authorization: " + credentials)
        if method == b"POST":
            lines.append(b"Content-Length: 0")
        self.writer.write(b"\r\n".join((*lines, b"", b"")))

    async def read(self) -> tuple[int, bytes]:
        """Status and body; status 0 if the connection has ended."""
        try:
            async with asyncio.timeout(SECONDS):
                head = await self.reader.readuntil(b"\r\n\r\n")
                body = await self.reader.readexactly(int(field_of(head, b"content-length") or 0))
        except (EOFError, OSError):
            return 0, b""
        self._challenge = field_of(head, b"www-authenticate")
        return int(head.split(b" ")[1]), body

    async def ask(self, credentials: bytes = b"", **more: Any) -> tuple[int, bytes]:
        self.send(credentials, **more)
        return await self.read()

    @property
    def type3(self) -> bytes:
        scheme, _, challenge = self._challenge.partition(b" ")
        return b"%b TYPE3-%b-%b" % (scheme, self._name, challenge.removeprefix(b"TYPE2-"))

    async def steps(self) -> AsyncIterator[None]:
        """Log in and read the mailbox; a step is a request or an answer."""
        mine = (200, b"mailbox of " + self._name)
        for credentials, expected in (
            (b"", (401, b"")),
            (b"NTLM TYPE1", (401, b"")),
            (b"TYPE3", mine),
            (b"", mine),
            (b"", mine),
        ):
            self.send(self.type3 if credentials == b"TYPE3" else credentials)
            yield
            assert await self.read() == expected
            yield


class Stranger(Client):
    async def steps(self) -> AsyncIterator[None]:
        """Ask without a login."""
        for path, expected in ((b"/ews", (401, b"")), (b"/public", (200, b"public"))) * 3:
            self.send(path=path)
            yield
            assert await self.read() == expected
            yield


Run = Callable[..., contextlib.AbstractAsyncContextManager[Edge]]


@contextlib.asynccontextmanager
async def plain(folder: Path, url: str) -> AsyncIterator[Edge]:
    async with relay_edge(folder, url) as edge:
        yield edge


@contextlib.asynccontextmanager
async def over_tls(folder: Path, url: str) -> AsyncIterator[Edge]:
    async with relay_edge(folder, url, kind="https") as edge:
        yield edge


@contextlib.asynccontextmanager
async def with_inspection(folder: Path, url: str) -> AsyncIterator[Edge]:
    async with inspecting_edge(folder, url) as edge:
        yield edge


RUNS = pytest.mark.parametrize(
    ("run", "server_name"),
    [(plain, None), (over_tls, MAIN_HOST), (with_inspection, SITE)],
    ids=["clear text", "tls", "inspected"],
)


@RUNS
@in_loop
async def test_the_connection_of_a_login_is_nobody_elses(run: Run, server_name: str | None, tmp_path: Path) -> None:
    with Recorder(authenticating()) as recorder:
        async with (
            run(tmp_path, recorder.url) as edge,
            Client(edge, b"alice", server_name) as alice,
            Client(edge, b"bob", server_name) as bob,
        ):
            assert await alice.ask(b"NTLM TYPE1") == (401, b"")
            assert await alice.ask(alice.type3) == (200, b"mailbox of alice")
            assert await bob.ask() == (401, b"")
            assert await alice.ask() == (200, b"mailbox of alice")
            assert len(recorder.connections) == 2


@RUNS
@in_loop
async def test_a_hundred_interleavings_of_two_logins_and_a_stranger(
    run: Run, server_name: str | None, tmp_path: Path
) -> None:
    chance = random.Random(8)
    with Recorder(authenticating()) as recorder:
        async with run(tmp_path, recorder.url) as edge:
            for _ in range(100):
                async with (
                    Client(edge, b"alice", server_name) as alice,
                    Client(edge, b"bob", server_name) as bob,
                    Stranger(edge, b"", server_name) as stranger,
                ):
                    running = [alice.steps(), bob.steps(), stranger.steps()]
                    while running:
                        steps = chance.choice(running)
                        try:
                            await anext(steps)
                        except StopAsyncIteration:
                            running.remove(steps)


@RUNS
@in_loop
async def test_ten_logins_at_the_same_time_all_succeed(run: Run, server_name: str | None, tmp_path: Path) -> None:
    async def log_in(edge: Edge, name: bytes) -> None:
        async with Client(edge, name, server_name) as client:
            async for _ in client.steps():
                await asyncio.sleep(0)

    with Recorder(authenticating()) as recorder:
        async with run(tmp_path, recorder.url) as edge:
            await asyncio.gather(*(log_in(edge, b"user%d" % number) for number in range(10)))


@pytest.mark.parametrize(
    ("scheme", "offers"),
    [
        (b"NTLM", (b"NTLM",)),
        (b"Negotiate", (b"Negotiate, NTLM",)),
        (b"ntlm", (b'Basic realm="mail", nTLM',)),
        (b"NEGOTIATE", (b"Basic realm=mail", b"NEGOTIATE")),
    ],
)
@in_loop
async def test_any_way_to_name_the_scheme(scheme: bytes, offers: tuple[bytes, ...], tmp_path: Path) -> None:
    """The connection of the offer may come from the pool: the login goes on there."""
    with Recorder(authenticating(scheme=scheme, offers=offers)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge, Client(edge, b"alice", None) as alice:
            assert await alice.ask(path=b"/public") == (200, b"public")
            assert await alice.ask() == (401, b"")
            assert await alice.ask(scheme + b" TYPE1", method=b"POST") == (401, b"")
            assert await alice.ask(alice.type3, method=b"POST") == (200, b"mailbox of alice")
            async with Client(edge, b"bob", None) as bob:
                assert await bob.ask() == (401, b"")
            assert len(recorder.connections) == 2
            assert recorder.connections[0].received.count(b"TYPE") == 2


@pytest.mark.parametrize(
    "field", [b"WWW-Authenticate: Negotiate oRQw", b"Persistent-Auth: true", b"Authentication-Info: Negotiate oRQw"]
)
@in_loop
async def test_an_answer_that_is_part_of_a_login_binds_too(field: bytes, tmp_path: Path) -> None:
    with Recorder(answering(ok(b"ok", field))) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            async with Client(edge, b"", None) as one, Client(edge, b"", None) as other:
                assert await one.ask() == await other.ask() == await one.ask() == (200, b"ok")
                assert len(recorder.connections) == 2
            await wait_for_in_loop(
                lambda: all(each.is_over for each in recorder.connections), "the end of the clients' connections"
            )


@in_loop
async def test_other_schemes_share_connections_as_before(tmp_path: Path) -> None:
    answer = refusal(b'Basic realm="NTLM"', b"Bearer")
    with Recorder(answering(answer)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            for _ in range(3):
                async with Client(edge, b"", None) as client:
                    assert await client.ask(b"Basic bnRsbQ==") == (401, b"")
            assert len(recorder.connections) == 1


@in_loop
async def test_pipelined_requests_stay_on_the_connection_of_the_login(tmp_path: Path) -> None:
    with Recorder(authenticating()) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge, Client(edge, b"alice", None) as alice:
            await alice.ask(b"NTLM TYPE1")
            alice.send(alice.type3)
            for _ in range(5):
                alice.send()
            assert [await alice.read() for _ in range(6)] == [(200, b"mailbox of alice")] * 6
            assert len(recorder.connections) == 1


@in_loop
async def test_the_client_ends_with_the_upstream_connection_of_its_login(tmp_path: Path) -> None:
    with Recorder(authenticating()) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge, Client(edge, b"alice", None) as alice:
            await alice.ask(b"NTLM TYPE1")
            await alice.ask(alice.type3)
            recorder.drop(0)
            assert await alice.read() == (0, b"")
            assert len(recorder.connections) == 1


@pytest.mark.parametrize("credentials", [b"", b"NTLM TYPE1"], ids=["follow-up", "login"])
@in_loop
async def test_a_request_of_a_login_is_never_sent_again(credentials: bytes, tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(refusal(b"NTLM"))
        await connection.read_head()
        connection.finish()

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge, Client(edge, b"alice", None) as alice:
            assert await alice.ask() == (401, b"")
            status, _ = await alice.ask(credentials)
            assert status == 502
            assert await alice.read() == (0, b"")
            assert len(recorder.connections) == 1


@in_loop
async def test_an_answer_with_which_the_server_ends_the_login_ends_the_client_too(tmp_path: Path) -> None:
    closing = refusal(b"NTLM").replace(b"Content", b"Connection: close\r\nContent")
    with Recorder(answering(refusal(b"NTLM TYPE2-1"), closing)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge, Client(edge, b"alice", None) as alice:
            assert await alice.ask(b"NTLM TYPE1") == (401, b"")
            alice.send(alice.type3)
            answer = await asyncio.wait_for(alice.reader.read(), SECONDS)
            assert b"\r\nConnection: close\r\n" in answer


@in_loop
async def test_the_upstream_connection_of_a_login_ends_with_its_client(tmp_path: Path) -> None:
    with Recorder(authenticating()) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            async with Client(edge, b"alice", None) as alice:
                await alice.ask(b"NTLM TYPE1")
                assert await alice.ask(alice.type3) == (200, b"mailbox of alice")
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")
            (server,) = edge.plane.upstream_pool("main").servers
            assert not server.idle
            assert not server.active


@pytest.mark.parametrize("is_inspected", [False, True])
@in_loop
async def test_over_http2_a_login_is_sent_back_over_http1(is_inspected: bool, tmp_path: Path) -> None:
    with Recorder(authenticating()) as recorder:
        if is_inspected:
            run = inspecting_edge(tmp_path, recorder.url, sites=[inspected(SITE)])
        else:
            run = relay_edge(tmp_path, recorder.url, kind="https")
        name = SITE if is_inspected else MAIN_HOST
        async with run as edge, Http2Client(edge, name) as client:
            offered = await client.get("/ews")
            assert (offered.status, offered.reset_code) == (0, HTTP_1_1_REQUIRED)
            begun = await client.get("/ews", ("authorization", "NTLM TYPE1"))
            assert (begun.status, begun.reset_code) == (0, HTTP_1_1_REQUIRED)
            assert (await client.get("/public")).status == 200
            assert edge.plane.counters["http2_login_needs_http1"] == 2
            assert b"TYPE1" not in recorder.received
            async with Client(edge, b"alice", name) as alice:
                assert [None async for _ in alice.steps()]


@in_loop
async def test_http2_logins_in_a_loop_end_the_connection(tmp_path: Path) -> None:
    with Recorder(authenticating()) as recorder:
        async with relay_edge(tmp_path, recorder.url, kind="https") as edge, Http2Client(edge) as client:
            for _ in range(300):
                client.request("/ews", ("authorization", "Negotiate YII"))
            await client.closed()
            assert not recorder.connections
