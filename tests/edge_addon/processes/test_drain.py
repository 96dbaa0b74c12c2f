"""SIGTERM: requests under way finish, new clients are refused, and the service stops in time."""

import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.deadlines import wait_for
from tests.edge_addon.clients import REQUEST, Client, SlowUpstream, is_refused
from tests.running import running_edge

WEB: Mapping[str, Any] = {"listeners": [{"kind": "http"}, {"kind": "https"}]}


@pytest.fixture
def upstream() -> Iterator[SlowUpstream]:
    with SlowUpstream() as server:
        yield server


def test_sigterm_lets_a_request_under_way_finish_and_refuses_new_clients(
    tmp_path: Path, upstream: SlowUpstream
) -> None:
    settings = {**WEB, "upstream": upstream.url, "http": {"redirect_to_https": False}}
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        edge.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(edge.port("http")), "new clients to be refused")
        assert edge.process.poll() is None
        upstream.release.set()
        answer = client.read_answer()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"whole")
        assert edge.wait() == 0


def test_a_second_sigterm_stops_immediately(tmp_path: Path, upstream: SlowUpstream) -> None:
    settings = {**WEB, "upstream": upstream.url, "http": {"redirect_to_https": False}}
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        edge.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(edge.port("http")), "the drain to begin")
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(10) == 0
        with contextlib.suppress(ConnectionError):
            assert client.read_answer() == b""


def test_a_request_that_takes_too_long_is_cut_off_at_the_deadline(tmp_path: Path, upstream: SlowUpstream) -> None:
    settings = {
        **WEB, "upstream": upstream.url, "http": {"redirect_to_https": False}, "limits": {"drain_seconds": 0.3},
    }  # fmt: skip
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(10) == 0
        assert "1 connections were still open" in edge.stderr


def test_load_balancers_get_a_503_during_a_drain(tmp_path: Path, upstream: SlowUpstream) -> None:
    settings = {
        "listeners": [{"kind": "http"}, {"kind": "health"}],
        "upstream": upstream.url,
        "http": {"redirect_to_https": False},
    }
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        with Client(edge.port("health")) as balancer:
            assert balancer.ask().startswith(b"HTTP/1.1 200")
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        edge.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(edge.port("http")), "the drain to begin")
        with Client(edge.port("health")) as balancer:
            assert balancer.ask().startswith(b"HTTP/1.1 503")
        upstream.release.set()
        assert client.read_answer().startswith(b"HTTP/1.1 200")
        assert edge.wait() == 0
