"""A feed whose server is silent, endless, or faster than whoever reads it."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from certstore.cluster import etcd_feed
from certstore.cluster.engine import EngineLost, EngineRefused, WentBack
from certstore.cluster.etcd_feed import EtcdFollowing
from certstore.cluster.etcd_gateway import Gateway, Unanswered, engine_context
from tests.certificates import CertificateAuthority
from tests.certstore.net.test_bounded_http import serving
from tests.deadlines import wait_for

CA = CertificateAuthority()
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
CREATED = b'{"result": {"created": true, "header": {"revision": "1"}}}\n'


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def change(revision: int) -> bytes:
    key = base64.b64encode(b"/a").decode()
    event: dict[str, Any] = {"kv": {"key": key, "mod_revision": str(revision), "create_revision": "1"}}
    return json.dumps({"result": {"events": [event]}}).encode() + b"\n"


type Served = Callable[[Callable[[ssl.SSLSocket], None]], Gateway]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A gateway to a server that reads a request and then does as told."""
    (tmp_path / "ca.pem").write_bytes(CA.root_pem)
    (tmp_path / "server.pem").write_bytes(CA.issue("localhost").combined_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    with ExitStack() as running:

        def serve(answer: Callable[[ssl.SSLSocket], None]) -> Gateway:
            def answer_request(connection: ssl.SSLSocket) -> None:
                request = b""
                while b"}" not in request:
                    request += connection.recv(65536)
                answer(connection)

            port = running.enter_context(serving(answer_request, context=context))  # type: ignore[arg-type]
            gateway = Gateway(f"https://localhost:{port}", engine_context(tmp_path / "ca.pem", None))
            running.callback(gateway.close)
            return gateway

        yield serve


def read_on(connection: ssl.SSLSocket) -> None:
    while connection.recv(65536):
        pass


def following(gateway: Gateway) -> EtcdFollowing:
    return EtcdFollowing(gateway, {}, 1)


def test_changes_come_wherever_their_chunks_end(served: Served) -> None:
    content = CREATED + change(2) + change(3)

    def answer(connection: ssl.SSLSocket) -> None:
        connection.sendall(STREAM + b"".join(chunk(content[at : at + 7]) for at in range(0, len(content), 7)))
        read_on(connection)

    with following(served(answer)) as feed:
        batches = [feed.next(15), feed.next(15)]
        assert [batch.revision for batch in batches if batch] == [2, 3]
        assert feed.next(0) is None


def test_closing_ends_a_feed_whose_server_is_silent(served: Served) -> None:
    def answer(connection: ssl.SSLSocket) -> None:
        connection.sendall(STREAM + chunk(CREATED))
        read_on(connection)

    feed = following(served(answer))
    assert feed.next(0) is None
    feed.close()
    with pytest.raises(EngineLost, match="the feed was closed"):
        feed.next(60)
    assert not [each for each in threading.enumerate() if each.name == "engine-feed"]


def test_a_server_that_ends_the_feed_is_said_after_what_it_sent(served: Served) -> None:
    with following(served(lambda connection: connection.sendall(STREAM + chunk(change(2)) + chunk(b"")))) as feed:
        batch = feed.next(15)
        assert batch is not None
        assert batch.revision == 2
        with pytest.raises(EngineLost, match="the member ended the feed"):
            feed.next(60)


def test_a_connection_that_breaks_is_said(served: Served) -> None:
    with (
        following(served(lambda connection: connection.sendall(STREAM + b"fff\r\n{"))) as feed,
        pytest.raises(EngineLost, match="the feed broke"),
    ):
        feed.next(60)


def test_a_line_without_an_end_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_feed, "LINE_BYTES", 100_000)

    def answer(connection: ssl.SSLSocket) -> None:
        connection.sendall(STREAM)
        while True:
            connection.sendall(chunk(b"x" * 50_000))

    with following(served(answer)) as feed, pytest.raises(Unanswered, match="longer than 100000 bytes"):
        feed.next(60)


def test_a_feed_that_nobody_takes_from_makes_its_server_wait(served: Served) -> None:
    sent = list[int]()

    def answer(connection: ssl.SSLSocket) -> None:
        connection.sendall(STREAM + b"".join(chunk(change(number)) for number in range(2, 102)))
        sent.append(101)
        read_on(connection)

    with following(served(answer)) as feed:
        wait_for(lambda: sent, "all is sent")
        first = feed.next(15)
        wait_for(lambda: len(feed._waiting) >= etcd_feed._MOST_WAITING, "as many wait as may")
        assert len(feed._waiting) == etcd_feed._MOST_WAITING
        rest = [feed.next(15) for _ in range(99)]
    assert [batch.revision for batch in [first, *rest] if batch] == list(range(2, 102))


def test_a_feed_that_is_not_opened_in_time_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_feed, "_OPEN_SECONDS", 0.3)
    with pytest.raises(Unanswered, match=r"no whole answer within 0\.3 s"):
        following(served(read_on))


def test_a_refused_feed_says_why(served: Served) -> None:
    error = b'{"error":"x","message":"etcdserver: permission denied","code":7}'
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(error)
    with pytest.raises(EngineRefused, match="permission denied"):
        following(served(lambda connection: connection.sendall(head + error)))


def test_a_feed_that_was_broken_from_the_start_says_so_at_next(served: Served) -> None:
    gateway = served(read_on)
    with EtcdFollowing(gateway, {}, 1, broken=WentBack("older")) as feed, pytest.raises(WentBack, match="older"):
        feed.next(60)
