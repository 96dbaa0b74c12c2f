"""Stock mitmdump as a reverse proxy, with the sites' certificates in its `certs` option: read once, at the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import yaml

from tests.bench.material import MAIN_HOST
from tests.bench.peers.base import Peer, Setting
from tests.bench.programs import find


class Mitmdump(Peer):
    name = "mitmdump"
    program = "mitmdump"
    is_slow: ClassVar[bool] = True

    def command(self, setting: Setting, port: int) -> Sequence[str]:
        sites = setting.sites
        certificates = [f"*={sites.main_path}", f"{MAIN_HOST}={sites.main_path}", f"localhost={sites.main_path}"]
        certificates += [f"{host}={sites.path(host)}" for host in sites.hosts]
        options = {
            "mode": [f"reverse:http://127.0.0.1:{setting.upstream_port}@127.0.0.1:{port}"],
            "certs": certificates,
            "keep_host_header": True,
        }
        (setting.folder / "config.yaml").write_text(yaml.safe_dump(options))
        return [find(self.program), "-q", "--set", f"confdir={setting.folder}"]
