"""The web server behind every measured server: nginx on loopback, with pages of 1 KB to 100 MB and room for uploads."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.bench.figures import LINE_MEGABYTES
from tests.bench.programs import find
from tests.deadlines import wait_for
from tests.ports import free_port

SMALL, MEGABYTE, LARGE, LINE = "/small", "/1m", "/100m", "/60m"
UPLOAD = "/uploads/file"
SMALL_BYTES = 1024
LARGE_MEGABYTES = 100

_CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {folder}/upstream.pid;
error_log {folder}/upstream.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 15000; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 3600;
    keepalive_requests 100000000;
    default_type application/octet-stream;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/root;
        location /uploads/ {{ alias {folder}/uploads/; dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""


class Upstream:
    """Runs inside the `with`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        root = folder / "root"
        root.mkdir(parents=True)
        (root / SMALL[1:]).write_bytes(b"x" * SMALL_BYTES)
        (root / MEGABYTE[1:]).write_bytes(b"x" * 1024**2)
        for path, megabytes in ((LARGE, LARGE_MEGABYTES), (LINE, LINE_MEGABYTES)):
            with (root / path[1:]).open("wb") as large:
                for _ in range(megabytes):
                    large.write(b"x" * 1024**2)
        user = "user root;" if os.geteuid() == 0 else ""
        text = _CONFIGURATION.format(folder=folder, port=self.port, user=user)
        (folder / "upstream.conf").write_text(text)

    def __enter__(self) -> Upstream:
        command = [find("nginx"), "-p", str(self._folder), "-c", "upstream.conf", "-e", "upstream.log"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for((self._folder / "upstream.pid").exists, "the upstream nginx")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
