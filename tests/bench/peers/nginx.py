"""nginx: a server block per site, as its manual shows; or one block that names the file by the SNI value."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import ClassVar

from tests.bench.material import MAIN_HOST
from tests.bench.peers.base import Peer, Server, Setting
from tests.bench.programs import find

_HEAD = """
daemon off;
{user}
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
worker_rlimit_nofile 20000;
events {{ worker_connections 15000; }}
http {{
    access_log off;
    keepalive_timeout 3600;
    keepalive_requests 100000000;
    client_header_timeout 3600;
    server_names_hash_max_size 200000;
    server_names_hash_bucket_size 128;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    ssl_protocols TLSv1.2 TLSv1.3;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    upstream web {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
"""
_BLOCK = """server {{ listen 127.0.0.1:{port} ssl http2{default}; server_name {host};
ssl_certificate {path}; ssl_certificate_key {path}; location / {{ proxy_pass http://web; }} }}
"""
_VARIABLE_BLOCK = """map $ssl_server_name $certificate {{ default {main}; ~^webmail\\. {folder}/$ssl_server_name.pem; }}
server {{ listen 127.0.0.1:{port} ssl http2 default_server; server_name _;
ssl_certificate $certificate; ssl_certificate_key $certificate; location / {{ proxy_pass http://web; }} }}
"""


class Nginx(Peer):
    name = "nginx"
    program = "nginx"
    refresh_way = "reload"

    def command(self, setting: Setting, port: int) -> Sequence[str]:
        head = _HEAD.format(
            user="user root;" if os.geteuid() == 0 else "",
            workers=setting.workers,
            folder=setting.folder,
            upstream=setting.upstream_port,
        )
        (setting.folder / "nginx.conf").write_text(head + self.blocks(setting, port) + "}\n")
        return [find(self.program), "-p", str(setting.folder), "-c", "nginx.conf", "-e", "error.log"]

    def blocks(self, setting: Setting, port: int) -> str:
        """The part of the configuration that names the certificates."""
        sites = setting.sites
        main = _BLOCK.format(port=port, default=" default_server", host=MAIN_HOST, path=sites.main_path)
        return main + "".join(
            _BLOCK.format(port=port, default="", host=host, path=sites.path(host)) for host in sites.hosts
        )

    def refresh(self, server: Server, host: str) -> None:
        server.process.send_signal(signal.SIGHUP)


class NginxByVariable(Nginx):
    """Nothing is loaded at the start; each handshake reads and parses its file."""

    name = "nginx, file by SNI"
    is_variant: ClassVar[bool] = True
    sees_drops: ClassVar[bool] = True

    def blocks(self, setting: Setting, port: int) -> str:
        return _VARIABLE_BLOCK.format(port=port, main=setting.sites.main_path, folder=setting.sites.folder)
