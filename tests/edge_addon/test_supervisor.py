"""`certedge run` as administrators meet it: real processes, real signals, real sockets."""

import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.ports import free_port, listening_socket
from tests.running import RunningEdge, running_edge

CA = CertificateAuthority()
WEB: Mapping[str, Any] = {"listeners": [{"kind": "http"}, {"kind": "https"}]}
REQUEST = b"GET /some/page HTTP/1.1\r\nHost: edge.test\r\n\r\n"


class Client:
    """One keep-alive connection to a listener in the clear, which answers every request with a redirect by itself."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=15)
        self.port = self.socket.getsockname()[1]

    def ask(self) -> bytes:
        self.socket.sendall(REQUEST)
        return self.read_answer()

    def read_answer(self) -> bytes:
        """Status line and header lines; empty when the connection has ended."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self.socket.recv(65536)
            if not data:
                return b""
            answer += data
        return answer

    def is_served(self) -> bool:
        return self.ask().startswith((b"HTTP/1.1 301", b"HTTP/1.1 308"))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class HeldUpstream:
    """A web server that answers only when it is let."""

    def __init__(self) -> None:
        self._listener = listening_socket()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = threading.Event()
        self.let = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(30)
            peer.recv(65536)
            self.asked.set()
            self.let.wait(30)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")

    def close(self) -> None:
        self.let.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def upstream() -> Iterator[HeldUpstream]:
    held = HeldUpstream()
    yield held
    held.close()


def peer_ports(pid: int) -> set[int]:
    """Ports of those at the other end of the process's connections; a listening socket has nobody there."""
    return {getattr(each.raddr, "port", 0) for each in psutil.Process(pid).net_connections("tcp")}


def holder(edge: RunningEdge, client: Client) -> int:
    """The worker that serves this client."""
    for pid in edge.worker_pids():
        if client.port in peer_ports(pid):
            return pid
    raise AssertionError("no worker has the connection")


@contextmanager
def one_client_per_worker(edge: RunningEdge) -> Iterator[dict[int, Client]]:
    """Connect until every worker serves somebody."""
    clients: dict[int, Client] = {}
    every: list[Client] = []

    def all_have_one() -> bool:
        client = Client(edge.port("http"))
        every.append(client)
        assert client.is_served()
        clients.setdefault(holder(edge, client), client)
        return len(clients) == len(edge.worker_pids())

    try:
        wait_for(all_have_one, "a connection on every worker", pause=0)
        yield clients
    finally:
        for client in every:
            client.socket.close()


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def rewrite(edge: RunningEdge, change: Callable[[dict[str, Any]], object]) -> None:
    settings = yaml.safe_load(edge.config.read_text())
    change(settings)
    edge.config.write_text(yaml.safe_dump(settings))


def test_serves_each_name_its_certificate_once_it_says_ready(tmp_path: Path) -> None:
    main, domain = CA.issue("edge.test"), CA.issue("client-a.test")
    with running_edge(tmp_path, WEB, {"main": main, "client-a.test": domain}) as edge:
        assert edge.fingerprint("https", "client-a.test") == domain.fingerprint
        assert edge.fingerprint("https", "unknown.test") == main.fingerprint
        assert edge.fingerprint("https", None) == main.fingerprint
        client = ssl.create_default_context(cadata=CA.root_pem.decode())
        with (
            socket.create_connection(("127.0.0.1", edge.port("https")), timeout=15) as plain,
            client.wrap_socket(plain, server_hostname="client-a.test"),
        ):
            pass
        with (
            socket.create_connection(("127.0.0.1", edge.port("https")), timeout=15) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            client.wrap_socket(plain, server_hostname="unknown.test")
        assert edge.stop() == 0
        assert "STOPPING=1" in edge.notified()[-1]


def test_without_any_certificate_it_serves_one_of_its_own_and_says_so(tmp_path: Path) -> None:
    with running_edge(tmp_path, WEB) as edge:
        assert edge.fingerprint("https", "edge.test")
        assert "SELF-SIGNED" in edge.stderr


def test_a_killed_worker_is_started_again_and_the_others_connections_go_on(tmp_path: Path) -> None:
    with running_edge(tmp_path, {**WEB, "workers": 2}) as edge, one_client_per_worker(edge) as clients:
        (victim, lost), (survivor, kept) = clients.items()
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(edge.worker_pids()) == 2 and victim not in edge.worker_pids(), "another worker")
        assert survivor in edge.worker_pids()
        assert kept.is_served()
        with pytest.raises((ConnectionError, AssertionError)):
            assert lost.is_served()
        with one_client_per_worker(edge):
            pass
        assert f"(pid {victim}) was killed by SIGKILL and is started again at once" in edge.stderr


def test_control_and_workers_live_without_each_other(tmp_path: Path) -> None:
    with running_edge(tmp_path, WEB) as edge:
        before, workers = edge.control_pid(), edge.worker_pids()
        os.kill(before, signal.SIGKILL)
        with Client(edge.port("http")) as client:
            assert client.is_served()
        wait_for(lambda: edge.child_pids("edge-control") not in ([], [before]), "another control process")
        assert edge.worker_pids() == workers
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: edge.worker_pids() not in ([], workers), "another worker")
        with Client(edge.port("http")) as client:
            assert client.is_served()


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


def test_sigterm_lets_a_request_under_way_finish_and_refuses_new_clients(
    tmp_path: Path, upstream: HeldUpstream
) -> None:
    settings = {**WEB, "upstream": upstream.url, "http": {"redirect_to_https": False}}
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        edge.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(edge.port("http")), "new clients to be refused")
        assert edge.process.poll() is None
        upstream.let.set()
        answer = client.read_answer()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"whole")
        assert edge.wait() == 0


def test_a_second_sigterm_ends_at_once(tmp_path: Path, upstream: HeldUpstream) -> None:
    settings = {**WEB, "upstream": upstream.url, "http": {"redirect_to_https": False}}
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        edge.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(edge.port("http")), "the drain to begin")
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(10) == 0
        try:
            assert client.read_answer() == b""
        except ConnectionError:
            pass


def test_a_request_that_takes_too_long_is_cut_off_at_the_deadline(tmp_path: Path, upstream: HeldUpstream) -> None:
    settings = {
        **WEB, "upstream": upstream.url, "http": {"redirect_to_https": False}, "limits": {"drain_seconds": 0.3},
    }  # fmt: skip
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        client.socket.sendall(REQUEST)
        assert upstream.asked.wait(15)
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(10) == 0
        assert "1 connections were still open" in edge.stderr


def test_balancers_hear_that_it_drains_while_it_drains(tmp_path: Path, upstream: HeldUpstream) -> None:
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
        upstream.let.set()
        assert client.read_answer().startswith(b"HTTP/1.1 200")
        assert edge.wait() == 0


def test_no_process_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with running_edge(tmp_path, {**WEB, "workers": 2}) as edge:
        children = [edge.control_pid(), *edge.worker_pids()]
        assert len(children) == 3
        edge.process.kill()
        edge.process.wait()
        wait_for(lambda: all(map(is_gone, children)), "all children to end")
        assert is_refused(edge.port("http"))


def test_sockets_are_bound_where_nobody_hands_them_in(tmp_path: Path) -> None:
    settings = {"listeners": [{"kind": "http", "listen": f"127.0.0.1:{free_port()}"}]}
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        assert client.is_served()


def test_a_port_in_use_ends_the_start_and_names_who_has_it(tmp_path: Path) -> None:
    with listening_socket() as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with running_edge(tmp_path, {"listeners": [{"kind": "imaps", "listen": address, "upstream": "127.0.0.1:1"}]},
                          wait=False) as edge:  # fmt: skip
            assert edge.wait() == 1
            assert f"can't listen on {address} (imaps): the port is in use by" in edge.stderr
            assert f"(pid {os.getpid()})" in edge.stderr


def test_bad_settings_end_the_start_with_what_is_allowed(tmp_path: Path) -> None:
    with running_edge(tmp_path, {"workers": "many", "listeners": []}, wait=False) as edge:
        assert edge.wait() == 2
        assert f"{edge.config}:" in edge.stderr
        assert "workers" in edge.stderr
        assert "'many'" in edge.stderr


def test_missing_settings_are_named(tmp_path: Path) -> None:
    with running_edge(tmp_path, {}, environment={"CERTEDGE_CONFIG": ""}, wait=False) as edge:
        pass
    edge.config.unlink()
    edge.start([], {})
    assert edge.wait() == 2
    assert f"can't read the settings {edge.config}" in edge.stderr


def test_the_watchdog_of_the_service_manager_is_fed(tmp_path: Path) -> None:
    with running_edge(tmp_path, WEB, environment={"WATCHDOG_USEC": "200000"}) as edge:
        wait_for(lambda: edge.notified().count("WATCHDOG=1") >= 3, "three signs of life")


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


def test_both_workers_take_their_part_of_the_clients(tmp_path: Path) -> None:
    with running_edge(tmp_path, {**WEB, "workers": 2}) as edge:
        clients = [Client(edge.port("http")) for _ in range(200)]
        try:
            assert all(client.is_served() for client in clients)
            ports = {client.port for client in clients}
            shares = sorted(len(ports & peer_ports(pid)) for pid in edge.worker_pids())
        finally:
            for client in clients:
                client.socket.close()
    assert sum(shares) == 200
    assert shares[0] >= 20, shares


def test_ipv6_and_both_wildcards_of_one_port_are_served(tmp_path: Path) -> None:
    with listening_socket("0.0.0.0") as probe:
        port = probe.getsockname()[1]
    listeners = [
        {"kind": "http", "listen": "::1"},
        {"kind": "http", "listen": f"[::]:{port}"},
        {"kind": "http", "listen": f"0.0.0.0:{port}"},
    ]
    with running_edge(tmp_path, {"listeners": listeners}) as edge:
        for address in (("::1", edge.port("http")), ("::1", port), ("127.0.0.1", port)):
            with socket.create_connection(address, timeout=15) as peer:
                peer.sendall(REQUEST)
                assert peer.recv(65536).startswith(b"HTTP/1.1 30")
