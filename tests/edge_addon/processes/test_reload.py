"""SIGHUP and SIGUSR1: new settings and new workers for the same clients."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deadlines import wait_for
from tests.edge_addon.clients import REQUEST, Client, SlowUpstream, holder, is_gone, is_refused
from tests.ports import free_port, listening_socket
from tests.running import RunningEdge, running_edge

WEB: Mapping[str, Any] = {"listeners": [{"kind": "http"}, {"kind": "https"}]}


@pytest.fixture
def upstream() -> Iterator[SlowUpstream]:
    with SlowUpstream() as server:
        yield server


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


def test_a_file_without_listeners_does_not_stop_the_service(tmp_path: Path) -> None:
    """An editor or a copy may leave an empty file for a moment."""
    with running_edge(tmp_path, WEB) as edge:
        before, settings = edge.worker_pids(), edge.config.read_text()
        edge.config.write_text("")
        edge.send_signal(signal.SIGHUP)
        wait_for(lambda: "no longer names a listener" in edge.stderr, "the refusal in the log")
        with Client(edge.port("http")) as client:
            assert client.is_served()
        assert edge.worker_pids() == before
        edge.config.write_text(settings)
        edge.reload()
        with Client(edge.port("http")) as client:
            assert client.is_served()


def test_sighup_lets_a_request_under_way_finish_on_the_old_worker(tmp_path: Path, upstream: SlowUpstream) -> None:
    settings = {**WEB, "upstream": upstream.url, "http": {"redirect_to_https": False}}
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        old = holder(edge, client)
        edge.reload()
        assert old in edge.worker_pids()
        upstream.release.set()
        assert client.read_answer().startswith(b"HTTP/1.1 200")
        wait_for(lambda: is_gone(old), "the old worker to end")


def test_sighup_adds_and_removes_listeners(tmp_path: Path) -> None:
    added, removed = free_port(), free_port()
    listeners = [{"kind": "http"}, {"kind": "https", "listen": f"127.0.0.1:{removed}"}]
    with running_edge(tmp_path, {"listeners": listeners}) as edge:
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


def without(position: int) -> Callable[[dict[str, Any]], object]:
    return lambda settings: settings["listeners"].pop(position)


def test_ipv6_beside_ipv4_on_one_port_takes_one_reload_and_no_connection(tmp_path: Path) -> None:
    with listening_socket("0.0.0.0") as probe:
        port = probe.getsockname()[1]
    fixed = {"listeners": [{"kind": "http", "listen": f"0.0.0.0:{port}"}], "workers": 2}
    stop, failures = threading.Event(), []

    def keep_connecting() -> None:
        while not stop.is_set():
            try:
                with Client(port) as client:
                    if not client.is_served():
                        failures.append("no answer")
            except OSError as error:
                failures.append(repr(error))

    with running_edge(tmp_path, fixed) as edge:
        crowd = [threading.Thread(target=keep_connecting) for _ in range(2)]
        for each in crowd:
            each.start()
        try:
            rewrite(edge, lambda settings: settings["listeners"][0].update(listen=f"[::]:{port}"))
            edge.reload()
            for host in "127.0.0.1", "::1":
                with Client(port, host) as client:
                    assert client.is_served()
        finally:
            stop.set()
            for each in crowd:
                each.join()
        assert failures == []


def test_listener_that_is_added_back_while_old_workers_serve_it_never_refuses_a_client(tmp_path: Path) -> None:
    health = {"kind": "health", "listen": f"127.0.0.1:{free_port()}"}
    with running_edge(tmp_path, {"listeners": [{"kind": "http"}, health], "workers": 2}) as edge:
        stop, failures = threading.Event(), []

        def keep_asking() -> None:
            while not stop.is_set():
                try:
                    with Client(edge.port("health")) as client:
                        answer = client.ask()
                    if not answer.startswith(b"HTTP/1.1 200"):  # and no 503 of a drain
                        failures.append(repr(answer))
                except OSError as error:
                    failures.append(repr(error))

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            before = set(edge.worker_pids())
            rewrite(edge, without(1))
            edge.send_signal(signal.SIGHUP)
            fresh = wait_for(lambda: set(edge.worker_pids()) - before, "a worker without the listener", pause=0)
            for pid in fresh:
                os.kill(pid, signal.SIGSTOP)  # the old ones serve until it is ready
            rewrite(edge, lambda settings: settings["listeners"].append(health))
            edge.send_signal(signal.SIGHUP)
            wait_for(lambda: edge.stderr.count("reloading ") == 2, "the listener to be added back")
            for pid in fresh:
                os.kill(pid, signal.SIGCONT)
            wait_for(lambda: not (before | fresh) & set(edge.worker_pids()), "workers with the listener again")
        finally:
            stop.set()
            asking.join()
        assert "is in use by" not in edge.stderr
        assert failures == []


def test_removed_listener_is_closed_while_the_old_worker_drains_and_can_be_added_back(
    tmp_path: Path, upstream: SlowUpstream
) -> None:
    health = {"kind": "health", "listen": f"127.0.0.1:{free_port()}"}
    settings = {"listeners": [{"kind": "http"}, health], "upstream": upstream.url, "http": {"redirect_to_https": False}}
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        old = holder(edge, client)
        rewrite(edge, without(1))
        edge.reload()
        wait_for(lambda: is_refused(edge.port("health")), "the removed listener to be gone")
        rewrite(edge, lambda settings: settings["listeners"].append(health))
        edge.reload()
        with Client(edge.port("health")) as other:
            assert other.ask().startswith(b"HTTP/1.1 200")
        assert old in edge.worker_pids()
        upstream.release.set()
        assert client.read_answer().startswith(b"HTTP/1.1 200")


def test_listener_that_is_added_back_gets_the_socket_of_the_service_manager_again(tmp_path: Path) -> None:
    """The manager keeps a copy, so the port could not be bound again."""
    with listening_socket() as kept:
        port = kept.getsockname()[1]
        with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}, sockets=[kept]) as edge:
            assert (
                f"no listener in edge.yaml for the socket of the service manager on 127.0.0.1 port {port}"
                in edge.stderr
            )
            health = {"kind": "health", "listen": f"127.0.0.1:{port}"}
            for _ in range(2):
                rewrite(edge, lambda settings: settings["listeners"].append(health))
                edge.reload()
                with Client(port) as client:
                    assert client.ask().startswith(b"HTTP/1.1 200")
                rewrite(edge, without(1))
                edge.reload()
            assert "is in use by" not in edge.stderr


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


def test_sigusr1_reopens_the_access_log(tmp_path: Path) -> None:
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
