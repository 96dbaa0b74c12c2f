"""A node's own side of a new key; whole changes are in test_rotation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.cluster.engine import Item, ModifiedAt
from certstore.cluster.key_copies import seal_copy
from certstore.cluster.key_updates import KeyUpdates
from certstore.cluster.keys import ClusterKey, KeyRing, read_keys, write_keys
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Member, Meta, Role
from certstore.model.cluster.wire import RecordClass

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Scene:
    """One node, and what its engine shows it."""

    def __init__(self, folder: Path) -> None:
        self.file, self.ring = folder / "keys.json", KeyRing.draw("edge-a")
        self.paths, self.old, self.new = ClusterPaths(self.ring.cluster), self.ring.sealing_key, ClusterKey.draw()
        write_keys(self.file, self.ring)
        self.sealer = KeyRingSealer(self.ring)
        self.updates = KeyUpdates(self.sealer, self.file)

    def copy(self, key: ClusterKey | None = None, signer: ClusterKey | None = None) -> Item:
        key, own = key or self.new, self.ring.own
        member = Member("edge-a", Role.EDGE, own.exchange_public, own.sign_public, "edge-a", NOW)
        value = seal_copy(self.ring.cluster, member, key, signer or self.old)
        return Item(self.paths.of(Shelf.KEY, key.key_id, "edge-a"), value, 1, 1)

    def meta(self, *key_ids: str, under: ClusterKey | None = None, retired: tuple[str, ...] = ()) -> Item:
        key = under or self.old
        ring = replace(self.ring, current=key.key_id, keys={key.key_id: key})
        value = KeyRingSealer(ring).seal(
            self.paths.meta, 1, RecordClass.SITES, Meta(self.ring.cluster, NOW, key_ids, retired).encode()
        )
        return Item(self.paths.meta, value, 1, 1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_write_counts_only_where_the_engine_shows_the_same_state_of_the_key(scene: Scene) -> None:
    assert scene.updates.fence() == ()
    scene.updates.read([scene.meta(scene.old.key_id)])
    assert scene.updates.fence() == (ModifiedAt(scene.paths.meta, 1),)
    scene.updates.take([replace(scene.meta(scene.old.key_id), modified=7)])
    assert scene.updates.fence() == (ModifiedAt(scene.paths.meta, 7),)


def test_the_steps_of_a_change(scene: Scene) -> None:
    old, new = scene.old.key_id, scene.new.key_id
    assert scene.updates.take([scene.copy(), scene.meta(old, new)])
    assert list(scene.updates.key_ids) == [old, new]
    assert [code for code, _ in scene.updates.problems()] == ["key_rotation"]
    assert scene.updates.take([scene.meta(new, old, under=scene.new)])
    assert list(scene.updates.key_ids) == [new, old]
    assert scene.updates.take([scene.meta(new, under=scene.new, retired=(old,))])
    assert list(scene.updates.key_ids) == [new]
    assert scene.updates.problems() == []
    assert read_keys(scene.file) == scene.sealer.ring
    assert scene.sealer.ring.retired == (old,)


def test_a_copy_alone_brings_nothing(scene: Scene) -> None:
    assert not scene.updates.take([scene.copy()])
    assert not scene.updates.take([scene.meta(scene.old.key_id)])
    assert scene.updates.key_ids == (scene.old.key_id,)
    assert scene.updates.take([scene.meta(scene.old.key_id, scene.new.key_id)]), "once the record names it, it counts"


@pytest.mark.parametrize("is_retired", [False, True])
def test_an_old_record_of_the_cluster_brings_no_old_key_back(scene: Scene, is_retired: bool) -> None:
    old, new = scene.old.key_id, scene.new.key_id
    scene.updates.take([scene.copy(), scene.meta(new, old, under=scene.new)])
    if is_retired:
        scene.updates.take([scene.meta(new, under=scene.new, retired=(old,))])
    before = scene.updates.key_ids
    for item in (scene.meta(old), scene.meta(old, new)):
        scene.updates.take([item])
        assert scene.updates.key_ids == before


def test_a_file_that_can_not_be_written_is_said_and_does_no_harm(scene: Scene) -> None:
    """A credential that systemd passes to the service, for one."""
    scene.file.unlink()
    old, new = scene.old.key_id, scene.new.key_id
    scene.updates.take([scene.copy(), scene.meta(new, under=scene.new, retired=(old,))])
    assert scene.updates.key_ids == (new,)
    assert "can't be kept" in scene.updates.problems()[0][1]
    again = KeyUpdates(KeyRingSealer(scene.ring), scene.file)
    again.read([scene.copy(), scene.meta(new, under=scene.new, retired=(old,))])
    assert again.key_ids == (new,), "the next start finds it again"


def test_what_concerns_others_changes_nothing(scene: Scene) -> None:
    path = scene.paths.of(Shelf.KEY, scene.new.key_id, "edge-b")
    assert not scene.updates.take([Item(path, b"x", 1, 1), Item(scene.paths.live("edge-b"), b"x", 1, 1)])
    assert not scene.updates.take([Item(scene.paths.meta, b"damaged", 1, 1)])
