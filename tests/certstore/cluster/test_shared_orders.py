"""An order under way is in the engine at every step, so whoever takes the site over goes on with it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.acme.challenge_kind import Proof
from certstore.acme.network import OrderFailed
from certstore.acme.order_journal import OrderRequest, OrderUnderWay, Part
from certstore.cluster.engine import ModifiedAt, Put
from certstore.cluster.shared_orders import SharedOrderJournal
from certstore.model.cluster.paths import Shelf
from certstore.model.renewal.failure import Cause
from certstore.model.version import Version
from certstore.renewal.order_sharing import OrderNotAllowed
from certstore.store.versions import read_live
from tests.certificates import CertificateAuthority
from tests.certstore.acme.workshop import make_layout
from tests.certstore.cluster.leased import PATHS, LockingNode, Seconds
from tests.certstore.cluster.memory_engine import MemoryStore
from tests.certstore.stores import writing

SITE = "a.test"
NOW = datetime.now(UTC)


class Node(LockingNode):
    def __init__(self, store: MemoryStore, folder: Path, name: str) -> None:
        super().__init__(store, name)
        (folder / name).mkdir()
        self.live: Version | None = None
        self.shown: tuple[Proof, ...] = ()
        self.journal = SharedOrderJournal(
            make_layout(folder / name), self.session, self.sealer, PATHS, self.locks,
            lambda _: self.live, lambda: self.shown,
        )  # fmt: skip

    def begin(self) -> OrderUnderWay | None:
        """What it goes on with."""
        self.locks.take(SITE)
        self.journal.take_over(SITE)
        return self.journal.load(SITE)


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def store(clock: Seconds) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
def nodes(store: MemoryStore, tmp_path: Path) -> tuple[Node, Node]:
    return Node(store, tmp_path, "edge-a"), Node(store, tmp_path, "edge-b")


def order(key: bytes = b"KEY", url: str | None = None, begun_at: datetime = NOW) -> OrderUnderWay:
    return OrderUnderWay(OrderRequest(SITE, "ca", (SITE,), "ec256"), begun_at, (Part("ec256", key, url),))


def live_version(folder: Path, *, source: str, made_at: datetime = NOW) -> Version:
    with writing(folder) as writer:
        live = read_live(writer.layout, "main")
        assert live is not None
        return replace(live, site=SITE, source=source, made_at=made_at)


def test_a_successor_goes_on_with_the_same_order(nodes: tuple[Node, Node], store: MemoryStore, clock: Seconds) -> None:
    a, b = nodes
    assert a.begin() is None
    a.journal.keep(order())
    a.journal.keep(order(url="https://ca.test/1"))
    clock.now += 11
    b.come_back()
    assert b.begin() == order(url="https://ca.test/1")
    assert b"https" not in store.items[PATHS.order(SITE)].value, "it is sealed"


def test_who_was_paused_is_stopped_at_the_next_step(nodes: tuple[Node, Node], clock: Seconds) -> None:
    a, b = nodes
    a.begin()
    a.journal.keep(order())
    clock.now += 11
    b.come_back()
    b.begin()
    b.journal.keep(order(url="https://ca.test/1"))
    with pytest.raises(OrderNotAllowed, match="edge-b goes on"):
        a.journal.keep(order(url="https://ca.test/2"))
    a.journal.remove(SITE)
    b.locks.release(SITE)
    a.come_back()
    assert a.begin() == order(url="https://ca.test/1"), "the cluster's order, not its own"


def test_the_end_of_an_order_is_one_for_all(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, b = nodes
    a.begin()
    a.journal.keep(order())
    a.journal.remove(SITE)
    assert PATHS.order(SITE) not in store.items
    a.locks.release(SITE)
    assert b.begin() is None


@pytest.mark.parametrize(
    ("source", "made_after", "is_over"),
    [("acme:ca", 60, True), ("acme:ca", -60, False), ("upload", 60, False)],
    ids=["ordered later", "ordered before", "dropped"],
)
def test_an_order_that_another_node_has_finished_is_not_taken_up_again(
    source: str, made_after: int, is_over: bool, nodes: tuple[Node, Node], store: MemoryStore, tmp_path: Path
) -> None:
    """A node that was paused still has it, and would get the same certificate again."""
    a, _ = nodes
    a.journal.keep(order(url="https://ca.test/1"))
    a.live = live_version(tmp_path / "live", source=source, made_at=NOW + timedelta(seconds=made_after))
    assert a.begin() == (None if is_over else order(url="https://ca.test/1"))
    assert (PATHS.order(SITE) in store.items) is not is_over


def test_an_order_whose_certificate_is_live_has_ended(
    nodes: tuple[Node, Node], store: MemoryStore, tmp_path: Path, ca: CertificateAuthority
) -> None:
    a, b = nodes
    issued = ca.issue(SITE)
    a.begin()
    done = order().with_part(Part("ec256", b"KEY", "https://ca.test/1", issued.fullchain_pem.decode()))
    a.journal.keep(done)
    a.locks.release(SITE)
    live = live_version(tmp_path / "live", source="acme:ca", made_at=NOW - timedelta(days=1))
    b.live = replace(live, fingerprint=issued.fingerprint)
    assert b.begin() is None
    assert PATHS.order(SITE) not in store.items


def test_the_one_that_is_further_counts(nodes: tuple[Node, Node]) -> None:
    """The engine was away when the CA had given the order its URL."""
    a, _ = nodes
    a.begin()
    a.journal.keep(order())
    a.session.faults.is_cut = True
    with pytest.raises(OrderFailed) as failed:
        a.journal.keep(order(url="https://ca.test/1"))
    assert failed.value.failure.cause is Cause.CLUSTER
    a.session.faults.is_cut = False
    a.journal.take_over(SITE)
    assert a.journal.load(SITE) == order(url="https://ca.test/1")


@pytest.mark.parametrize("fault", ["lose_replies", "hold_requests"])
def test_a_lost_answer_is_read_back(fault: str, nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, b = nodes
    a.begin()
    setattr(a.session.faults, fault, 1)
    a.journal.keep(order())
    store.deliver_late()
    a.locks.release(SITE)
    assert b.begin() == order()


def test_a_record_that_was_planted_does_not_count(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, b = nodes
    a.begin()
    a.journal.keep(order())
    item = store.items[PATHS.order(SITE)]
    store.items[item.key] = replace(item, value=item.value[:-1] + bytes([item.value[-1] ^ 1]))
    a.locks.release(SITE)
    assert b.begin() is None


def test_without_the_lock_an_order_stays_on_its_node(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, _ = nodes
    a.journal.keep(order())
    assert PATHS.order(SITE) not in store.items
    a.journal.remove(SITE)
    assert a.journal.load(SITE) is None


def test_a_start_clears_away_no_proof_of_other_nodes(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    a.shown = (Proof("b.test", "t" * 43, "t.p"),)
    assert a.journal.published() == frozenset(a.shown)


@pytest.mark.parametrize("is_removed", [True, False], ids=["the order failed", "the certificate came"])
def test_tokens_of_a_node_that_was_killed_go_with_the_order(
    is_removed: bool, nodes: tuple[Node, Node], store: MemoryStore, clock: Seconds
) -> None:
    a, b = nodes
    proofs = tuple(Proof(SITE, f"{number:043}", "t.p") for number in range(130))
    keys = {PATHS.of(Shelf.TOKEN, proof.token) for proof in proofs}
    a.begin()
    a.journal.keep(replace(order(), published=proofs))
    for key in keys:
        a.session.commit([ModifiedAt(key, 0)], [Put(key, b"sealed")])
    clock.now += 11
    b.come_back()
    begun = b.begin()
    assert begun is not None
    assert keys <= store.items.keys()
    if is_removed:
        b.journal.remove(SITE)
    else:
        b.journal.keep(replace(begun, published=()))
    assert not keys & store.items.keys()
    a.journal.remove(SITE)
