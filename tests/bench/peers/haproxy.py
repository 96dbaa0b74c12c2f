"""HAProxy: the folder of certificates on one bind line; its runtime socket accepts the bytes of a new one."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tests.bench.peers.base import Peer, Server, Setting
from tests.bench.programs import find

_CONFIGURATION = """
global
    nbthread {workers}
    maxconn 12000
    no strict-limits
    stats socket {folder}/admin.sock level admin
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    timeout http-keep-alive 3600s
    timeout server 3600s
    option forwardfor
    http-reuse always
frontend edge
    bind 127.0.0.1:{port} ssl crt {main} {sites} alpn h2,http/1.1
    http-request set-header X-Forwarded-Proto https
    default_backend web
backend web
    server web 127.0.0.1:{upstream}
"""


class HAProxy(Peer):
    name = "HAProxy"
    program = "haproxy"
    refresh_way = "runtime socket"

    def command(self, setting: Setting, port: int) -> Sequence[str]:
        text = _CONFIGURATION.format(
            workers=setting.workers,
            folder=setting.folder,
            port=port,
            main=setting.sites.main_path,
            sites=f"crt {setting.sites.folder}" if setting.sites.count else "",
            upstream=setting.upstream_port,
        )
        (setting.folder / "haproxy.cfg").write_text(text)
        return [find(self.program), "-q", "-f", str(setting.folder / "haproxy.cfg")]

    def refresh(self, server: Server, host: str) -> None:
        path = server.setting.sites.path(host)
        self._tell(server, f"set ssl cert {path} <<\n{path.read_text()}\n")
        self._tell(server, f"commit ssl cert {path}\n")

    @staticmethod
    def _tell(server: Server, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(30)
            admin.connect(str(server.setting.folder / "admin.sock"))
            admin.sendall(command.encode())
            while admin.recv(4096):
                pass
