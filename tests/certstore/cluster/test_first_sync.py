"""The comparison of everything: little that is missing is put back, much of it is a person's business."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.cluster.engine import ModifiedAt, Put
from certstore.cluster.first_sync import ForeignEngine
from certstore.cluster.keys import KeyRing
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Meta
from certstore.model.cluster.wire import RecordClass
from certstore.model.snapshot import MAIN
from tests.certificates import CertificateAuthority
from tests.certstore.cluster.replicas import Nodes
from tests.certstore.stores import MAIN_HOST

SITES = tuple(f"s{number}.test" for number in range(12))


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with Nodes(tmp_path, "edge-a", "edge-b").closing() as nodes:
        for site in SITES:
            nodes["edge-a"].add(site)
        nodes.settle()
        yield nodes


def test_a_second_comparison_reads_nothing(nodes: Nodes) -> None:
    assert nodes["edge-b"].attach().read <= 1, "only the number of declarations"


def test_progress_is_told(nodes: Nodes) -> None:
    told: list[tuple[int, int]] = []
    joiner = nodes.join("edge-c")
    joiner.replica.sync(lambda done, total: told.append((done, total)))
    assert told
    assert told[-1][0] == told[-1][1] >= len(SITES)


def test_main_is_live_before_everything_else(
    nodes: Nodes, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every listener needs it, and ten thousand sites take a while."""
    monkeypatch.setattr("certstore.cluster.first_sync.AT_ONCE", 4)
    nodes["edge-a"].install(MAIN, ca.issue(MAIN_HOST))
    nodes.settle()
    joiner, seen = nodes.join("edge-c"), list[bool]()
    joiner.replica.sync(lambda *_: seen.append(joiner.served()[MAIN] == nodes["edge-a"].served()[MAIN]))
    assert len(seen) > 2
    assert all(seen)


def test_a_key_that_is_missing_is_put_back(nodes: Nodes) -> None:
    del nodes.store.items[nodes.paths.site(SITES[3])]
    assert nodes["edge-b"].attach().missing == ()
    nodes["edge-b"].step()
    assert nodes.paths.site(SITES[3]) in nodes.store.items
    assert SITES[3] in nodes["edge-a"].writer.sites()


def test_if_much_is_missing_nothing_is_put_back_until_a_person_says_so(nodes: Nodes) -> None:
    for site in SITES[:6]:
        del nodes.store.items[nodes.paths.site(site)]
    missing = nodes["edge-b"].attach().missing
    assert set(missing) == {f"d/site/{site}" for site in SITES[:6]}
    nodes["edge-b"].step()
    assert nodes.paths.site(SITES[0]) not in nodes.store.items
    assert set(SITES) <= set(nodes["edge-b"].writer.sites()), "nothing is removed for it"
    nodes["edge-b"].attach(is_rebuild=True)
    nodes["edge-b"].step()
    assert all(nodes.paths.site(site) in nodes.store.items for site in SITES)


def test_a_change_of_a_site_that_the_engine_lost_is_published(nodes: Nodes) -> None:
    for site in SITES[:6]:
        del nodes.store.items[nodes.paths.site(site)]
    nodes["edge-b"].writer.set_site(SITES[0], {"inspect": True})
    nodes.settle()
    assert nodes["edge-a"].writer.site(SITES[0]).inspect


def test_the_engine_of_another_cluster_is_left_alone(nodes: Nodes, tmp_path: Path) -> None:
    stranger = KeyRing.draw("edge-a")
    key = nodes.paths.meta
    foreign = KeyRingSealer(stranger).seal(
        ClusterPaths(stranger.cluster).meta,
        1,
        RecordClass.SITES,
        Meta(stranger.cluster, nodes["edge-a"].writer.now(), ()).encode(),
    )
    item = nodes.store.items[key]
    nodes["edge-a"].engine.commit([ModifiedAt(key, item.modified)], [Put(key, foreign)])
    before = dict(nodes.store.items)
    nodes["edge-a"].writer.set_site(SITES[0], {"inspect": True})
    with pytest.raises(ForeignEngine):
        nodes["edge-a"].attach()
    nodes["edge-a"].step()
    assert nodes.store.items == before


def test_an_emptied_engine_is_left_alone(nodes: Nodes) -> None:
    nodes.store.empty()
    with pytest.raises(ForeignEngine, match="emptied"):
        nodes["edge-a"].attach()
    assert set(SITES) <= set(nodes["edge-a"].writer.sites())
