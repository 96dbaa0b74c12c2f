"""`certedge run` is replaced on sockets that a service manager keeps, and no client notices."""

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from tests.deadlines import wait_for
from tests.edge_addon.clients import Client, is_refused
from tests.peers import require_peer
from tests.peers.recorder import Connection, Recorder, ok
from tests.ports import free_port, listening_socket
from tests.running import running_edge


@pytest.mark.slow
def test_restart_on_kept_sockets_refuses_no_client_and_drops_no_request(tmp_path: Path) -> None:
    let, failures, stop = threading.Event(), [], threading.Event()

    async def handle(connection: Connection) -> None:
        while True:
            if (await connection.read_head()).startswith(b"GET /held "):
                await asyncio.to_thread(let.wait, 30)
            await connection.write(ok(b"whole"))

    with Recorder(handle) as upstream, listening_socket(backlog=4096) as kept:
        port = kept.getsockname()[1]
        settings = {
            "listeners": [{"kind": "http", "listen": f"127.0.0.1:{port}"}],
            "upstream": upstream.url,
            "http": {"redirect_to_https": False},
            "workers": 2,
        }

        def keep_asking() -> None:
            while not stop.is_set():
                try:
                    with Client(port) as client:
                        answer = client.ask()
                    if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"whole")):
                        failures.append(repr(answer))
                except OSError as error:
                    failures.append(repr(error))

        with running_edge(tmp_path, settings, sockets=[kept]) as edge, Client(port) as under_way:
            crowd = [threading.Thread(target=keep_asking) for _ in range(4)]
            for each in crowd:
                each.start()
            try:
                under_way.socket.sendall(b"GET /held HTTP/1.1\r\nHost: edge.test\r\n\r\n")
                wait_for(lambda: b"GET /held " in upstream.received, "the request under way")
                edge.send_signal(signal.SIGTERM)
                let.set()
                assert under_way.read_answer().endswith(b"whole")
                assert edge.wait() == 0
                edge.start([kept], {})
                edge.wait_ready(2)
            finally:
                stop.set()
                for each in crowd:
                    each.join()
            assert failures == []


@pytest.mark.peer
def test_sockets_from_systemd_socket_activate_are_served(tmp_path: Path) -> None:
    program, port = str(require_peer("systemd-socket-activate")), free_port()
    settings = {
        "store": "store",
        "workers": 1,
        "admin": {"listen": "127.0.0.1:0"},
        "listeners": [{"kind": "http", "listen": f"127.0.0.1:{port}"}],
    }
    (tmp_path / "store" / "main").mkdir(parents=True)
    (tmp_path / "store" / "main" / "site.yaml").write_text("host: edge.test\n")
    config = tmp_path / "edge.yaml"
    config.write_text(yaml.safe_dump(settings))
    certedge = [sys.executable, "-m", "edge_addon.cli", "run", "--config", str(config)]
    with (tmp_path / "edge.log").open("wb") as log:
        edge = subprocess.Popen(
            [program, f"--listen=127.0.0.1:{port}", *certedge], cwd=Path(__file__).parents[3], stderr=log
        )
    try:
        wait_for(lambda: not is_refused(port), "the socket")
        with Client(port) as client:
            client.socket.settimeout(60)  # the first client starts it, and waits for it
            assert client.is_served()
        edge.terminate()
        assert edge.wait(60) == 0
    finally:
        edge.kill()
        edge.wait()
    said = (tmp_path / "edge.log").read_text()
    assert "serving http" in said
    assert "no listener in edge.yaml" not in said
