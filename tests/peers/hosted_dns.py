"""A hosted DNS over HTTP, as dns-lexicon's driver for PowerDNS speaks to one. It holds one zone.

`token` is what it accepts, `requests` what it was asked for. A `hanging` one accepts requests and never answers.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class HostedDns:
    def __init__(self, zone: str, token: str, *, hanging: bool = False) -> None:
        self.zone = zone
        self.token = token
        self.records: dict[tuple[str, str], list[str]] = {}
        self.requests: list[str] = []
        self._released = threading.Event()
        if not hanging:
            self._released.set()
        hosted = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self._is_known():
                    groups = [
                        {
                            "name": name,
                            "type": kind,
                            "ttl": 60,
                            "records": [{"content": each, "disabled": False} for each in contents],
                        }
                        for (name, kind), contents in hosted.records.items()
                    ]
                    self._answer(200, {"kind": "Native", "rrsets": groups})

            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self._is_known():
                    for group in body["rrsets"]:
                        contents = [each["content"] for each in group["records"]]
                        hosted.records[group["name"], group["type"]] = contents
                    self._answer(204, None)

            def _is_known(self) -> bool:
                hosted.requests.append(f"{self.command} {self.path}")
                hosted._released.wait()
                if self.headers.get("X-API-Key") != hosted.token:
                    self._answer(401, {"error": f"unknown key {self.headers.get('X-API-Key')}"})
                elif self.path != f"/api/v1/servers/localhost/zones/{hosted.zone}.":
                    self._answer(404, {"error": "no such zone"})
                else:
                    return True
                return False

            def _answer(self, status: int, facts: Any) -> None:
                content = b"" if facts is None else json.dumps(facts).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # A client may have been ended before its answer came.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def texts(self, name: str) -> set[str]:
        return {each.strip('"') for each in self.records.get((f"{name}.", "TXT"), ())}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
