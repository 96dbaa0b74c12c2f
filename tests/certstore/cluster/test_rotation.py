"""A new cluster key: all records under it, the old one useless, whatever is killed, away or in the way meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.cluster.engine import Compare, Item, ModifiedAt, Op, Outcome, Put
from certstore.cluster.key_updates import KeyUpdates
from certstore.cluster.keys import KeyRing, NodeKeys, read_keys, write_keys
from certstore.cluster.membership import Membership, MembershipRefused, Place
from certstore.cluster.rotation import Rotated, Rotation
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.paths import CLASSES, ClusterPaths, Shelf
from certstore.model.cluster.records import Live, Member, Role
from certstore.model.cluster.wire import RecordClass, Refusal, Refused, take_apart
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PARTS = {
    Shelf.META: (), Shelf.ACME: (), Shelf.COUNTER: ("ca", "x"), Shelf.ADMIN: ("users", "anna"),
    Shelf.SAID: ("edge-a", "x"), Shelf.TOKEN: ("t" * 43,),
}  # fmt: skip


class Killed(BaseException):
    pass


class Node:
    """One machine; `turn` is what its thread does all the time."""

    def __init__(self, folder: Path, store: MemoryStore, ring: KeyRing) -> None:
        self.name, self.file = ring.node, folder / f"{ring.node}.json"
        write_keys(self.file, ring)
        self.engine, self.paths = MemoryEngine(store), ClusterPaths(ring.cluster)
        self.start()

    def start(self) -> None:
        self.sealer = KeyRingSealer(read_keys(self.file))
        self.updates = KeyUpdates(self.sealer, self.file)

    def turn(self) -> None:
        items = self.engine.read(f"{self.paths.prefix}n/").items
        self.updates.read([*items, *self.engine.get([self.paths.meta]).items])
        live = Live("i", 1, "h", 1, "1.0", NOW, key_ids=self.updates.key_ids)
        path = self.paths.live(self.name)
        self.put(path, self.sealer.seal_live(path, 1, live.encode()))

    def put(self, path: str, value: bytes, lease: int = 0) -> None:
        there = self.engine.get([path]).by_key().get(path)
        self.engine.commit([ModifiedAt(path, there.modified if there else 0)], [Put(path, value, lease)])

    @property
    def ring(self) -> KeyRing:
        return read_keys(self.file)


class Cluster:
    """Two edges and a front, one record of every kind."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, MemoryStore()
        ring = KeyRing.draw("edge-a")
        self.first_ring, self.paths = ring, ClusterPaths(ring.cluster)
        self.engine = MemoryEngine(self.store)
        Membership(self.engine, ring).found(Place(), NOW)
        self.nodes = {"edge-a": Node(folder, self.store, ring)}
        self.join("edge-b", Role.EDGE)
        self.join("edge-f", Role.FRONT)
        for number, (shelf, record_class) in enumerate(CLASSES.items(), 1):
            if shelf not in (Shelf.META, Shelf.MEMBER, Shelf.LIVE):
                path = self.paths.of(shelf, *PARTS.get(shelf, ("x",)))
                self.first.put(path, self.first.sealer.seal(path, number, record_class, f"{shelf} x".encode()))

    @property
    def first(self) -> Node:
        return self.nodes["edge-a"]

    def join(self, name: str, role: Role) -> Node:
        own = NodeKeys.draw()
        member = Member(name, role, own.exchange_public, own.sign_public, "edge-a", NOW)
        path = self.paths.member(name)
        self.first.put(path, self.first.sealer.seal(path, 1, RecordClass.SITES, member.encode()))
        self.nodes[name] = Node(self.folder, self.store, self.first.ring.for_member(name, role, own))
        return self.nodes[name]

    def turn(self, *but: str) -> None:
        for node in self.nodes.values():
            if node.name not in but:
                node.turn()

    def rotate(
        self,
        by: str = "edge-a",
        *,
        but: Sequence[str] = (),
        engine: MemoryEngine | None = None,
        stolen: str | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Rotated:
        node = self.nodes[by]

        def pause(_: float) -> None:
            self.turn(*but)
            meanwhile()

        rotation = Rotation(
            engine or node.engine, node.file, node.ring, {}, lambda _: None,
            pause=pause, patience=1,
        )  # fmt: skip
        return rotation.run(stolen)

    def sealed(self) -> dict[str, Item]:
        """All records under cluster keys, by path."""
        items = {item.key: item for item in self.engine.read(self.paths.prefix).items}
        return {key: item for key, item in items.items() if item.value.startswith(b"CE1")}

    def contents(self, node: str) -> dict[str, tuple[int, bytes]]:
        """What this node reads, with generations."""
        found = {}
        for key, item in self.sealed().items():
            where = self.paths.parse(key)
            if where is not None and where.shelf not in (Shelf.META, Shelf.LIVE):
                opened = KeyRingSealer(self.nodes[node].ring).open(key, item.value)
                found[key] = opened.generation, opened.plaintext
        return found


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path)
    cluster.turn()
    return cluster


def assert_rotated(cluster: Cluster, key_id: str) -> None:
    """Every record is under the new key, every node has it alone, and the old one opens nothing."""
    old = cluster.first_ring.current
    assert {take_apart(item.value).header.key_id.hex() for item in cluster.sealed().values()} == {key_id}
    for node in cluster.nodes.values():
        assert (node.ring.current, tuple(node.ring.keys)) == (key_id, (key_id,))
        assert old in node.ring.retired
    for key, item in cluster.sealed().items():
        with pytest.raises(Refused) as refused:
            KeyRingSealer(cluster.first_ring).open(key, item.value)
        assert refused.value.why in (Refusal.UNKNOWN_KEY, Refusal.WRONG_CLASS)


def test_every_record_is_sealed_anew_and_says_the_same(cluster: Cluster) -> None:
    before = cluster.contents("edge-a")
    rotated = cluster.rotate()
    cluster.turn()
    assert rotated.resealed == len(before)
    assert rotated.unread == ()
    assert cluster.contents("edge-b") == before, "generations too: no node takes one for a change"
    assert_rotated(cluster, rotated.key_id)


def test_a_front_gets_no_part_that_fronts_lack(cluster: Cluster) -> None:
    cluster.rotate()
    cluster.turn()
    (key,) = cluster.nodes["edge-f"].ring.keys.values()
    assert (key.sign, key.seal_control) == (None, None)
    (full,) = cluster.nodes["edge-b"].ring.keys.values()
    assert full.seal_sites == key.seal_sites


def test_who_was_taken_out_gets_no_copy(cluster: Cluster) -> None:
    """It still runs, and says so with a credential that nobody has taken away yet."""
    Membership(cluster.engine, cluster.first.ring).leave("edge-f", NOW)
    gone = cluster.nodes.pop("edge-f")
    before = cluster.contents("edge-a")
    assert before, "it could read those"
    rotated = cluster.rotate()
    gone.turn()
    assert rotated.key_id not in gone.ring.keys
    for key, item in cluster.sealed().items():
        if take_apart(item.value).header.record_class is not RecordClass.NODE:
            with pytest.raises(Refused):
                KeyRingSealer(gone.ring).open(key, item.value)


def test_a_node_that_was_away_for_two_changes_finds_its_way(cluster: Cluster) -> None:
    path = cluster.paths.live("edge-b")
    cluster.engine.commit([ModifiedAt(path, cluster.engine.get([path]).items[0].modified)], [Put(path, b"")])
    cluster.rotate(but=["edge-b"])
    cluster.turn("edge-b")
    rotated = cluster.rotate(but=["edge-b"])
    cluster.turn("edge-b")
    assert tuple(cluster.nodes["edge-b"].ring.keys) == (cluster.first_ring.current,)
    cluster.nodes["edge-b"].start()
    cluster.turn()
    assert_rotated(cluster, rotated.key_id)


class EndingEngine(MemoryEngine):
    """The process ends after so many commits, the last one done or not."""

    def __init__(self, store: MemoryStore, commits: int, *, is_done: bool) -> None:
        super().__init__(store)
        self.left, self.is_done = commits, is_done

    def commit(self, compares: Sequence[Compare], ops: Sequence[Op]) -> Outcome:
        self.left -= 1
        if self.left < 0:
            if self.is_done:
                super().commit(compares, ops)
            raise Killed
        return super().commit(compares, ops)


@pytest.mark.parametrize("by", ["edge-a", "edge-b"])
@pytest.mark.parametrize("is_done", [False, True], ids=["before a commit", "after it"])
def test_after_a_kill_at_any_point_it_goes_on(tmp_path: Path, by: str, is_done: bool) -> None:
    """On the same node, or on another one."""
    commits = 0
    while True:
        folder = tmp_path / str(commits)
        folder.mkdir()
        cluster = Cluster(folder)
        cluster.turn()
        before = cluster.contents("edge-a")
        try:
            rotated = cluster.rotate(engine=EndingEngine(cluster.store, commits, is_done=is_done))
        except Killed:
            cluster.first.start()
            cluster.turn()
            assert cluster.contents("edge-b") == before, "what is half done is readable"
            rotated = cluster.rotate(by)
            cluster.turn()
            assert cluster.contents("edge-b") == before
            assert_rotated(cluster, rotated.key_id)
            commits += 1
        else:
            break
    assert commits >= 4


def test_an_answer_that_is_lost_is_looked_at(cluster: Cluster) -> None:
    engine = MemoryEngine(cluster.store)
    engine.faults.lose_replies = 3
    rotated = cluster.rotate(engine=engine)
    cluster.turn()
    assert_rotated(cluster, rotated.key_id)


def test_a_change_in_between_is_not_lost(cluster: Cluster) -> None:
    """Between reading a record and sealing it anew, somebody writes it, with the old key still."""
    path, writer = cluster.paths.site("x"), KeyRingSealer(cluster.first_ring)

    class Overtaken(MemoryEngine):
        is_over = False

        def commit(self, compares: Sequence[Compare], ops: Sequence[Op]) -> Outcome:
            if not self.is_over and any(op.key == path for op in ops):
                self.is_over = True
                cluster.first.put(path, writer.seal(path, 99, RecordClass.SITES, b"newer"))
            return super().commit(compares, ops)

    rotated = cluster.rotate(engine=Overtaken(cluster.store))
    cluster.turn()
    assert cluster.contents("edge-b")[path] == (99, b"newer")
    assert_rotated(cluster, rotated.key_id)


def test_a_node_that_runs_and_does_not_take_the_key_stops_it(cluster: Cluster) -> None:
    """An older release, perhaps: it would refuse all that others write."""
    before = cluster.contents("edge-b")
    with pytest.raises(MembershipRefused, match=r"edge-b has not taken the new key.*it goes on from here"):
        cluster.rotate(but=["edge-b"])
    assert cluster.contents("edge-b") == before
    problems = [code for code, _ in cluster.first.updates.problems()]
    assert problems == ["key_rotation"], "that it is unfinished stands on every node"
    rotated = cluster.rotate("edge-b")
    cluster.turn()
    assert cluster.first.updates.problems() == []
    assert_rotated(cluster, rotated.key_id)


def test_a_node_that_joins_meanwhile_gets_the_key_too(cluster: Cluster) -> None:
    with pytest.raises(MembershipRefused):
        cluster.rotate(but=["edge-b"])
    cluster.join("edge-c", Role.EDGE)
    rotated = cluster.rotate()
    cluster.turn()
    assert_rotated(cluster, rotated.key_id)
    assert "edge-c" in cluster.nodes


@pytest.mark.parametrize("generation", [1, 50], ids=["its old record", "a forged one"])
@pytest.mark.parametrize("name", ["edge-b", "edge-f"])
def test_a_stolen_node_that_shows_its_record_again_gets_no_key(cluster: Cluster, name: str, generation: int) -> None:
    """Whoever has its files reaches the engine until somebody takes its credential away."""
    path = cluster.paths.member(name)
    plaintext = cluster.first.sealer.open(path, cluster.engine.get([path]).items[0].value).plaintext
    shown = KeyRingSealer(cluster.first_ring).seal(path, generation, RecordClass.SITES, plaintext)
    Membership(cluster.engine, cluster.first.ring).leave(name, NOW)
    thief = cluster.nodes.pop(name)
    thief.put(path, shown)
    rotated = cluster.rotate(stolen=name, meanwhile=lambda: thief.put(path, shown))
    cluster.turn()
    assert not [item.key for item in cluster.engine.read(cluster.paths.shelf(Shelf.KEY)).items if name in item.key]
    thief.turn()
    assert thief.ring.keys.keys() == {cluster.first_ring.current}
    view = Membership(cluster.engine, cluster.first.ring).view()
    assert name not in view.nodes
    assert cluster.first.ring.keys.keys() == {rotated.key_id}


def test_a_front_can_not_do_it(cluster: Cluster) -> None:
    with pytest.raises(MembershipRefused, match="edge-f is a front"):
        cluster.rotate("edge-f")


def test_open_invitations_are_used_up(cluster: Cluster) -> None:
    path = cluster.paths.invite("0" * 16)
    cluster.first.put(path, b"sealed for a joiner, with the old key", cluster.engine.grant(timedelta(hours=1)))
    cluster.rotate()
    assert not cluster.engine.get([path]).items


def test_tokens_keep_their_lease(cluster: Cluster) -> None:
    path, lease = cluster.paths.of(Shelf.TOKEN, "u" * 43), cluster.engine.grant(timedelta(hours=1))
    cluster.first.put(path, cluster.first.sealer.seal(path, 1, RecordClass.SITES, b"x"), lease)
    cluster.rotate()
    assert cluster.engine.get([path]).items[0].lease == lease


def test_what_nobody_can_read_is_named_and_left(cluster: Cluster) -> None:
    path = cluster.paths.site("damaged")
    value = cluster.first.sealer.seal(path, 1, RecordClass.SITES, b"x")
    cluster.first.put(path, value[:-1] + bytes([value[-1] ^ 1]))
    assert cluster.rotate().unread == (path,)
