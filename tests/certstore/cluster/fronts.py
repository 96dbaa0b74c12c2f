"""A full node and a front over a real etcd whose access control is on, set up as deploy/cluster says.

with a_front(tmp_path, etcd) as scene:
    scene.full, scene.front    # the two writers
    scene.running("edge-f")    # its part in the cluster, while the `with` lasts
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certstore.cluster.access import open_engine
from certstore.cluster.clustering import Clustering
from certstore.cluster.etcd import EtcdMember
from certstore.cluster.front_access import FULL_USER, setup_script
from certstore.cluster.keys import KeyRing, read_keys
from certstore.cluster.opening import open_clustering
from certstore.control.commands.requests import (
    CommandRequest,
    InitClusterRequest,
    InviteNodeRequest,
    JoinClusterRequest,
)
from certstore.control.commands.results import CommandResult
from certstore.control.commands.table import perform
from certstore.model.settings.cluster import ClusterSettings
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreWriter
from tests.certstore.stores import acquire
from tests.peers.etcd import Etcd

FULL, FRONT = "edge-a", "edge-f"


@dataclass
class Scene:
    folder: Path
    etcd: Etcd
    writers: dict[str, StoreWriter]
    sections: dict[str, dict[str, Any]]

    @property
    def full(self) -> StoreWriter:
        return self.writers[FULL]

    @property
    def front(self) -> StoreWriter:
        return self.writers[FRONT]

    def ring(self, node: str) -> KeyRing:
        return read_keys(self.writers[node].layout.cluster_keys)

    def engine(self, node: str) -> EtcdMember:
        """Reached with the credential of this node."""
        return open_engine(ClusterSettings.model_validate(self.sections[node]), self.folder)

    def perform[R: CommandResult](self, node: str, request: CommandRequest[R]) -> R:
        return perform(self.writers[node], request)

    def invite(self, **options: Any) -> str:
        request = InviteNodeRequest(self.sections[FULL], str(self.folder), FRONT, is_front=True, **options)
        return self.perform(FULL, request).text

    def own_credential(self) -> dict[str, str]:
        return {
            "username": FRONT,
            "password": (self.folder / FRONT).read_text().strip(),
            "client": self.etcd.client_cert.read_text(),
        }

    @contextmanager
    def running(self, node: str, **more: Any) -> Iterator[Clustering]:
        """`more` are further keys of its edge.yaml."""
        settings = Settings.model_validate({"cluster": self.sections[node], **more})
        clustering = open_clustering(self.writers[node], settings, self.folder)
        clustering.start()
        try:
            yield clustering
        finally:
            clustering.stop()


@contextmanager
def a_full_node(folder: Path, etcd: Etcd, full_writer: StoreWriter | None = None) -> Iterator[Scene]:
    """The first node of a cluster; the engine has a user for the front, and its access control is on. `full_writer` is
    one that somebody else closes.
    """
    section: dict[str, Any] = {
        "engine": list(etcd.endpoints), "ca_file": str(etcd.ca_file), "client_cert": str(etcd.client_cert)
    }  # fmt: skip
    passwords = {user: folder / user for user in ("root", FULL_USER, FRONT)}
    for path in passwords.values():
        path.write_text(f"{secrets.token_hex(12)}\n")
    full = section | {"username": FULL_USER, "password_file": str(passwords[FULL_USER])}
    front = section | {"username": FRONT, "password_file": str(passwords[FRONT])}
    with ExitStack() as stack:
        writers = {FULL: full_writer} if full_writer is not None else {}
        for node in {FULL, FRONT} - set(writers):
            writers[node] = acquire(folder / f"store-{node}")
            stack.callback(writers[node].close)
        scene = Scene(folder, etcd, writers, {FULL: full, FRONT: front})
        # The node has its password before access control is switched on.
        scene.perform(FULL, InitClusterRequest(full, str(folder), FULL))
        run_setup(scene, setup_script(scene.ring(FULL).cluster, FRONT))
        etcd.control("auth", "enable")
        yield scene


def run_setup(scene: Scene, script: str) -> None:
    etcd = scene.etcd
    (scene.folder / "setup").write_text(script)
    environment = {
        "ETCDCTL_ENDPOINTS": ",".join(etcd.endpoints),
        "ETCDCTL_CACERT": str(etcd.ca_file),
        "ETCDCTL_CERT": str(etcd.client_cert),
        "ETCDCTL_KEY": str(etcd.client_cert),
        "PATH": os.environ["PATH"],
    }
    ran = subprocess.run(
        ["sh", str(scene.folder / "setup")], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert "rror" not in ran.stderr, ran.stderr


@contextmanager
def a_front(folder: Path, etcd: Etcd, full_writer: StoreWriter | None = None) -> Iterator[Scene]:
    with a_full_node(folder, etcd, full_writer) as scene:
        text = scene.invite(**scene.own_credential())
        scene.perform(FRONT, JoinClusterRequest(scene.sections[FRONT], str(folder), text))
        yield scene
