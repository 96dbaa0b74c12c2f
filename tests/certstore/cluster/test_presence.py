"""A node's word about itself: under its lease, not more often than needed, and never over another machine's."""

from datetime import UTC, datetime, timedelta

import pytest

from certstore.cluster.keys import KeyRing
from certstore.cluster.presence import AT_MOST, SAID_AGAIN, Announcer
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Live
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore

RING = KeyRing.draw("edge-a")
PATHS = ClusterPaths(RING.cluster)
KEY = PATHS.live("edge-a")
SECOND = timedelta(seconds=1)


class Announcing:
    """One start of a node. The engine's leases and the node's clock move together."""

    def __init__(self, store: MemoryStore, instance: str) -> None:
        self.store, self.now, self.seconds = store, datetime(2026, 11, 1, tzinfo=UTC), 0.0
        store.clock = lambda: self.seconds
        self.engine = MemoryEngine(store)
        self.lease = self.engine.grant(timedelta(seconds=10))
        self.announcer = Announcer(
            self.engine, lambda: self.lease, KeyRingSealer(RING), PATHS, "edge-a", lambda: self.now, lambda: instance
        )

    def live(self, applied: int = 1, heads: str = "h") -> Live:
        return Live(self.announcer.instance, applied, heads, 3, "1.0", self.now)

    def say(self, applied: int = 1) -> None:
        self.announcer.say(self.live(applied), self.there)

    def there(self) -> str | None:
        if (item := self.store.items.get(KEY)) is None:
            return None
        opened = KeyRingSealer(RING).open_live(KEY, item.value, RING.own.sign_public)
        return Live.decode(opened.plaintext).instance

    def wait(self, by: timedelta) -> None:
        self.now += by
        self.seconds += by.total_seconds()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def one(store: MemoryStore) -> Announcing:
    return Announcing(store, "one")


def test_it_is_gone_with_the_lease(one: Announcing) -> None:
    one.say()
    assert one.there() == "one"
    one.wait(SECOND * 11)
    one.engine.read("")
    assert one.there() is None


def test_it_is_said_again_under_a_new_lease(one: Announcing) -> None:
    one.say()
    one.wait(SECOND * 11)
    one.lease = one.engine.grant(timedelta(seconds=10))
    assert one.announcer.is_due(one.live())
    one.say()
    assert one.there() == "one"


def test_without_a_lease_nothing_is_said(one: Announcing) -> None:
    one.lease = 0
    one.say()
    assert one.there() is None


@pytest.mark.parametrize(
    ("waited", "applied", "is_due"),
    [
        pytest.param(timedelta(), 1, False, id="just said"),
        pytest.param(AT_MOST / 2, 2, False, id="news, but at most once a second"),
        pytest.param(AT_MOST, 2, True, id="news"),
        pytest.param(AT_MOST, 1, False, id="no news"),
        pytest.param(SAID_AGAIN, 1, True, id="no news for long"),
        pytest.param(-SECOND, 1, True, id="the clock was put back"),
    ],
)
def test_when_it_is_due(waited: timedelta, applied: int, is_due: bool, one: Announcing) -> None:
    one.say()
    one.now += waited
    assert one.announcer.is_due(one.live(applied)) is is_due


def test_a_start_after_a_crash_waits_for_the_lease_of_the_one_before(store: MemoryStore, one: Announcing) -> None:
    one.say()
    again = Announcing(store, "again")
    again.say()
    assert (again.there(), again.announcer.is_cloned) == ("one", False)
    again.wait(SECOND * 9)
    again.engine.keep(again.lease)
    again.wait(SECOND * 2)
    again.say()
    assert (again.there(), again.announcer.is_cloned) == ("again", False)


def test_a_copy_of_a_living_machine_gives_way(store: MemoryStore, one: Announcing) -> None:
    one.say()
    copy = Announcing(store, "copy")
    for _ in range(6):
        copy.say()
        copy.wait(SECOND * 5)
        copy.engine.keep(one.lease)
        copy.engine.keep(copy.lease)
        copy.say()
    assert (copy.there(), copy.announcer.is_cloned) == ("one", True)
    one.engine.revoke(one.lease)
    copy.say()
    assert (copy.there(), copy.announcer.is_cloned) == ("copy", False), "as soon as the other one has gone"
