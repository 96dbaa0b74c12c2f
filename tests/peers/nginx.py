"""A real nginx on loopback as web upstream, with its own prefix folder, on a TCP port and a Unix socket.

    with Nginx() as nginx:
        (nginx.root / "page.html").write_text("…"); nginx.url; nginx.unix_url; nginx.accesses()

`GET /files/…` serves `root`; `PUT /files/…` stores there, creating folders; `/echo` answers with what the edge reported
about the client; `/chunked/…` serves without a length.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.ports import free_port

_CONFIGURATION = """
daemon off;
master_process off;
{user}
pid {prefix}/nginx.pid;
error_log {prefix}/error.log notice;
events {{ worker_connections 256; }}
http {{
    types {{ text/html html; text/plain txt; }}
    default_type application/octet-stream;
    log_format facts '$connection $connection_requests $request_method $uri $status $host $http_x_forwarded_for';
    access_log {prefix}/access.log facts;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    client_max_body_size {max_body};
    keepalive_timeout {keepalive_seconds};
    gzip_types text/plain;
    server {{
        listen 127.0.0.1:{port};
        listen unix:{socket};
        root {prefix}/root;
        location /files/ {{
            alias {prefix}/root/;
            dav_methods PUT DELETE;
            create_full_put_path on;
        }}
        location /chunked/ {{
            alias {prefix}/root/;
            gzip on;
            gzip_min_length 1;
        }}
        location /echo {{
            default_type text/plain;
            return 200 "$http_x_forwarded_for|$http_x_forwarded_proto|$http_host|$http_forwarded\\n";
        }}
    }}
}}
"""


class Nginx:
    """One nginx, running inside the `with`."""

    def __init__(self, *, keepalive_seconds: int = 60, max_body: str = "4g") -> None:
        self._program = require_peer("nginx")
        # Not pytest's folder: a Unix socket's address holds 107 bytes.
        self._prefix = Path(tempfile.mkdtemp(prefix="nginx-"))
        self.root = self._prefix / "root"
        self.root.mkdir()
        self.port = free_port()
        self._socket = self._prefix / "socket"
        self._process: subprocess.Popen[bytes] | None = None
        configuration = _CONFIGURATION.format(
            prefix=self._prefix,
            port=self.port,
            socket=self._socket,
            keepalive_seconds=keepalive_seconds,
            max_body=max_body,
            user="user root;" if os.geteuid() == 0 else "",
        )
        (self._prefix / "nginx.conf").write_text(configuration)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix:{self._socket}"

    def accesses(self) -> list[list[str]]:
        """The requests that it has answered: connection number, request number on it, method, URI, status, …"""
        return [line.split() for line in (self._prefix / "access.log").read_text().splitlines()]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [str(self._program), "-p", str(self._prefix), "-c", "nginx.conf"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._answers, f"nginx on port {self.port}: {self._errors()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
        shutil.rmtree(self._prefix, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._errors()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _errors(self) -> str:
        with contextlib.suppress(OSError):
            return (self._prefix / "error.log").read_text()
        return ""
