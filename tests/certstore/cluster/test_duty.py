"""Which of several nodes has the duty, on the engine in memory with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certstore.cluster.duty import ClusterDuty
from certstore.cluster.engine import Committed, Delete, EngineFailed, EngineLost, Lost, ModifiedAt, Put
from certstore.cluster.keys import KeyRing
from certstore.cluster.sealing import KeyRingSealer
from certstore.cluster.session import Attachment, Session
from certstore.model.cluster.health import ClusterProblem
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.layout import Layout
from tests.certstore.cluster.engine_contract import written
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore
from tests.deadlines import wait_for

RING = KeyRing.draw("edge-a")
SEALER = KeyRingSealer(RING)
PATHS = ClusterPaths(RING.cluster)
FACTS = {"acme.directory": "1", "notify.to": "2"}
OTHER_FACTS = {"acme.directory": "9", "notify.to": "2"}
TTL = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class LeasedMemory(MemoryEngine):
    """A node's way to the engine with a lease, kept by `ping` alone."""

    def __init__(self, store: MemoryStore, name: str, clock: Clock) -> None:
        super().__init__(store, name)
        self.clock = clock
        self.attachment = Attachment(True, name, clock())
        self._number, self._until = 0, 0.0

    @property
    def lease(self) -> int:
        return self._number if self.clock() < self._until else 0

    def ping(self) -> None:
        try:
            if not self.lease:
                self._number = self.grant(timedelta(seconds=TTL))
            else:
                self.keep(self._number)
        except EngineFailed:
            if self.attachment.is_attached:
                self.attachment = Attachment(False, self.name, self.clock())
        else:
            self._until = self.clock() + TTL
            self.attachment = Attachment(True, self.name, self.clock())


class Cluster:
    """Nodes by name, and the time that passes."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.folder = folder
        self.engines: dict[str, LeasedMemory] = {}
        self.duties: dict[str, ClusterDuty] = {}

    def node(self, name: str, facts: dict[str, str] | None = None, **changes: Any) -> ClusterDuty:
        """A node that starts, perhaps anew with other settings."""
        layout = Layout(self.folder / name)
        layout.temporary.mkdir(parents=True, exist_ok=True)
        engine = self.engines.setdefault(name, LeasedMemory(self.store, name, self.clock))
        given: dict[str, Any] = {"settle_seconds": 0, "monotonic": self.clock} | changes
        duty = ClusterDuty(
            engine, SEALER, PATHS, name, FACTS if facts is None else facts, layout,
            **given,
        )  # fmt: skip
        self.duties[name] = duty
        return duty

    def pass_time(self, seconds: float = 1) -> None:
        """Second by second: every node pings, and looks at the duty."""
        for _ in range(round(seconds)):
            self.clock.now += 1
            for name, duty in self.duties.items():
                self.engines[name].ping()
                try:
                    duty.round()
                except EngineLost:
                    pass
            assert len(self.holders) <= 1, f"{self.holders} at {self.clock.now}"

    @property
    def holders(self) -> list[str]:
        return [name for name, duty in self.duties.items() if duty.is_mine()]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_node_that_was_taken_out_gives_the_duty_back(cluster: Cluster) -> None:
    """Its service may run on for days: what it renews would reach nobody, and nobody else would renew."""
    is_member = True
    cluster.node("edge-a", may_publish=lambda: is_member)
    cluster.pass_time(3)
    assert cluster.holders == ["edge-a"]
    cluster.node("edge-b")
    is_member = False
    cluster.pass_time(3)
    assert cluster.holders == ["edge-b"]


def three(cluster: Cluster) -> None:
    for name in ("edge-a", "edge-b", "edge-c"):
        cluster.node(name)


def test_one_of_three_has_the_duty_and_keeps_it(cluster: Cluster) -> None:
    three(cluster)
    cluster.pass_time(60)
    assert cluster.holders == ["edge-a"]
    assert {duty.holder for duty in cluster.duties.values()} == {"edge-a"}
    assert [duty.is_mine_to_warn() for duty in cluster.duties.values()] == [True, False, False]


@pytest.mark.parametrize("fault", ["is_cut", "is_silent"])
def test_another_takes_over_once_the_holder_is_away(cluster: Cluster, fault: str) -> None:
    three(cluster)
    cluster.pass_time(3)
    setattr(cluster.engines["edge-a"].faults, fault, True)
    cluster.pass_time(15)
    assert cluster.holders == ["edge-b"]
    setattr(cluster.engines["edge-a"].faults, fault, False)
    cluster.pass_time(15)
    assert cluster.holders == ["edge-b"]


def test_a_holder_that_was_paused_wakes_without_the_duty(cluster: Cluster) -> None:
    """Before it has asked anybody: by its own clock."""
    three(cluster)
    cluster.pass_time(3)
    paused = cluster.duties.pop("edge-a")
    fence = paused.fence()
    assert fence is not None
    cluster.pass_time(15)
    assert cluster.holders == ["edge-b"]
    assert not paused.is_mine()
    assert paused.fence() is None
    outcome = cluster.engines["edge-a"].commit([fence], [Put(PATHS.of(Shelf.TOLD, "x"), b"late")])
    assert isinstance(outcome, Lost)


def test_what_only_the_holder_writes_compares_its_fence(cluster: Cluster) -> None:
    three(cluster)
    cluster.pass_time(3)
    fence = cluster.duties["edge-a"].fence()
    assert fence is not None
    outcome = cluster.engines["edge-a"].commit([fence], [Put(PATHS.of(Shelf.TOLD, "x"), b"told")])
    assert isinstance(outcome, Committed)
    assert cluster.duties["edge-b"].fence() is None


def test_without_the_engine_nobody_has_the_duty_and_after_an_hour_all_warn(cluster: Cluster) -> None:
    three(cluster)
    cluster.pass_time(3)
    for engine in cluster.engines.values():
        engine.faults.is_cut = True
    cluster.pass_time(30)
    assert cluster.holders == []
    assert not any(duty.is_mine_to_warn() for duty in cluster.duties.values())
    cluster.clock.now += 3600
    assert all(duty.is_mine_to_warn() for duty in cluster.duties.values())
    for engine in cluster.engines.values():
        engine.faults.is_cut = False
    cluster.pass_time(3)
    assert len(cluster.holders) == 1
    assert [duty.is_mine_to_warn() for duty in cluster.duties.values()].count(True) == 1


@pytest.mark.parametrize("fault", ["lose_replies", "hold_requests"])
def test_an_unanswered_take_over_is_read_back(cluster: Cluster, fault: str) -> None:
    three(cluster)
    setattr(cluster.engines["edge-a"].faults, fault, 2)  # what is agreed on, and the duty
    for _ in range(5):
        cluster.pass_time(1)
        cluster.store.deliver_late()
    assert len(cluster.holders) == 1


def test_a_key_that_somebody_deleted_is_noticed(cluster: Cluster) -> None:
    three(cluster)
    cluster.pass_time(3)
    written(cluster.engines["edge-c"], Delete(PATHS.caretaker))
    cluster.duties["edge-b"].round()
    assert cluster.duties["edge-b"].is_mine()
    cluster.duties["edge-a"].round()
    assert cluster.holders == ["edge-b"]


def test_a_node_that_could_not_order_never_takes_the_duty(cluster: Cluster) -> None:
    cluster.node("mail-1", could_order=False)
    cluster.pass_time(5)
    assert cluster.holders == []
    cluster.node("edge-a")
    cluster.pass_time(5)
    assert cluster.holders == ["edge-a"]
    assert cluster.duties["mail-1"].problem is None


def test_a_node_that_is_not_current_waits_and_one_that_has_the_duty_keeps_it(cluster: Cluster) -> None:
    state = {"is_current": False}
    cluster.node("edge-a", is_current=lambda: state["is_current"])
    cluster.pass_time(5)
    assert cluster.holders == []
    state["is_current"] = True
    cluster.pass_time(2)
    assert cluster.holders == ["edge-a"]
    state["is_current"] = False
    cluster.pass_time(5)
    assert cluster.holders == ["edge-a"]


def test_a_node_that_comes_back_waits_until_it_has_seen_what_others_did(cluster: Cluster) -> None:
    cluster.node("edge-a", settle_seconds=5)
    cluster.pass_time(5)
    assert cluster.holders == []
    cluster.pass_time(2)
    assert cluster.holders == ["edge-a"]
    cluster.engines["edge-a"].faults.is_cut = True
    cluster.pass_time(20)
    cluster.engines["edge-a"].faults.is_cut = False
    cluster.pass_time(5)
    assert cluster.holders == []
    cluster.pass_time(2)
    assert cluster.holders == ["edge-a"]


# --- the settings -----------------------------------------------------------------------------------------------------


def test_a_node_with_other_settings_may_not_take_the_duty_and_says_which(cluster: Cluster) -> None:
    cluster.node("edge-a")
    cluster.pass_time(2)
    other = cluster.node("edge-b", OTHER_FACTS)
    cluster.engines["edge-a"].faults.is_cut = True
    cluster.pass_time(30)
    assert cluster.holders == []
    assert other.problem == (
        ClusterProblem.ACME_DIFFERS,
        "edge-b may not renew, as its edge.yaml differs from that of edge-a in acme.directory: make them the same",
    )


def test_a_holder_whose_settings_change_stays_and_the_others_follow(cluster: Cluster) -> None:
    three(cluster)
    cluster.pass_time(3)
    cluster.node("edge-a", OTHER_FACTS)
    cluster.pass_time(3)
    assert cluster.holders == ["edge-a"]
    assert cluster.duties["edge-b"].problem is not None
    for name in ("edge-b", "edge-c"):
        cluster.node(name, OTHER_FACTS)
    cluster.pass_time(3)
    assert all(duty.problem is None for duty in cluster.duties.values())
    assert cluster.holders == ["edge-a"]


def test_a_holder_left_behind_by_a_change_elsewhere_gives_the_duty_back(cluster: Cluster) -> None:
    three(cluster)
    cluster.pass_time(3)
    cluster.node("edge-b", OTHER_FACTS)
    cluster.pass_time(5)
    assert cluster.holders == ["edge-b"]
    assert cluster.duties["edge-a"].problem is not None
    cluster.node("edge-a", OTHER_FACTS)
    cluster.pass_time(5)
    assert cluster.holders == ["edge-b"]
    assert cluster.duties["edge-a"].problem is None


def test_what_can_not_be_read_is_no_agreement(cluster: Cluster) -> None:
    engine = LeasedMemory(cluster.store, "outside", cluster.clock)
    written(engine, Put(PATHS.of(Shelf.ACME), b"planted"))
    duty = cluster.node("edge-a")
    cluster.pass_time(3)
    assert cluster.holders == []
    assert duty.problem is not None
    assert duty.problem[0] is ClusterProblem.RECORD_REFUSED


def test_the_engine_shows_no_setting(cluster: Cluster) -> None:
    cluster.node("edge-a")
    cluster.pass_time(2)
    assert all(b"acme" not in item.value for item in cluster.engines["edge-a"].read(PATHS.prefix).items)


# --- as a thread, over a session --------------------------------------------------------------------------------------


def session_and_duty(store: MemoryStore, name: str, folder: Path) -> tuple[Session, ClusterDuty]:
    session = Session([MemoryEngine(store, name)], ping_seconds=0.01)
    layout = Layout(folder / name)
    layout.temporary.mkdir(parents=True)
    return session, ClusterDuty(session, SEALER, PATHS, name, FACTS, layout, settle_seconds=0)


def test_a_node_that_stops_hands_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certstore.cluster.duty.ROUND_SECONDS", 0.01)
    store = MemoryStore()
    nodes = [session_and_duty(store, name, tmp_path) for name in ("edge-a", "edge-b")]
    for session, duty in nodes:
        session.start()
        duty.start()

    def has_duty(at: int) -> Callable[[], bool]:
        return nodes[at][1].is_mine

    first = wait_for(lambda: [at for at in (0, 1) if has_duty(at)()], "one has the duty")[0]
    session, duty = nodes[first]
    duty.stop()
    session.close()
    assert not duty.is_mine()
    wait_for(has_duty(1 - first), "the other has it")
    for session, duty in nodes:
        duty.stop()
        session.close()


def test_a_lock_that_is_free_is_taken_with_a_compare(cluster: Cluster) -> None:
    """Two that look at the same moment: the second one's commit loses."""
    a, b = cluster.node("edge-a"), cluster.node("edge-b")
    cluster.pass_time(3)
    written(MemoryEngine(cluster.store), Delete(PATHS.caretaker))
    taking = cluster.engines["edge-a"].commit

    def after_the_other(compares: list[ModifiedAt], ops: list[Put]) -> object:
        cluster.engines["edge-a"].commit = taking  # type: ignore[method-assign]
        b.round()
        return taking(compares, ops)

    cluster.engines["edge-a"].commit = after_the_other  # type: ignore[method-assign, assignment]
    a.round()
    assert cluster.holders == ["edge-b"]
