"""Web clients of the field, each uploading one file through a server and downloading it again, over real TLS.

    for client in WEB_CLIENTS:
        client.run(Transfer(url, ca_file, source, target, folder))

Those in compiled languages are built once, from `programs/`, into the user's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.peers.dovecot import is_listening
from tests.ports import free_port

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 120
HTTP1, HTTP2 = "HTTP/1.1", "HTTP/2.0"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What to move: PUT `source` to `url`, then GET it into `target`. `folder` is for files of the client."""

    url: str
    ca_file: Path
    source: Path
    target: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class WebClient:
    """`protocol`: what the access log must name. `run` skips the test if the client is missing."""

    name: str
    protocol: str
    run: Callable[[Transfer], None] = field(repr=False)


def run(*command: str | Path, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """Run a client to its end; returns its output, fails with it."""
    done = subprocess.run(
        [str(each) for each in command],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {output[-2000:]}"
    return output


def built(source: str, *command: str) -> Path:
    """The folder with what this command builds there from a source in `programs/`; built once for each text of it."""
    text = (PROGRAMS / source).read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "certedge-tests"
    folder = cache / f"{source}-{hashlib.sha256(text).hexdigest()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as name:
            made = Path(name) / "made"
            made.mkdir()
            environment = {"GOCACHE": str(cache / "go"), "GO111MODULE": "off", "GOFLAGS": ""}
            run(*command, PROGRAMS / source, environment=environment, folder=made)
            try:
                made.rename(folder)
            except OSError:
                assert folder.exists()  # another test run was faster
    return folder


def _curl(transfer: Transfer, *options: str) -> None:
    curl: list[str | Path] = [require_peer("curl"), "-sS", "--fail", "--cacert", transfer.ca_file, *options]
    run(*curl, "-T", transfer.source, transfer.url)
    run(*curl, "-o", transfer.target, transfer.url)


def _go(transfer: Transfer, version: str) -> None:
    program = built("transfer.go", str(require_peer("go")), "build", "-o", "transfer") / "transfer"
    environment = {"SSL_CERT_FILE": str(transfer.ca_file)}
    run(program, version, transfer.url, transfer.source, transfer.target, environment=environment)


def _java(transfer: Transfer, version: str) -> None:
    compiler = require_peer("javac")
    folder = built("Transfer.java", str(compiler), "-d", ".")
    java: list[str | Path] = [compiler.with_name("java"), "-Xmx256m", "-cp", folder, "Transfer"]
    run(*java, version, transfer.url, transfer.source, transfer.target, transfer.ca_file)


def _node(transfer: Transfer, how: str) -> None:
    environment = {"NODE_EXTRA_CA_CERTS": str(transfer.ca_file)}
    program = PROGRAMS / "transfer.mjs"
    run(require_peer("node"), program, how, transfer.url, transfer.source, transfer.target, environment=environment)


_CADDYFILE = """
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    reverse_proxy https://{upstream} {{
        header_up Host {upstream}
        transport http {{
            tls_trusted_ca_certs {ca_file}
            versions 2
        }}
    }}
}}
"""


def _caddy(transfer: Transfer) -> None:
    """A Caddy in front of the server, which it reaches over HTTP/2."""
    caddy, port = require_peer("caddy"), free_port()
    upstream, _, path = transfer.url.removeprefix("https://").partition("/")
    text = _CADDYFILE.format(port=port, upstream=upstream, ca_file=transfer.ca_file)
    config = transfer.folder / "Caddyfile"
    config.write_text(text)
    with serving(port, caddy, "run", "--adapter", "caddyfile", "--config", config, folder=transfer.folder):
        curl: list[str | Path] = [require_peer("curl"), "-sS", "--fail"]
        run(*curl, "-T", transfer.source, f"http://127.0.0.1:{port}/{path}")
        run(*curl, "-o", transfer.target, f"http://127.0.0.1:{port}/{path}")


@contextmanager
def serving(port: int, *command: str | Path, folder: Path) -> Iterator[None]:
    """A server of the field on this port of loopback, as long as the `with` lasts."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [str(each) for each in command],
            env={**os.environ, "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(
            lambda: is_listening(port) or process.poll() is not None,
            f"{command[0]} on port {port}: {folder / 'server.log'}",
        )
        assert process.poll() is None, (folder / "server.log").read_text(errors="replace")
        yield
    finally:
        process.terminate()
        process.wait(30)


WEB_CLIENTS: Sequence[WebClient] = (
    WebClient("curl", HTTP1, lambda transfer: _curl(transfer, "--http1.1")),
    WebClient("curl over HTTP/2", HTTP2, lambda transfer: _curl(transfer, "--http2")),
    WebClient("Go", HTTP1, lambda transfer: _go(transfer, "1")),
    WebClient("Go over HTTP/2", HTTP2, lambda transfer: _go(transfer, "2")),
    WebClient("Java", HTTP1, lambda transfer: _java(transfer, "1")),
    WebClient("Java over HTTP/2", HTTP2, lambda transfer: _java(transfer, "2")),
    WebClient("Node fetch (undici)", HTTP1, lambda transfer: _node(transfer, "fetch")),
    WebClient("Node http2", HTTP2, lambda transfer: _node(transfer, "http2")),
    WebClient("Caddy", HTTP2, _caddy),
)
