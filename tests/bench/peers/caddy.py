"""Caddy: loads the folder of certificates at the start, without automation; reloads through its admin address."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence

from tests.bench.material import MAIN_HOST
from tests.bench.peers.base import Peer, Server, Setting
from tests.bench.programs import find
from tests.ports import free_port


class Caddy(Peer):
    name = "Caddy"
    program = "caddy"
    refresh_way = "reload"

    def command(self, setting: Setting, port: int) -> Sequence[str]:
        sites = setting.sites
        relay = {"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{setting.upstream_port}"}]}
        web = {
            "listen": [f"127.0.0.1:{port}"],
            "protocols": ["h1", "h2"],
            "automatic_https": {"disable": True},
            "idle_timeout": "3600s",
            "routes": [{"handle": [relay]}],
            # Without a default name, a client without SNI gets no certificate.
            "tls_connection_policies": [{"default_sni": MAIN_HOST}],
        }
        folders = [str(folder) for folder in (sites.main_path.parent, sites.folder)]
        configuration = {
            "admin": {"listen": f"127.0.0.1:{free_port()}", "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {"http": {"servers": {"web": web}}, "tls": {"certificates": {"load_folders": folders}}},
        }
        (setting.folder / "caddy.json").write_text(json.dumps(configuration))
        return [find(self.program), "run", "--config", str(setting.folder / "caddy.json")]

    def environment(self, setting: Setting) -> Mapping[str, str]:
        folder = str(setting.folder)
        return {"GOMAXPROCS": str(setting.workers), "HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}

    def refresh(self, server: Server, host: str) -> None:
        content = (server.setting.folder / "caddy.json").read_bytes()
        request = urllib.request.Request(
            f"http://{json.loads(content)['admin']['listen']}/load",
            data=content,
            # Without the second header, it finds the configuration unchanged and reads nothing.
            headers={"Content-Type": "application/json", "Cache-Control": "must-revalidate"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            answer.read()
