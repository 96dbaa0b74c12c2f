"""Nobody can block the console for others: not with silent connections, not with streams, not with slow requests."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.admin.http import connections
from certstore.admin.live import streams
from certstore.model.console.authorization import Scope
from certstore.model.settings.models import SiteSettings
from tests.certstore.admin.console import Client, RunningConsole, running_console
from tests.deadlines import wait_for


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store") as console:
        console.writer.add_site("a.test", SiteSettings(host="a.test"))
        yield console


def connected(console: RunningConsole, stack: contextlib.ExitStack) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = stack.enter_context(socket.create_connection(("127.0.0.1", console.port), timeout=60))
    return stack.enter_context(context.wrap_socket(plain))


HALF_A_FORM = (
    b"POST /signin HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nname="
)


def is_closed(connection: ssl.SSLSocket) -> bool:
    try:
        return connection.recv(1) == b""
    except (ssl.SSLEOFError, ConnectionResetError):
        return True


def test_silent_connections_give_way(running: RunningConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LIMIT", 10)
    with contextlib.ExitStack() as stack:
        silent = [connected(running, stack) for _ in range(12)]
        assert running.client().get("/healthz").status == 200
        assert is_closed(silent[0])
        silent[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert silent[-1].recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "begun", [b"", b"GET /healthz HTT", HALF_A_FORM], ids=["nothing", "half a head", "half a body"]
)
def test_request_must_be_complete_in_time(
    running: RunningConsole, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    with contextlib.ExitStack() as stack:
        slow = connected(running, stack)
        slow.sendall(begun)
        assert is_closed(slow)


def test_answer_may_take_longer_than_its_request(running: RunningConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    with contextlib.ExitStack() as stack:
        stream = listening(running, running.api(Scope.READ), stack)
        running.clock.forward(seconds=1)
        for turn in range(3):  # each longer than a request may take
            running.writer.add_site(f"{turn}.test", SiteSettings(host=f"{turn}.test"))
            assert b"event: changed" in stream.recv(1000)


def listening(console: RunningConsole, client: Client, stack: contextlib.ExitStack) -> ssl.SSLSocket:
    """A connection on which the first event has arrived, or the answer that there is none."""
    stream = connected(console, stack)
    head = f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {client.token}\r\n\r\n"
    stream.sendall(head.encode())
    seen = b""
    while b"event: changed" not in seen and b"busy" not in seen:
        seen += stream.recv(4000)
    return stream


def status_of_events(console: RunningConsole, client: Client) -> int:
    with contextlib.ExitStack() as stack:
        stream = connected(console, stack)
        head = f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {client.token}\r\n\r\n"
        stream.sendall(head.encode())
        return int(stream.recv(100).split()[1])


def test_streams_of_one_actor_are_bounded_and_others_have_theirs(
    running: RunningConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PER_ACTOR", 3)
    greedy, other = running.api(Scope.READ, "a.test"), running.api(Scope.READ, "a.test")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            listening(running, greedy, stack)
        assert status_of_events(running, greedy) == 409
        assert status_of_events(running, other) == 200
    wait_for(lambda: status_of_events(running, greedy) == 200, "closed streams are counted no more")


def test_streams_of_all_are_bounded(running: RunningConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IN_ALL", 2)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            listening(running, running.api(Scope.READ), stack)
        late = running.api(Scope.READ)
        assert status_of_events(running, late) == 409
        assert late.get("/api/v1/sites").status == 200
