"""Whether a node may order for a site, and what becomes of what it ordered."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.acme.network import OrderFailed
from certstore.acme.order_journal import OrderRequest, OrderUnderWay, Part
from certstore.cluster.engine import CreatedAt, EngineLost, Reading
from certstore.cluster.order_queue import OrderQueue
from certstore.cluster.orders import ClusterOrders
from certstore.cluster.tokens import ClusterTokens
from certstore.model.renewal.failure import Cause
from certstore.model.version import Version
from certstore.renewal.order_sharing import OrderNotAllowed
from certstore.store.writer import StoreWriter
from tests.certstore.cluster.leased import PATHS, LockingNode
from tests.certstore.cluster.memory_engine import MemoryStore
from tests.certstore.stores import SITE, writing


class Node(LockingNode):
    def __init__(self, store: MemoryStore, writer: StoreWriter, name: str) -> None:
        super().__init__(store, name)
        self.behind = 0
        self.refusal: tuple[str, str] | None = None
        self.writer = writer
        woken = threading.Event()
        self.queue = OrderQueue(woken.set, wait_seconds=0.05)
        tokens = ClusterTokens(self.session, self.sealer, PATHS, writer.layout, lambda _: [])
        self.orders = ClusterOrders(
            self.session, writer, self.sealer, PATHS, name, self.queue, tokens,
            lambda: self.refusal, lambda: store.revision - self.behind, lambda _: "", wait_seconds=0.05,
        )  # fmt: skip

    def under_way(self) -> OrderUnderWay:
        request = OrderRequest(SITE, "ca", (SITE,), "ec256")
        return OrderUnderWay(request, self.writer.now(), (Part("ec256", b"KEY", "https://ca.test/1"),))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def nodes(store: MemoryStore, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    with writing(tmp_path / "edge-a") as one, writing(tmp_path / "edge-b") as other:
        yield Node(store, one, "edge-a"), Node(store, other, "edge-b")


def test_one_node_orders_for_a_site_and_the_other_says_who(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    hold = a.orders.take(SITE)
    with pytest.raises(OrderNotAllowed, match="edge-a orders a certificate") as refused:
        b.orders.take(SITE)
    assert refused.value.remedy == f"to see its outcome: certedge site show {SITE}"
    hold.release()
    b.orders.take(SITE).release()


def test_who_takes_a_site_goes_on_with_the_order_that_is_under_way(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    hold = a.orders.take(SITE)
    kept = a.orders.journal(a.writer.layout).keep(a.under_way())
    hold.release()
    b.orders.take(SITE)
    assert b.orders.journal(b.writer.layout).load(SITE) == kept


@pytest.mark.parametrize("is_leased", [True, False], ids=["it does not answer", "the lease has ended"])
def test_without_the_engine_nobody_orders(is_leased: bool, nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    a.session.faults.is_cut = is_leased
    a.session.lease *= is_leased
    with pytest.raises(OrderNotAllowed, match="another node may be ordering") as refused:
        a.orders.take(SITE)
    assert f"certedge cert request {SITE} --detached" in refused.value.remedy


def test_a_person_may_order_on_a_node_that_has_lost_the_engine(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, _ = nodes
    with pytest.raises(OrderNotAllowed, match="the other nodes can be asked"):
        a.orders.take_detached(SITE)
    a.session.lease = 0
    hold, version = a.orders.take_detached(SITE), a.writer.live_version("main")
    assert version is not None
    assert hold.consent(version) is None, "it goes live here, and is published when the engine is back"
    hold.release()
    assert PATHS.lock(SITE) not in store.items


def test_a_node_that_has_not_caught_up_orders_nothing(nodes: tuple[Node, Node]) -> None:
    """It was paused, and does not know yet what its successor has ordered."""
    a, b = nodes
    a.behind = 1
    with pytest.raises(OrderNotAllowed, match="has not taken over what the others have"):
        a.orders.take(SITE)
    b.orders.take(SITE)


def test_a_site_is_let_go_if_the_order_under_way_can_not_be_read(nodes: tuple[Node, Node]) -> None:
    """The engine goes away between the two questions."""
    a, b = nodes
    original = a.session.get
    a.session.get = lambda keys: original(keys) if "lock" in keys[0] else _lost()  # type: ignore[method-assign]
    with pytest.raises(OrderNotAllowed):
        a.orders.take(SITE)
    b.orders.take(SITE)


def test_a_node_that_may_not_order_says_why(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    a.refusal = "its settings differ in acme.directory", "make them the same"
    with pytest.raises(OrderNotAllowed, match=r"acme\.directory") as refused:
        a.orders.take(SITE)
    assert refused.value.remedy == "make them the same"


def test_what_it_ordered_goes_to_the_thread_that_publishes(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    hold, version = a.orders.take(SITE), a.writer.live_version("main")
    assert version is not None
    asked: list[tuple[Version, CreatedAt]] = []
    done = threading.Event()

    def publish(wanted: Version, fence: CreatedAt) -> str:
        asked.append((wanted, fence))
        return "edge-b orders"

    def run() -> None:
        while not done.wait(0.002):
            a.queue.run(publish)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert hold.consent(version) == "edge-b orders"
    finally:
        done.set()
        thread.join()
    assert [(wanted, fence.key) for wanted, fence in asked] == [(version, PATHS.lock(SITE))]


def test_if_nobody_publishes_it_the_order_waits(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    hold, version = a.orders.take(SITE), a.writer.live_version("main")
    assert version is not None
    with pytest.raises(OrderFailed, match="could not be given to the other nodes") as failed:
        hold.consent(version)
    assert failed.value.failure.cause is Cause.CLUSTER


def _lost() -> Reading:
    raise EngineLost("memory: gone")
