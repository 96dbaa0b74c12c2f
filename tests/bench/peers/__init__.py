"""The servers that are measured side by side, each in its own module."""

from __future__ import annotations

from pathlib import Path

from tests.bench.peers.base import NotServing, Peer, Server, Setting
from tests.bench.peers.caddy import Caddy
from tests.bench.peers.certedge import Certedge
from tests.bench.peers.envoy import Envoy
from tests.bench.peers.haproxy import HAProxy
from tests.bench.peers.mitmdump import Mitmdump
from tests.bench.peers.nginx import Nginx, NginxByVariable

__all__ = ["NotServing", "Peer", "Server", "Setting", "all_peers"]


def all_peers(root: Path) -> list[Peer]:
    """In the order of the table. `root` is where the edge keeps its store."""
    return [Certedge(root / "store"), Nginx(), NginxByVariable(), HAProxy(), Caddy(), Envoy(), Mitmdump()]
