"""Who is in the cluster and how they stand: from their records, as far as these can be verified."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.cluster.engine import Batch, Item
from certstore.cluster.keys import KeyRing, NodeKeys
from certstore.cluster.known_members import KnownMembers
from certstore.cluster.nodes import Nodes
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.health import NodeState
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Live, Member, NodeListener, Role
from certstore.model.cluster.wire import RecordClass
from certstore.model.layout import Layout

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RING = KeyRing.draw("edge-a")
OTHER = RING.for_member("edge-b", Role.EDGE, NodeKeys.draw())
PATHS = ClusterPaths(RING.cluster)


def member(ring: KeyRing, generation: int = 1, *, has_left: bool = False) -> Item:
    own, key = ring.own, PATHS.member(ring.node)
    record = Member(ring.node, ring.role, own.exchange_public, own.sign_public, "edge-a", NOW, has_left=has_left)
    return Item(key, KeyRingSealer(RING).seal(key, generation, RecordClass.SITES, record.encode()), 2, 2)


def live(ring: KeyRing, applied: int, *, path: str | None = None) -> Item:
    key = PATHS.live(ring.node)
    value = KeyRingSealer(ring).seal_live(key, 1, Live(f"i-{ring.node}", applied, "heads", 4, "1.0", NOW).encode())
    return Item(path or key, value, 3, 3, 7)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    layout.temporary.mkdir()
    return layout


@pytest.fixture
def known(layout: Layout) -> KnownMembers:
    return KnownMembers(layout, PATHS)


@pytest.fixture
def nodes(known: KnownMembers) -> Nodes:
    nodes = Nodes(KeyRingSealer(RING), PATHS, known)
    nodes.read([live(RING, 9), live(OTHER, 9), member(RING), member(OTHER)], {"one.test": 5})
    return nodes


def test_who_lacks_a_revision_is_known_while_all_are_read_again(nodes: Nodes) -> None:
    """An order on another thread waits until nobody lacks its token."""
    seen = []

    def items() -> Iterator[Item]:
        for item in (member(RING), member(OTHER), live(RING, 9), live(OTHER, 9)):
            seen.append(nodes.lacking(10, but="edge-a"))
            yield item
        seen.append(nodes.lacking(10, but="edge-a"))

    nodes.read(items(), {})
    assert seen == [["edge-b"]] * 5


def test_a_full_node_is_named_to_those_who_ask_a_front(nodes: Nodes) -> None:
    front = RING.for_member("a-front", Role.FRONT, NodeKeys.draw())
    nodes.read([live(OTHER, 9), live(front, 9), member(RING), member(OTHER), member(front)], {})
    assert nodes.full_node() == "edge-b", "it is the one that runs"
    nodes.caretaker = "edge-a"
    assert nodes.full_node() == "edge-a"


def states(nodes: Nodes) -> dict[str, NodeState]:
    return {each.name: each.state for each in nodes.standings(NOW)}


def test_those_that_have_everything_are_in_step(nodes: Nodes) -> None:
    assert states(nodes) == {"edge-a": NodeState.IN_STEP, "edge-b": NodeState.IN_STEP}
    assert nodes.instance("edge-b") == "i-edge-b"


def test_a_change_leaves_them_behind_until_they_have_it(nodes: Nodes) -> None:
    nodes.take(Batch(12, (Item(PATHS.site("two.test"), b"", 12, 12),)))
    assert states(nodes) == {"edge-a": NodeState.BEHIND, "edge-b": NodeState.BEHIND}
    nodes.take(Batch(13, (live(RING, 12),)))
    assert states(nodes) == {"edge-a": NodeState.IN_STEP, "edge-b": NodeState.BEHIND}


def test_one_whose_lease_ended_is_gone(nodes: Nodes) -> None:
    nodes.take(Batch(14, (), (PATHS.live("edge-b"),)))
    assert states(nodes)["edge-b"] is NodeState.GONE
    assert nodes.instance("edge-b") is None


def test_one_that_was_taken_out_does_not_count(nodes: Nodes) -> None:
    nodes.take(Batch(14, (member(OTHER, 2, has_left=True),), (PATHS.live("edge-b"),)))
    assert set(states(nodes)) == {"edge-a"}
    assert nodes.has_left("edge-b")
    assert not nodes.lost


@pytest.mark.parametrize("is_whole", [True, False], ids=["all read again", "by the feed"])
@pytest.mark.parametrize("shown", [(member(OTHER),), ()], ids=["the record from before", "nothing"])
def test_whoever_can_write_to_the_engine_brings_nobody_back(
    nodes: Nodes, shown: tuple[Item, ...], is_whole: bool
) -> None:
    nodes.take(Batch(14, (member(OTHER, 2, has_left=True),)))
    if is_whole:
        nodes.read([member(RING), live(RING, 9), *shown], {})
    else:
        nodes.take(Batch(15, shown, () if shown else (PATHS.member("edge-b"),)))
    assert set(states(nodes)) == {"edge-a"}
    assert nodes.has_left("edge-b")
    assert nodes.lost == {"edge-b"}, "it is to be written again"
    assert [code for code, _ in nodes.problems()] == (["cluster_record_refused"] if shown else [])
    nodes.take(Batch(16, (member(OTHER, 2, has_left=True),)))
    assert not nodes.lost
    assert nodes.problems() == []


def test_a_deleted_record_takes_nobody_out(nodes: Nodes) -> None:
    nodes.take(Batch(14, (), (PATHS.member("edge-b"),)))
    assert set(states(nodes)) == {"edge-a", "edge-b"}
    assert (nodes.is_missing("edge-b"), nodes.lost) == (True, {"edge-b"})


def test_nobody_speaks_for_another_node(nodes: Nodes) -> None:
    """edge-b has the cluster's keys, and not those of edge-a."""
    nodes.take(Batch(15, (live(OTHER, 1, path=PATHS.live("edge-a")),)))
    assert states(nodes)["edge-a"] is NodeState.IN_STEP, "what it said itself stands"
    assert [code for code, _ in nodes.problems()] == ["cluster_record_refused"]
    nodes.take(Batch(16, (live(RING, 16),)))
    assert nodes.problems() == []


def test_the_caretaker_is_known(nodes: Nodes) -> None:
    seen = [nodes.caretaker]
    for batch in (Batch(17, (Item(PATHS.caretaker, b"edge-b", 17, 17, 7),)), Batch(18, (), (PATHS.caretaker,))):
        nodes.take(batch)
        seen.append(nodes.caretaker)
    assert seen == [None, "edge-b", None]


@pytest.mark.parametrize(
    ("address", "node"),
    [
        ("192.0.2.2", "edge-b"),
        ("2001:0DB8::2", "edge-b"),
        ("192.0.2.1", ""),
        ("192.0.2.3", ""),
        ("192.0.2.4", "edge-d"),
        ("0.0.0.0", ""),
    ],
    ids=["another node's", "in another form", "its own", "of one that has left", "of a listener", "of nobody"],
)
def test_an_address_leads_to_the_node_that_has_it(address: str, node: str, layout: Layout) -> None:
    ring = KeyRing.draw("edge-a")
    paths, sealer = ClusterPaths(ring.cluster), KeyRingSealer(ring)
    now = datetime.now(UTC)

    def item(name: str, *addresses: str, has_left: bool = False, listeners: tuple[NodeListener, ...] = ()) -> Item:
        member = Member(name, Role.EDGE, "0" * 64, "0" * 64, "edge-a", now, addresses, listeners, has_left)
        path = paths.member(name)
        return Item(path, sealer.seal(path, 1, RecordClass.SITES, member.encode()), 1, 1)

    nodes = Nodes(sealer, paths, KnownMembers(layout, paths))
    on_4, on_any = NodeListener("http", "192.0.2.4", 80), NodeListener("https", "0.0.0.0", 443)
    nodes.read(
        [
            item("edge-a", "192.0.2.1"),
            item("edge-b", "192.0.2.2", "2001:db8::2"),
            item("edge-c", "192.0.2.3", has_left=True),
            item("edge-d", listeners=(on_4, on_any)),
        ],
        {},
    )
    assert nodes.at(address, but="edge-a") == node
