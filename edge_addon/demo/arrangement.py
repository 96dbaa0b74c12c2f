"""What a demo starts from: its folder with CA, edge.yaml, sites and drops, and listening sockets on free ports.

Writes everything as an admin would. Nothing here talks to the edge.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import yaml

from certstore.model.layout import Layout
from edge_addon.demo.authority import Authority, Pair

MAIN_HOST = "mail.demo.test"
OWN = "webmail.client-a.test"
OWN_ADDITIONAL = "autodiscover.client-a.test"
WITHOUT = "webmail.client-b.test"
REPLACED = "webmail.client-c.test"

MARK = ".certedge-demo"
KINDS = ("http", "https", "imaps", "imap", "submission", "health")
DROP_NAME = "certificate.pem"


class NotOurFolder(Exception):
    """The folder contains something that no demo created."""


class Arrangement:
    """The folder, ports and certificates of one demo. `pairs` are by site, `ports` by kind of listener."""

    def __init__(self, folder: Path, authority: Authority, pairs: Mapping[str, Pair], ports: Mapping[str, int]) -> None:
        self.folder = folder
        self.authority = authority
        self.pairs = pairs
        self.ports = ports
        self.edge_yaml = folder / "edge.yaml"
        self.root_pem = folder / "ca.pem"
        """The CA certificate that clients must trust."""
        self.log = folder / "edge.log"
        self.spare = folder / f"{WITHOUT}.pem"
        """A certificate for the site that has none, for you to drop."""
        self.layout = Layout(folder / "store")

    def drop(self, site: str, content: bytes) -> None:
        """Put one file with key, certificate and chain into the site's folder, in one step."""
        folder = self.layout.drop_folder(site)
        folder.mkdir(parents=True, exist_ok=True)
        self.put(folder / DROP_NAME, content)

    def put(self, path: Path, content: bytes) -> None:
        unfinished = self.folder / "unfinished"
        unfinished.write_bytes(content)
        unfinished.replace(path)


def claim_folder(folder: Path) -> None:
    """Create the folder, or empty it if an earlier demo created it. Raises NotOurFolder if it is in other use."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise NotOurFolder(f"{folder} is not empty and no demo created it; choose another folder with --dir")
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    (folder / MARK).write_text("`certedge demo` created this folder and may empty it.\n")


def bind_listeners() -> dict[str, socket.socket]:
    """A listening socket for each kind, on a free port. The edge inherits them."""
    return {kind: socket.create_server(("127.0.0.1", 0), backlog=1024) for kind in KINDS}


def arrange(folder: Path, ports: Mapping[str, int], *, web: int, imap: int, smtp: int, now: datetime) -> Arrangement:
    """Write CA, edge.yaml, sites and drops. `web`, `imap` and `smtp` are the ports of the servers behind the edge."""
    authority = Authority.create(now)
    pairs = {
        "main": authority.issue(MAIN_HOST, now=now),
        OWN: authority.issue(OWN, OWN_ADDITIONAL, now=now),
        REPLACED: authority.issue(REPLACED, now=now),
    }
    arrangement = Arrangement(folder, authority, pairs, ports)
    arrangement.root_pem.write_bytes(authority.root_pem)
    arrangement.edge_yaml.write_text(_edge_yaml(ports, web=web, imap=imap, smtp=smtp))
    sites = {"main": [MAIN_HOST], OWN: [OWN, OWN_ADDITIONAL], WITHOUT: [WITHOUT], REPLACED: [REPLACED]}
    for site, (host, *additional_names) in sites.items():
        site_yaml = arrangement.layout.site_yaml(site)
        site_yaml.parent.mkdir(parents=True)
        facts = {"host": host} | ({"additional_names": additional_names} if additional_names else {})
        site_yaml.write_text(yaml.safe_dump(facts, sort_keys=False))
    for site, pair in pairs.items():
        arrangement.drop(site, pair.combined_pem)
    arrangement.spare.write_bytes(authority.issue(WITHOUT, now=now).combined_pem)
    arrangement.spare.chmod(0o600)
    return arrangement


def _edge_yaml(ports: Mapping[str, int], *, web: int, imap: int, smtp: int) -> str:
    behind = {"imap": imap, "imaps": imap, "submission": smtp}
    listeners = [
        {"kind": kind, "listen": f"127.0.0.1:{port}"}
        | ({"upstream": f"127.0.0.1:{behind[kind]}"} if kind in behind else {})
        for kind, port in ports.items()
    ]
    settings = {
        "store": "store",
        "upstream": f"http://127.0.0.1:{web}",
        "workers": 2,
        "listeners": listeners,
        "admin": {"listen": "127.0.0.1:0"},
        "limits": {"drain_seconds": 2},  # Ctrl-C must not wait for the open connections of a browser
        "access_log": {"path": "access.log"},
    }
    return yaml.safe_dump(settings, sort_keys=False)
