"""The commands that change the cluster's key, each on its own store, over an engine in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certstore.cluster import access, rotation
from certstore.cluster.keys import read_keys
from certstore.cluster.sealing import KeyRingSealer
from certstore.control.commands.requests import (
    InitClusterRequest,
    JoinClusterRequest,
    RemoveCompromisedRequest,
    RotateKeyRequest,
)
from certstore.control.commands.results import MembershipResult
from certstore.control.commands.table import perform
from certstore.control.protocol import Fault, RequestFailed
from certstore.files.clock import utc_now
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Meta
from tests.certstore.cluster.memory_engine import MemoryEngine
from tests.certstore.control.commands.test_on_cluster import SECTION, Nodes, fails


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """edge-a and edge-b; no service runs."""
    nodes = Nodes(tmp_path)
    monkeypatch.setattr(access, "open_engine", lambda settings, base: MemoryEngine(nodes.store))
    monkeypatch.setattr(access, "ask_member", lambda settings, base, endpoint: "is not asked here")
    nodes.perform("edge-a", InitClusterRequest(SECTION, str(tmp_path), "edge-a"))
    text = nodes.invite("edge-b").text
    nodes.perform("edge-b", JoinClusterRequest(SECTION, str(tmp_path), text))
    yield nodes
    for writer in nodes.writers.values():
        writer.close()


def rotate(cluster: Nodes, node: str = "edge-a") -> MembershipResult:
    return perform(cluster.writer(node), RotateKeyRequest(SECTION, str(cluster.folder)))


def remove(cluster: Nodes, node: str, *, by: str = "edge-a") -> MembershipResult:
    return perform(cluster.writer(by), RemoveCompromisedRequest(SECTION, str(cluster.folder), node))


def meta(cluster: Nodes, node: str = "edge-a") -> Meta:
    ring = read_keys(cluster.keys(node))
    path = ClusterPaths(ring.cluster).meta
    return Meta.decode(KeyRingSealer(ring).open(path, cluster.engine.get([path]).items[0].value).plaintext)


def test_a_new_key_is_in_force_and_the_backup_is_named(cluster: Nodes) -> None:
    before = read_keys(cluster.keys("edge-a"))
    result = rotate(cluster)
    after = read_keys(cluster.keys("edge-a"))
    assert (after.retired, meta(cluster).key_ids) == ((before.current,), (after.current,))
    assert after.current in result.message
    assert "records sealed anew" in result.message
    assert str(cluster.keys("edge-a")) in result.notes[0]
    assert meta(cluster).exposed_before is None, "nobody has the keys of certificates"


def test_of_a_stolen_node_all_keys_are_exposed(cluster: Nodes) -> None:
    begun = utc_now()
    result = remove(cluster, "edge-b")
    found = meta(cluster)
    assert found.exposed_before is not None
    assert begun <= found.exposed_before <= utc_now()
    assert found.stolen == ()
    assert cluster.names() == ["edge-a"]
    assert any("account rollover" in note for note in result.notes), "it was a full node"
    assert meta(cluster).key_ids[0] not in read_keys(cluster.keys("edge-b")).keys
    rotate(cluster)
    assert meta(cluster).exposed_before == found.exposed_before, "a later change of the key forgets nothing"


@pytest.mark.parametrize("goes_on_with", ["the same command", "rotate-key"])
def test_cut_short_the_theft_is_not_forgotten(
    cluster: Nodes, monkeypatch: pytest.MonkeyPatch, goes_on_with: str
) -> None:
    def end(*_: Any) -> None:
        raise RequestFailed(Fault.UNREACHABLE, "killed")

    with monkeypatch.context() as patched:
        patched.setattr(rotation.Rotation, "_reseal", end)
        with fails(Fault.UNREACHABLE, "killed"):
            remove(cluster, "edge-b")
    assert (meta(cluster).stolen, meta(cluster).exposed_before) == (("edge-b",), None)
    if goes_on_with == "rotate-key":
        rotate(cluster)
    else:
        remove(cluster, "edge-b")
    assert meta(cluster).exposed_before is not None
    assert len(meta(cluster).key_ids) == 1


def test_a_key_that_the_stolen_node_was_given_is_changed_once_more(
    cluster: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the key was under way when the node was stolen."""

    def end(*_: Any) -> None:
        raise RequestFailed(Fault.UNREACHABLE, "killed")

    with monkeypatch.context() as patched:
        patched.setattr(rotation.Rotation, "_reseal", end)
        with fails(Fault.UNREACHABLE, "killed"):
            rotate(cluster)
    known_to_thief = set(meta(cluster).key_ids)
    remove(cluster, "edge-b")
    assert not known_to_thief & set(meta(cluster).key_ids)


def test_a_node_does_not_remove_itself_so(cluster: Nodes) -> None:
    with fails(Fault.INVALID, "do it on another full node"):
        remove(cluster, "edge-a")
    with fails(Fault.REFUSED, "there is no member edge-x"):
        remove(cluster, "edge-x")
    assert len(meta(cluster).key_ids) == 1
    assert meta(cluster).exposed_before is None


def test_a_node_that_has_left_can_still_turn_out_to_be_stolen(cluster: Nodes) -> None:
    cluster.leave("edge-b")
    remove(cluster, "edge-b")
    assert meta(cluster).exposed_before is not None
    assert cluster.names() == ["edge-a"]
