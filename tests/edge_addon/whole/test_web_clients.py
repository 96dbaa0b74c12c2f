"""Web clients of the field write and read 50 MB through `certedge run`, over real TLS and to a real web server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.peers.nginx import Nginx
from tests.peers.web_clients import WEB_CLIENTS, Transfer, WebClient, run, serving
from tests.ports import free_port
from tests.running import MAIN_HOST, RunningEdge, Site, running_edge

pytestmark = pytest.mark.peer

SIZE = 50 * 1024 * 1024
CA = CertificateAuthority()
CERTIFICATE = CA.issue(MAIN_HOST, "localhost")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Ground:
    """The edge before a real nginx, and the file that every client moves."""

    edge: RunningEdge
    nginx: Nginx
    ca_file: Path
    source: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.edge.port('https')}"

    def logged(self, target: str) -> list[dict[str, Any]]:
        """The lines of the access log about this target."""
        lines = (self.edge.folder / "access.log").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["target"] == target]


@contextmanager
def edge_before(folder: Path, url: str, *, inspect: bool = False) -> Iterator[RunningEdge]:
    """One main site, whose certificate is for localhost too: not every client can be told another address."""
    settings = {"listeners": [{"kind": "https"}], "upstream": url, "access_log": {"path": "access.log"}}
    with running_edge(folder, settings, {"main": Site(CERTIFICATE, {"host": MAIN_HOST, "inspect": inspect})}) as edge:
        yield edge


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "source"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture(scope="module", params=["plain", "inspected"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, source: Path) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("edge")
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(CA.root_pem)
    with Nginx() as nginx, edge_before(folder, nginx.url, inspect=request.param == "inspected") as edge:
        yield Ground(edge, nginx, ca_file, source)


@pytest.mark.parametrize("client", WEB_CLIENTS, ids=lambda client: client.name)
def test_a_client_writes_and_reads_a_large_file(ground: Ground, client: WebClient, tmp_path: Path) -> None:
    name = f"{WEB_CLIENTS.index(client)}.bin"
    stored = ground.nginx.root / name
    transfer = Transfer(f"{ground.url}/files/{name}", ground.ca_file, ground.source, tmp_path / "target", tmp_path)

    client.run(transfer)

    assert digest(stored) == digest(ground.source), "what the web server has got"
    assert digest(transfer.target) == digest(ground.source), "what the client has got back"
    stored.unlink()
    wait_for(lambda: len(ground.logged(f"/files/{name}")) > 1, "two lines of the access log")
    lines = ground.logged(f"/files/{name}")
    assert [line["protocol"] for line in lines] == [client.protocol] * 2
    assert [line["status"] // 100 for line in lines] == [2, 2]


_PAGE = """<!doctype html><title>transfer</title><script>
(async () => {
  const hex = data => [...new Uint8Array(data)].map(each => each.toString(16).padStart(2, "0")).join("");
  const read = await (await fetch("/files/source.bin")).arrayBuffer();
  const written = await fetch("/files/written.bin", {method: "PUT", body: read});
  const entries = performance.getEntriesByType("resource").map(each => each.nextHopProtocol);
  const result = {digest: hex(await crypto.subtle.digest("SHA-256", read)), status: written.status, entries};
  await fetch("/files/result.json", {method: "PUT", body: JSON.stringify(result)});
})();
</script>"""


def test_chromium_writes_and_reads_a_large_file(ground: Ground, tmp_path: Path) -> None:
    chromium = require_peer("chromium")
    root = ground.nginx.root
    (root / "page.html").write_text(_PAGE)
    (root / "source.bin").hardlink_to(ground.source)
    browser = subprocess.Popen(
        [
            chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server",
            "--ignore-certificate-errors", f"--user-data-dir={tmp_path / 'profile'}", f"{ground.url}/page.html",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for((root / "result.json").exists, "the browser's result", seconds=120)
    finally:
        browser.terminate()
        browser.wait(30)

    result = json.loads((root / "result.json").read_text())
    assert result["digest"] == digest(ground.source)
    assert result["status"] in (201, 204)
    assert set(result["entries"]) == {"h2"}
    assert digest(root / "written.bin") == digest(ground.source)
    for name in ("written.bin", "source.bin", "result.json"):
        (root / name).unlink()


def test_rclone_writes_and_reads_a_large_file_over_webdav(source: Path, tmp_path: Path) -> None:
    """Its own server is behind the edge: a WebDAV server with everything that rclone asks for."""
    rclone, port = require_peer("rclone"), free_port()
    (tmp_path / "ca.pem").write_bytes(CA.root_pem)
    (tmp_path / "served").mkdir()
    server = (rclone, "serve", "webdav", tmp_path / "served", "--addr", f"127.0.0.1:{port}")
    with serving(port, *server, folder=tmp_path), edge_before(tmp_path, f"http://127.0.0.1:{port}") as edge:
        client: list[str | Path] = [rclone, "copyto", "--ca-cert", tmp_path / "ca.pem", "--webdav-url"]
        client += [f"https://localhost:{edge.port('https')}", "--config", tmp_path / "rclone.conf"]
        run(*client, source, ":webdav:folder/file.bin")
        run(*client, ":webdav:folder/file.bin", tmp_path / "target")
        protocols = {json.loads(line)["protocol"] for line in (tmp_path / "access.log").read_text().splitlines()}
    assert digest(tmp_path / "served" / "folder" / "file.bin") == digest(source)
    assert digest(tmp_path / "target") == digest(source)
    assert protocols == {"HTTP/2.0"}


def test_restic_backs_up_and_restores_a_large_file(source: Path, tmp_path: Path) -> None:
    """To a repository that rclone serves."""
    restic, rclone, port = require_peer("restic"), require_peer("rclone"), free_port()
    (tmp_path / "ca.pem").write_bytes(CA.root_pem)
    (tmp_path / "served").mkdir()
    server = (rclone, "serve", "restic", tmp_path / "served", "--addr", f"127.0.0.1:{port}")
    with serving(port, *server, folder=tmp_path), edge_before(tmp_path, f"http://127.0.0.1:{port}") as edge:
        environment = {"RESTIC_PASSWORD": "correct-horse-battery"}
        repository = f"rest:https://localhost:{edge.port('https')}/"
        client: list[str | Path] = [restic, "--no-cache", "--cacert", tmp_path / "ca.pem", "-r", repository]
        run(*client, "init", environment=environment)
        run(*client, "backup", source.name, environment=environment, folder=source.parent)
        run(*client, "restore", "latest", "--target", tmp_path / "restored", environment=environment)
    assert digest(next((tmp_path / "restored").rglob(source.name))) == digest(source)
