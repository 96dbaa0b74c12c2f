"""The edge of this repository: `certedge run` on a store whose drops have already been processed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import yaml

from certstore.model.layout import Layout
from certstore.store.writer import StoreWriter
from tests.bench import accounting
from tests.bench.material import MAIN_HOST, SiteFiles, replace_file
from tests.bench.peers.base import Peer, Server, Setting
from tests.certificates import Issued

REPOSITORY = Path(__file__).parents[3]
DROP = "combined.pem"


class Certedge(Peer):
    name = "certedge"
    program = "certedge"
    sees_drops: ClassVar[bool] = True

    def __init__(self, store: Path) -> None:
        self._store = store
        self._taken_in: int | None = None
        self._dropped: dict[str, str] = {}

    def prepare(self, sites: SiteFiles) -> None:
        """Drop new certificates and process them: a starting service finds the store as its last run left it."""
        if self._taken_in == sites.count:
            return
        if self._taken_in is None:
            folder = self._folder("main")
            folder.mkdir(parents=True)
            (folder / "site.yaml").write_text(yaml.safe_dump({"host": MAIN_HOST}))
            (folder / DROP).write_bytes(sites.main.combined_pem)
        fresh = sites.hosts[self._taken_in or 0 :]
        for host in fresh:
            folder = self._folder(host)
            folder.mkdir(parents=True)
            (folder / DROP).write_bytes(sites.path(host).read_bytes())
            self._dropped[host] = sites.fingerprints[host]
        with StoreWriter.acquire(self._store, settle=timedelta(0)) as writer:
            for site in ("main", *fresh):
                writer.check(site)
        self._taken_in = sites.count

    def command(self, setting: Setting, port: int) -> Sequence[str]:
        settings = {
            "store": str(self._store),
            "workers": setting.workers,
            "upstream": f"http://127.0.0.1:{setting.upstream_port}",
            "listeners": [{"kind": "https", "listen": f"127.0.0.1:{port}"}],
            "admin": {"listen": "127.0.0.1:0"},
            "limits": {"connections": 20_000, "connections_per_address": 20_000},
        }
        config = setting.folder / "edge.yaml"
        config.write_text(yaml.safe_dump(settings))
        return [sys.executable, "-m", "edge_addon.cli", "run", "--config", str(config)]

    def environment(self, setting: Setting) -> Mapping[str, str]:
        return {"PYTHONPATH": str(REPOSITORY)}

    def expected(self, sites: SiteFiles, host: str) -> str:
        return self._dropped.get(host) or sites.fingerprints[host]

    def put(self, setting: Setting, host: str, issued: Issued) -> None:
        replace_file(self._folder(host) / DROP, issued.combined_pem)
        self._dropped[host] = issued.fingerprint

    def data_plane(self, server: Server) -> list[int]:
        return [pid for pid in server.pids() if accounting.name_of(pid) == "edge-worker"]

    def _folder(self, site: str) -> Path:
        return Layout(self._store).drop_folder(site)
