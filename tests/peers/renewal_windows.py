"""ARI (RFC 9773) in front of a real Pebble, which has none: it adds `renewalInfo` to the directory, suggests the
windows that a test sets, records `replaces` in new orders and refuses a second one for a certificate with
`alreadyReplaced`.

    with Pebble(port) as pebble, RenewalWindows(pebble) as front:
        front.directory, front.ca_file; front.window = (start, end); front.replaced; front.asked

Everything else passes through unchanged; Pebble believes that the front's address is its own.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import urllib.error
import urllib.request
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.certificates import CertificateAuthority
from tests.peers.pebble import Pebble

_HOP_BY_HOP = frozenset({"transfer-encoding", "connection", "content-length", "date", "server"})


class RenewalWindows:
    """`answer` overrides the whole renewal information: (status, body). No header if `retry_after` is None."""

    def __init__(self, pebble: Pebble, folder: Path) -> None:
        self.window: tuple[datetime, datetime] | None = None
        self.explanation_url: str | None = None
        self.retry_after: str | None = "21600"
        self.answer: tuple[int, bytes] | None = None
        self.asked: list[str] = []
        self.replaced: list[str] = []
        self.refused: list[str] = []
        self._pebble = pebble
        authority = CertificateAuthority("Front")
        server = authority.issue("localhost")
        self.ca_file = folder / "front-ca.pem"
        self.ca_file.write_bytes(authority.root_pem)
        (folder / "front.pem").write_bytes(server.combined_pem)
        self._upstream = ssl.create_default_context(cafile=str(pebble.ca_file))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"front": self}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "front.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def base(self) -> str:
        return f"https://localhost:{self._server.server_address[1]}"

    @property
    def directory(self) -> str:
        return f"{self.base}/dir"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def renewal_info(self, certificate: str) -> tuple[int, bytes]:
        self.asked.append(certificate)
        if self.answer is not None:
            return self.answer
        assert self.window is not None, "a test sets a window first"
        start, end = self.window
        facts: dict[str, Any] = {"suggestedWindow": {"start": start.isoformat(), "end": end.isoformat()}}
        if self.explanation_url is not None:
            facts["explanationURL"] = self.explanation_url
        return 200, json.dumps(facts).encode()

    def note_replaces(self, body: bytes) -> bool:
        """Whether the new order may pass."""
        payload = json.loads(body)["payload"]
        order = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        replaces = order.get("replaces")
        if replaces is None:
            return True
        if replaces in self.replaced:
            self.refused.append(replaces)
            return False
        self.replaced.append(replaces)
        return True

    def pass_on(
        self, method: str, path: str, host: str, content_type: str, body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        address = self._pebble.directory.removesuffix("/dir")
        headers = {"Host": host, "User-Agent": "front"} | ({"Content-Type": content_type} if body is not None else {})
        request = urllib.request.Request(f"{address}{path}", body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._upstream) as response:
                return response.status, dict(response.headers.items()), response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers.items()), error.read()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: RenewalWindows

    def do_GET(self) -> None:
        if self.path.startswith("/renewal-info/"):
            status, body = self.front.renewal_info(self.path.removeprefix("/renewal-info/"))
            headers = {"Content-Type": "application/json"}
            if self.front.retry_after is not None:
                headers["Retry-After"] = self.front.retry_after
            self._send(status, headers, body)
            return
        status, headers, body = self._pass_on(None)
        if self.path == "/dir":
            body = json.dumps({**json.loads(body), "renewalInfo": f"{self.front.base}/renewal-info"}).encode()
        self._send(status, headers, body)

    def do_HEAD(self) -> None:
        self._send(*self._pass_on(None))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/order-plz" and not self.front.note_replaces(body):
            problem = {"type": "urn:ietf:params:acme:error:alreadyReplaced", "detail": "replaced before"}
            self._send(409, {"Content-Type": "application/problem+json"}, json.dumps(problem).encode())
            return
        self._send(*self._pass_on(body))

    def _pass_on(self, body: bytes | None) -> tuple[int, dict[str, str], bytes]:
        host, content_type = self.headers["Host"], self.headers.get("Content-Type") or ""
        return self.front.pass_on(self.command, self.path, host, content_type, body)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
