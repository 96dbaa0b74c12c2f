"""A front is stolen: every certificate that comes from a CA gets a new key, and the thief learns none of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.cluster.keys import read_keys
from certstore.cluster.sealing import KeyRingSealer
from certstore.control.commands.on_revocation import exposed_keys
from certstore.control.commands.requests import RemoveCompromisedRequest
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.wire import Refused
from certstore.model.layout import PRIVKEY
from certstore.store.reader import Store
from tests.certstore.cluster.fronts import FRONT, FULL, a_front
from tests.certstore.control.test_exposed_keys import leaf
from tests.certstore.renewal.scene import scene
from tests.deadlines import wait_for
from tests.peers.etcd import Etcd

pytestmark = pytest.mark.peer
SITES = ("a.test", "b.test", "c.test")


@pytest.fixture
def own_etcd() -> Iterator[Etcd]:
    with Etcd(1) as running:
        yield running


def live_keys(store: Store) -> dict[str, bytes]:
    """Of the sites that have a certificate from the CA."""
    found = {site: store.layout.live(site) / PRIVKEY for site in SITES}
    return {site: path.read_bytes() for site, path in found.items() if path.exists()}


def test_all_ordered_sites_get_keys_that_the_thief_does_not_learn(tmp_path: Path, own_etcd: Etcd) -> None:
    with scene(tmp_path / "ca") as stage, a_front(tmp_path, own_etcd, stage.writer) as cluster:
        paths = ClusterPaths(cluster.ring(FULL).cluster)
        listeners = [{"kind": "http", "listen": f"127.0.0.1:{stage.responder.port}"}]
        for site in SITES:
            stage.add(site, reuse_key=site == "b.test")
        with cluster.running(FULL, listeners=listeners) as clustering:
            stage.duty = clustering.duty
            assert stage.duty is not None
            with stage.running() as upkeep, cluster.running(FRONT):
                wait_for(lambda: len(live_keys(cluster.front)) == len(SITES), "the front serves all", seconds=90)
            stolen = live_keys(cluster.front)
            shutil.copytree(cluster.front.layout.root, tmp_path / "rogue", symlinks=True)
            with stage.running() as upkeep:
                exposed = exposed_keys(upkeep, stage.duty)
                exposed.start()
                request = RemoveCompromisedRequest(cluster.sections[FULL], str(cluster.folder), FRONT)
                cluster.perform(FULL, request)
                wait_for(
                    lambda: not set(live_keys(stage.writer).values()) & set(stolen.values()), "new keys", seconds=90
                )
                for site in SITES:
                    serial = leaf(stage, site, 1).serial_number
                    wait_for(lambda serial=serial: stage.pebble.revocation(serial) == 1, "the old one is revoked")  # type: ignore[misc]
                exposed.stop()
        rogue = KeyRingSealer(read_keys(tmp_path / "rogue/cluster/keys.json"))
        items = {item.key: item for item in cluster.engine(FRONT).read(f"{paths.prefix}d/").items}
        for site in SITES:
            for key in (paths.head(site), paths.prev(site), paths.site(site)):
                with pytest.raises(Refused):
                    rogue.open(key, items[key].value)
            KeyRingSealer(cluster.ring(FULL)).open(paths.head(site), items[paths.head(site)].value)
