"""What workers report of real requests and handshakes, and how it reaches the control process."""

import asyncio
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.metrics import FAMILIES, Sample
from certstore.monitoring.worker_reports import Gathered, WorkerReports
from edge_addon.processes.metrics_file import samples
from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for, wait_for_in_loop
from tests.edge_addon.inspection.edge import inspecting_edge
from tests.edge_addon.relay.edge import MAIN_HOST, Edge, entry, relay_edge
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok
from tests.ports import listening_socket
from tests.running import RunningEdge, running_edge

LAST = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
REQUESTS = "certedge_requests_total"
HANDSHAKES = "certedge_handshakes_total"


def values(edge: Edge, name: str) -> dict[tuple[str, ...], float]:
    return {each.labels: each.value for each in samples(edge.plane) if each.name == name}


@in_loop
async def test_requests_are_counted_by_site_and_class_of_the_status(tmp_path: Path) -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"
    with Recorder(answering(ok(b"hello"), missing)) as recorder:
        sites = [entry("a.test", "a.test"), entry("b.test", "b.test")]
        async with relay_edge(tmp_path, recorder.url, sites=sites, kind="https") as edge:
            reader, writer = await edge.connect("a.test")
            for end in (b"hello", b"no\n"):
                writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
                await reader.readuntil(end)
            async with Http2Client(edge, "b.test") as client:
                await client.get()
                await client.get(authority="a.test")
            await edge.send(b"no request at all\r\n\r\n", server_name="a.test")
            assert values(edge, REQUESTS) == {
                ("a.test", "2xx"): 1,
                ("a.test", "4xx"): 2,
                ("b.test", "4xx"): 1,
                ("unknown", "4xx"): 1,
            }
            assert values(edge, "certedge_body_bytes_total")[("out",)] > 8


@in_loop
async def test_inspected_requests_are_counted_alike(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            await edge.send(LAST, server_name="a.test")
            await edge.send(LAST.replace(b"a.test", MAIN_HOST.encode()), server_name="a.test")
            assert values(edge, REQUESTS) == {("a.test", "2xx"): 1, ("main", "4xx"): 1}
            (latency,) = [each for each in samples(edge.plane) if each.counts]
            assert sum(latency.counts) == 1


@in_loop
async def test_handshakes_are_counted_by_version_outcome_and_certificate(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, sites=[entry("a.test", "a.test")], kind="https") as edge:
            listener = f"https 127.0.0.1:{edge.port}"
            await edge.connect("a.test")
            await edge.connect("")
            await asyncio.to_thread(_speak_plain_text, edge.port)
            await asyncio.to_thread(_distrust, edge.port)
            await asyncio.to_thread(_go_away, edge.port)
            await wait_for_in_loop(lambda: sum(values(edge, HANDSHAKES).values()) == 5, "five handshakes")
            assert values(edge, "certedge_connections_total") == {(listener,): 5}
            assert values(edge, "certedge_connections_open") == {(listener,): 2}
            assert values(edge, HANDSHAKES) == {
                (listener, "TLSv1.3", "done"): 2,
                (listener, "", "plain_text_on_tls_port"): 1,
                (listener, "", "tls_handshake_failed"): 1,
                (listener, "", "client_gone"): 1,
            }
            assert values(edge, "certedge_certificates_chosen_total") == {
                ("domain", "exact_name"): 1,
                ("main", "no_server_name"): 1,
            }


def _speak_plain_text(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while plain.recv(65536):
            pass


def _distrust(port: int) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="a.test")


def _go_away(port: int) -> None:
    """Disconnect after the server's answer, before the client's Finished."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(outgoing.read())
        assert plain.recv(65536)


@in_loop
async def test_latency_is_counted_in_its_bucket_and_pools_are_reported(tmp_path: Path) -> None:
    async def slow(connection: Connection) -> None:
        while True:
            await connection.read_head()
            await asyncio.sleep(0.3)
            await connection.write(ok())

    with Recorder(slow) as recorder:
        async with relay_edge(tmp_path, recorder.url, sites=[entry("a.test", "a.test")]) as edge:
            await edge.send(LAST)
            (latency,) = [each for each in samples(edge.plane) if each.counts]
            assert latency.counts[6] == 1  # above 0.25 s, at most 0.5 s
            assert 0.3 <= latency.value < 0.5
            assert values(edge, "certedge_upstream_connections") == {
                (recorder.url, "idle"): 1,
                (recorder.url, "active"): 0,
            }


@in_loop
async def test_a_refused_request_is_counted_by_cause_and_every_metric_is_known(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            await edge.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +1\r\n\r\n")
            assert values(edge, "certedge_events_total") == {("request_bad_length",): 1}
            for sample in samples(edge.plane):
                assert Sample.from_json(sample.to_json()) == sample
                assert sample.name in FAMILIES


CA = CertificateAuthority()


def get(edge: RunningEdge) -> None:
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    with (
        socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="a.test") as secure,
    ):
        secure.sendall(LAST)
        while secure.recv(65536):
            pass


def gathered(edge: RunningEdge) -> Gathered:
    return WorkerReports(Layout(edge.store)).collect(datetime.now(UTC))


def counted(edge: RunningEdge, name: str) -> Counter[tuple[str, ...]]:
    return Counter({each.labels: int(each.value) for each in gathered(edge).samples if each.name == name})


@pytest.mark.parametrize("how", ["kill", "reload"])
def test_counts_of_all_workers_are_gathered_and_outlive_a_worker(how: str, tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        settings = {"listeners": [{"kind": "https"}], "upstream": recorder.url, "workers": 2}
        with running_edge(tmp_path, settings, {"a.test": CA.issue("a.test")}) as edge:
            for _ in range(10):
                get(edge)
            wait_for(lambda: counted(edge, REQUESTS) == {("a.test", "2xx"): 10}, "ten requests")
            before = set(edge.worker_pids())
            assert {report.pid for report in gathered(edge).workers} == before
            if how == "reload":
                edge.reload()
            else:
                os.kill(min(before), signal.SIGKILL)
            wait_for(
                lambda: len(gathered(edge).workers) == 2 and {each.pid for each in gathered(edge).workers} != before,
                "the new workers' reports",
            )
            get(edge)
            wait_for(lambda: counted(edge, REQUESTS)["a.test", "2xx"] == 11, "eleven requests")
            inode = Layout(edge.store).snapshot_journal.stat()
            for report in gathered(edge).workers:
                assert report.journal == (inode.st_ino, inode.st_size)
        assert counted(edge, REQUESTS)["a.test", "2xx"] == 11
        assert gathered(edge).workers == ()


def ask(port: int, path: str, token: str = "") -> tuple[int, str]:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=ssl._create_unverified_context())
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def test_the_admin_listener_of_a_running_service_shows_them_and_is_ready(tmp_path: Path) -> None:
    with listening_socket() as probe:
        port = probe.getsockname()[1]
    with Recorder(answering(ok())) as recorder:
        settings = {
            "listeners": [{"kind": "https"}],
            "upstream": recorder.url,
            "admin": {"listen": f"127.0.0.1:{port}"},
        }
        with running_edge(tmp_path, settings, {"a.test": CA.issue("a.test")}) as edge:
            wait_for(lambda: ask(port, "/readyz")[0] == 200, "a service that is ready")
            command = [sys.executable, "-m", "edge_addon.cli", "admin", "token", "add", "prometheus", "--scope", "read"]
            made = subprocess.run(
                [*command, "--json", "--config", str(edge.config)], capture_output=True, text=True, check=True
            )
            token = json.loads(made.stdout)["token"]
            get(edge)
            line = f'{REQUESTS}{{code="2xx",site="a.test"}} 1.0\n'
            page = wait_for(lambda: (text := ask(port, "/metrics", token)[1]) and line in text and text, line)
    assert 'certedge_certificate_remaining_seconds{site="a.test"}' in str(page)
    assert "certedge_workers 1.0\n" in str(page)
