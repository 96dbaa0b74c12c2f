"""`certedge run` with real processes, signals and sockets."""

import contextlib
import os
import signal
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.edge_addon.clients import REQUEST, Client, is_gone, is_refused, one_client_per_worker, peer_ports
from tests.ports import free_port, listening_socket
from tests.running import running_edge, take_in_drops, write_site

CA = CertificateAuthority()
WEB: Mapping[str, Any] = {"listeners": [{"kind": "http"}, {"kind": "https"}]}


def test_once_ready_it_serves_each_name_its_certificate(tmp_path: Path) -> None:
    main, domain = CA.issue("edge.test"), CA.issue("client-a.test")
    with running_edge(tmp_path, WEB, {"main": main, "client-a.test": domain}) as edge:
        assert edge.fingerprint("https", "client-a.test") == domain.fingerprint
        assert edge.fingerprint("https", "unknown.test") == main.fingerprint
        assert edge.fingerprint("https", None) == main.fingerprint
        client = ssl.create_default_context(cadata=CA.root_pem.decode())
        with (
            socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60) as plain,
            client.wrap_socket(plain, server_hostname="client-a.test"),
        ):
            pass
        with (
            socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            client.wrap_socket(plain, server_hostname="unknown.test")
        assert edge.stop() == 0
        assert "STOPPING=1" in edge.notified()[-1]
        assert " worker 1 WARNING " not in edge.stderr
        assert "nextlayer" not in edge.stderr


def test_without_any_certificate_it_serves_a_self_signed_one_and_reports_it(tmp_path: Path) -> None:
    with running_edge(tmp_path, WEB) as edge:
        assert edge.fingerprint("https", "edge.test")
        assert "SELF-SIGNED" in edge.stderr


def test_a_killed_worker_is_restarted_and_connections_of_the_others_continue(tmp_path: Path) -> None:
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
        assert f"(pid {victim}) was killed by SIGKILL and is restarted immediately" in edge.stderr


def test_control_and_workers_survive_without_each_other(tmp_path: Path) -> None:
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


def test_no_process_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with running_edge(tmp_path, {**WEB, "workers": 2}) as edge:
        children = [edge.control_pid(), *edge.worker_pids()]
        assert len(children) == 3
        edge.process.kill()
        edge.process.wait()
        wait_for(lambda: all(map(is_gone, children)), "all children to end")
        assert is_refused(edge.port("http"))


def test_sockets_are_bound_where_none_are_inherited(tmp_path: Path) -> None:
    settings = {"listeners": [{"kind": "http", "listen": f"127.0.0.1:{free_port()}"}]}
    with running_edge(tmp_path, settings) as edge, Client(edge.port("http")) as client:
        assert client.is_served()


def test_a_port_in_use_ends_the_start_and_the_process_is_named(tmp_path: Path) -> None:
    with listening_socket() as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with running_edge(tmp_path, {"listeners": [{"kind": "imaps", "listen": address, "upstream": "127.0.0.1:1"}]},
                          wait=False) as edge:  # fmt: skip
            assert edge.wait() == 1
            assert f"can't listen on {address} (imaps): the port is in use by" in edge.stderr
            assert f"(pid {os.getpid()})" in edge.stderr


def test_invalid_settings_end_the_start_and_the_message_says_what_is_allowed(tmp_path: Path) -> None:
    with running_edge(tmp_path, {"workers": "many", "listeners": []}, wait=False) as edge:
        assert edge.wait() == 2
        assert f"{edge.config}:" in edge.stderr
        assert "workers" in edge.stderr
        assert "'many'" in edge.stderr


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    with running_edge(tmp_path, {}, environment={"CERTEDGE_CONFIG": ""}, wait=False) as edge:
        pass
    edge.config.unlink()
    edge.start([], {})
    assert edge.wait() == 2
    assert f"can't read the settings {edge.config}" in edge.stderr


def test_the_watchdog_of_the_service_manager_is_notified(tmp_path: Path) -> None:
    with running_edge(tmp_path, WEB, environment={"WATCHDOG_USEC": "200000"}) as edge:
        wait_for(lambda: edge.notified().count("WATCHDOG=1") >= 3, "three notifications")


def test_both_workers_accept_clients(tmp_path: Path) -> None:
    """How evenly is up to the system on a busy machine; one that never accepts would be left out for good."""
    with running_edge(tmp_path, {**WEB, "workers": 2}) as edge, contextlib.ExitStack() as clients:
        ports, shares = set[int](), [0]
        for _ in range(2000):
            # One after the other, so that the worker is decided each time and not by one burst.
            client = clients.enter_context(Client(edge.port("http")))
            assert client.is_served()
            ports.add(client.port)
            if len(ports) % 100 == 0:
                shares = [len(ports & peer_ports(pid)) for pid in edge.worker_pids()]
            if min(shares) >= 20:
                return
    pytest.fail(f"after {len(ports)} clients: {shares}")


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
            with socket.create_connection(address, timeout=60) as peer:
                peer.sendall(REQUEST)
                assert peer.recv(65536).startswith(b"HTTP/1.1 30")


def test_a_store_with_another_writer_is_served_and_the_writer_is_named(tmp_path: Path) -> None:
    domain = CA.issue("client-a.test")
    for site, certificate in {"main": CA.issue("edge.test"), "client-a.test": domain}.items():
        write_site(tmp_path / "store", site, certificate)
    take_in_drops(tmp_path / "store", ["main", "client-a.test"])
    with contextlib.ExitStack() as other:
        other.enter_context(StoreWriter.acquire(tmp_path / "store"))
        with running_edge(tmp_path, WEB) as edge:
            assert edge.fingerprint("https", "client-a.test") == domain.fingerprint
            assert f"process {os.getpid()} writes the store" in edge.stderr
            assert "without control" in edge.stderr
            other.close()
            wait_for(lambda: "control is ready" in edge.stderr, "control to start once it can")
