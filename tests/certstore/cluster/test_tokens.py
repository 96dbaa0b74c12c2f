"""Challenge tokens reach every node before the CA is told, and nobody else's."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certstore.acme.challenge_kind import Proof, Publishing
from certstore.acme.http01 import http01
from certstore.acme.network import OrderFailed
from certstore.acme.tls_alpn01 import tls_alpn01
from certstore.cluster.engine import ModifiedAt, Put
from certstore.cluster.keys import KeyRing, NodeKeys
from certstore.cluster.sealing import KeyRingSealer
from certstore.cluster.tokens import ClusterTokens
from certstore.model.challenge import ChallengeType
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Role
from certstore.model.cluster.wire import RecordClass
from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore
from tests.deadlines import wait_for

TOKEN, AUTHORIZATION = "t" * 43, "t" * 43 + "." + "p" * 43
PROOF = Proof("a.test", TOKEN, AUTHORIZATION)
PUBLISHING = Publishing(lambda seconds: False)
OTHER = "u" * 43
RING = KeyRing.draw("edge-a")
PATHS = ClusterPaths(RING.cluster)


class Edge:
    """One node's tokens, driven step by step."""

    def __init__(self, store: MemoryStore, folder: Path, ring: KeyRing) -> None:
        self.layout = Layout(folder)
        for each in (self.layout.challenges, self.layout.alpn_challenges, self.layout.temporary):
            each.mkdir(parents=True)
        self.engine, self.applied, self.taken = MemoryEngine(store), 0, 0
        self.others: list[Edge] = []
        self.ring = ring
        self.start()
        self.feed = self.engine.follow(PATHS.prefix, store.revision)

    def start(self) -> None:
        """As a new process of the node."""
        sealer = KeyRingSealer(self.ring)
        self.tokens = ClusterTokens(self.engine, sealer, PATHS, self.layout, self.lacking, wait_seconds=0.2)

    def lacking(self, revision: int) -> list[str]:
        return [other.layout.root.name for other in self.others if other.applied < revision]

    def follow(self) -> None:
        while (batch := self.feed.next(0)) is not None:
            self.tokens.take(batch)
            self.taken = batch.revision
        self.applied = self.tokens.applied(self.taken)

    def shown(self, token: str = TOKEN) -> str | None:
        path = self.layout.challenges / token
        return path.read_text() if path.exists() else None


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def edges(store: MemoryStore, tmp_path: Path) -> list[Edge]:
    one = Edge(store, tmp_path / "edge-a", RING)
    front = Edge(store, tmp_path / "edge-b", RING.for_member("edge-b", Role.FRONT, NodeKeys.draw()))
    one.others = [front]
    return [one, front]


@pytest.fixture
def following(edges: list[Edge]) -> Iterator[None]:
    """The other edge follows by itself."""
    ending = threading.Event()

    def follow() -> None:
        while not ending.wait(0.005):
            edges[1].follow()

    thread = threading.Thread(target=follow)
    thread.start()
    yield
    ending.set()
    thread.join()


@pytest.mark.usefixtures("following")
def test_a_name_is_proven_over_tls_by_every_node(edges: list[Edge]) -> None:
    one, front = edges
    kind = tls_alpn01(one.layout, Settings(), sharing=one.tokens)
    proof = replace(PROOF, type=ChallengeType.TLS_ALPN_01)

    def shown() -> list[str | None]:
        paths = [edge.layout.alpn_challenge("a.test") for edge in (one, front)]
        return [path.read_text() if path is not None and path.exists() else None for path in paths]

    kind.publish([proof], PUBLISHING)
    assert shown() == [AUTHORIZATION, AUTHORIZATION]
    assert front.shown() is None, "not over http"
    kind.withdraw([proof])
    wait_for(lambda: shown() == [None, None], "it is gone everywhere")


def test_a_proof_over_tls_is_taken_back_by_the_next_process(edges: list[Edge]) -> None:
    one, front = edges
    one.others = []
    proof = replace(PROOF, type=ChallengeType.TLS_ALPN_01)
    one.tokens.share([proof])
    front.follow()
    path = front.layout.alpn_challenge("a.test")
    assert path is not None
    assert path.read_text() == AUTHORIZATION
    one.tokens.recall([proof])
    front.start()
    front.tokens.read([])
    assert not path.exists()


@pytest.mark.usefixtures("following")
def test_the_order_goes_on_once_every_node_has_the_token(edges: list[Edge]) -> None:
    one, front = edges
    kind = http01(one.layout, (), sharing=one.tokens)
    kind.publish([PROOF], PUBLISHING)
    assert (one.shown(), front.shown()) == (AUTHORIZATION, AUTHORIZATION)
    kind.withdraw([PROOF])
    assert one.shown() is None
    wait_for(lambda: front.shown() is None, "it is gone everywhere")


def test_a_node_that_does_not_take_it_stops_the_order(edges: list[Edge]) -> None:
    one, _ = edges
    with pytest.raises(OrderFailed, match="edge-b did not take"):
        http01(one.layout, (), sharing=one.tokens).publish([PROOF], PUBLISHING)


@pytest.mark.usefixtures("following")
def test_a_node_whose_disk_is_full_does_not_say_that_it_has_the_token(
    edges: list[Edge], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CA would ask it, and count a failure."""
    one, front = edges

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("certstore.cluster.tokens.publish", full)
        with pytest.raises(OrderFailed, match="edge-b did not take"):
            one.tokens.share([PROOF])
    wait_for(lambda: front.shown() == AUTHORIZATION, "it has it as soon as there is room")
    one.tokens.share([Proof("a.test", OTHER, AUTHORIZATION)])


def test_without_the_engine_the_order_goes_on_alone(edges: list[Edge]) -> None:
    one, _ = edges
    one.engine.faults.is_cut = True
    kind = http01(one.layout, (), sharing=one.tokens)
    kind.publish([PROOF], PUBLISHING)
    assert one.shown() == AUTHORIZATION
    kind.withdraw([PROOF])
    assert one.shown() is None


@pytest.mark.parametrize("fault", ["lose_replies", "hold_requests"])
@pytest.mark.usefixtures("following")
def test_a_lost_answer_changes_nothing(fault: str, edges: list[Edge], store: MemoryStore) -> None:
    one, front = edges
    setattr(one.engine.faults, fault, 1)
    one.tokens.share([PROOF])
    store.deliver_late()
    assert front.shown() == AUTHORIZATION
    one.tokens.recall([PROOF])
    wait_for(lambda: front.shown() is None, "it is gone")


def test_a_token_goes_with_its_lease(edges: list[Edge], store: MemoryStore) -> None:
    """Its node died in the middle of an order."""
    one, front = edges
    now = 0.0
    store.clock = lambda: now
    one.others = []
    one.tokens.share([PROOF])
    front.follow()
    assert front.shown() == AUTHORIZATION
    now = 3601.0
    front.engine.read(PATHS.prefix)
    front.follow()
    assert front.shown() is None


def test_a_node_that_was_away_reads_all_and_forgets_what_is_gone(edges: list[Edge]) -> None:
    one, front = edges
    one.others = []
    one.tokens.share([PROOF])
    front.tokens.read(front.engine.read(PATHS.shelf(Shelf.TOKEN)).items)
    assert front.shown() == AUTHORIZATION
    (front.layout.challenges / OTHER).write_text("of certbot on this machine")
    one.tokens.recall([PROOF])
    front.tokens.read(front.engine.read(PATHS.shelf(Shelf.TOKEN)).items)
    assert front.shown() is None
    assert front.shown(OTHER) is not None, "what others put there stays"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"rubbish", id="rubbish"),
        pytest.param(AUTHORIZATION.encode(), id="not sealed"),
        pytest.param(
            KeyRingSealer(RING).seal(PATHS.of(Shelf.TOKEN, OTHER), 1, RecordClass.SITES, b'{"authorization":"x"}'),
            id="of another token",
        ),
        pytest.param(
            KeyRingSealer(RING).seal(PATHS.of(Shelf.TOKEN, TOKEN), 1, RecordClass.SITES, b'{"authorization":7}'),
            id="no text",
        ),
    ],
)
def test_nobody_plants_a_token(value: bytes, edges: list[Edge]) -> None:
    """Whoever could, would get certificates for all names."""
    one, front = edges
    key = PATHS.of(Shelf.TOKEN, TOKEN)
    one.engine.commit([ModifiedAt(key, 0)], [Put(key, value)])
    front.follow()
    assert front.shown() is None


def test_a_front_shares_nothing(edges: list[Edge]) -> None:
    _, front = edges
    front.tokens.share([PROOF])
    edges[0].follow()
    assert edges[0].shown() is None


def test_an_order_whose_names_are_all_valid_already_has_no_tokens(edges: list[Edge]) -> None:
    edges[0].tokens.share([])
    edges[0].tokens.recall([])
    assert edges[0].engine.read(PATHS.prefix).items == ()


@pytest.mark.usefixtures("following")
def test_what_was_recalled_while_a_node_was_stopped_is_gone_after_its_start(edges: list[Edge]) -> None:
    one, front = edges
    (front.layout.challenges / OTHER).write_text("of another ACME client")
    one.tokens.share([PROOF])
    assert front.shown() == AUTHORIZATION
    front.start()
    front.tokens.read(())
    assert front.shown() is None
    assert front.shown(OTHER) == "of another ACME client"


def test_what_could_not_be_recalled_without_the_engine_goes_when_it_is_back(edges: list[Edge]) -> None:
    """Not only with its lease, an hour later."""
    one, front = edges
    one.others = []
    kind = http01(one.layout, (), sharing=one.tokens)
    kind.publish([PROOF], PUBLISHING)
    front.follow()
    one.engine.faults.is_cut = True
    kind.withdraw([PROOF])
    one.engine.faults.is_cut = False
    one.tokens.read(one.engine.read(PATHS.shelf(Shelf.TOKEN)).items)
    front.follow()
    assert (one.shown(), front.shown()) == (None, None)
    assert not one.engine.read(PATHS.shelf(Shelf.TOKEN)).items


def test_tokens_that_another_node_goes_on_with_stay(edges: list[Edge]) -> None:
    """A node that was paused takes its order's tokens back when it wakes; the CA may be looking at its successor's."""
    one, other = edges
    other.ring = RING.for_member("edge-b", Role.EDGE, NodeKeys.draw())
    other.start()
    one.others = []
    one.tokens.share([PROOF])
    other.tokens.share([PROOF])
    assert [*one.tokens.recall([PROOF])] == [PROOF], "it has not heard of it yet"
    assert PATHS.of(Shelf.TOKEN, TOKEN) in one.engine.store.items, "but takes nothing away from the others"
    one.tokens.share([replace(PROOF, token=OTHER)])
    other.tokens.share([replace(PROOF, token=OTHER)])
    one.follow()
    assert one.shown(OTHER) == AUTHORIZATION
    assert [*one.tokens.recall([replace(PROOF, token=OTHER)])] == []
    assert {proof.token for proof in one.tokens.of_others()} == {TOKEN, OTHER}
