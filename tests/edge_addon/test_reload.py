"""SIGHUP and SIGUSR1: other settings, other workers, the same clients."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deadlines import wait_for
from tests.edge_addon.clients import (
    REQUEST,
    Client,
    HeldUpstream,
    holder,
    is_gone,
    is_refused,
)
from tests.ports import free_port, listening_socket
from tests.running import RunningEdge, running_edge

WEB: Mapping[str, Any] = {"listeners": [{"kind": "http"}, {"kind": "https"}]}


@pytest.fixture
def upstream() -> Iterator[HeldUpstream]:
    with HeldUpstream() as held:
        yield held


def rewrite(edge: RunningEdge, change: Callable[[dict[str, Any]], object]) -> None:
    settings = yaml.safe_load(edge.config.read_text())
    change(settings)
    edge.config.write_text(yaml.safe_dump(settings))


def test_sighup_replaces_every_process_and_loses_no_connection(tmp_path: Path) -> None:
    with running_edge(tmp_path, {**WEB, "workers": 2}) as edge:
        before = {edge.control_pid(), *edge.worker_pids()}
        stop, failures = threading.Event(), []

        def keep_connecting() -> None:
            while not stop.is_set():
                try:
                    with Client(edge.port("http")) as client:
                        if not client.is_served():
                            failures.append("no answer")
                except OSError as error:
                    failures.append(repr(error))

        crowd = [threading.Thread(target=keep_connecting) for _ in range(4)]
        for each in crowd:
            each.start()
        try:
            for _ in range(3):
                edge.reload()
        finally:
            stop.set()
            for each in crowd:
                each.join()
        assert failures == []
        wait_for(lambda: len(edge.worker_pids()) == 2, "the old workers to end")
        assert not before & {edge.control_pid(), *edge.worker_pids()}


def test_file_without_listeners_does_not_end_those_that_serve(tmp_path: Path) -> None:
    """An empty file is what an editor or a copy leaves for a moment."""
    with running_edge(tmp_path, WEB) as edge:
        before, settings = edge.worker_pids(), edge.config.read_text()
        edge.config.write_text("")
        edge.send_signal(signal.SIGHUP)
        wait_for(lambda: "names no listener any more" in edge.stderr, "a refusal in the log")
        with Client(edge.port("http")) as client:
            assert client.is_served()
        assert edge.worker_pids() == before
        edge.config.write_text(settings)
        edge.reload()
        with Client(edge.port("http")) as client:
            assert client.is_served()


def test_sighup_lets_a_request_under_way_finish_on_the_old_worker(tmp_path: Path, upstream: HeldUpstream) -> None:
    settings = {**WEB, "upstream": upstream.url, "http": {"redirect_to_https": False}}
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        old = holder(edge, client)
        edge.reload()
        assert old in edge.worker_pids()
        upstream.let.set()
        assert client.read_answer().startswith(b"HTTP/1.1 200")
        wait_for(lambda: is_gone(old), "the old worker to end")


def test_sighup_adds_and_removes_listeners(tmp_path: Path) -> None:
    with running_edge(tmp_path, WEB) as edge:
        added = free_port()
        removed = edge.port("https")
        rewrite(
            edge,
            lambda settings: settings["listeners"].__setitem__(1, {"kind": "health", "listen": f"127.0.0.1:{added}"}),
        )
        edge.reload()
        with Client(added) as client:
            assert client.ask().startswith(b"HTTP/1.1 200")
        wait_for(lambda: is_refused(removed), "the removed listener to be gone")
        with Client(edge.port("http")) as client:
            assert client.is_served()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda settings: settings["listeners"][0].__setitem__("kind", "gopher"), "listeners[0].kind", id="bad value"
        ),
        pytest.param(lambda settings: settings.__setitem__("wrokers", 2), "wrokers", id="misspelt key"),
    ],
)
def test_sighup_with_bad_settings_keeps_the_old_ones(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with running_edge(tmp_path, WEB) as edge:
        before = edge.worker_pids()
        rewrite(edge, change)
        edge.reload()
        assert edge.worker_pids() == before
        assert f"{edge.config}:" in edge.stderr
        assert message in edge.stderr
        with Client(edge.port("http")) as client:
            assert client.is_served()


def test_sighup_with_a_port_in_use_keeps_the_old_settings(tmp_path: Path) -> None:
    with running_edge(tmp_path, WEB) as edge, listening_socket() as taken:
        before = edge.worker_pids()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        rewrite(edge, lambda settings: settings["listeners"].append({"kind": "health", "listen": address}))
        edge.reload()
        assert edge.worker_pids() == before
        assert f"can't listen on {address} (health): the port is in use by" in edge.stderr
        assert f"(pid {os.getpid()})" in edge.stderr


def test_sigusr1_opens_the_access_log_anew(tmp_path: Path) -> None:
    with running_edge(tmp_path, {**WEB, "access_log": {"path": "access.log"}}) as edge:
        log, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
        with Client(edge.port("http")) as client:
            assert client.is_served()
            wait_for(lambda: log.exists() and log.read_text(), "a line in the log")
            log.rename(rotated)
            before = rotated.read_text()
            edge.send_signal(signal.SIGUSR1)

            def is_anew() -> bool:
                assert client.is_served()
                return log.exists() and bool(log.read_text())

            wait_for(is_anew, "lines in a new file")
            assert rotated.read_text().startswith(before)
