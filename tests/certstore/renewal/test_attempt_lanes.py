"""One customer's slow servers delay nobody else: a tarpit for some names, a real Pebble for all."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certstore.acme.challenge_kind import ChallengeKinds
from certstore.control.upkeep import Upkeep
from certstore.model.renewal.preflight_facts import WayFacts
from certstore.net.lanes import Budget
from certstore.renewal.attempt import Attempt, Attempted
from certstore.renewal.attempt_lanes import ATTEMPT_BOUND, ATTEMPTS_OF_A_TENANT, CHECKS_AT_ONCE, ORDERS_AT_ONCE
from certstore.renewal.loop import SiteBusy
from certstore.store.writer_state import SiteProblem
from tests.certstore.renewal.scene import Scene, scene
from tests.deadlines import wait_for
from tests.peers.tarpit import tarpit

pytestmark = pytest.mark.peer

SLOW = "127.0.0.5"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made, ExitStack() as stack:
        stack.enter_context(tarpit(made.responder.port, SLOW))
        yield made


def upkeep_of(stage: Scene, *, name_seconds: float) -> Upkeep:
    return stage.probing_upkeep(name_seconds=name_seconds, seconds=name_seconds)


def slow_sites(stage: Scene, count: int) -> list[str]:
    sites = [f"slow{number}.test" for number in range(count)]
    for site in sites:
        stage.pebble.dns.add_a(site, SLOW)
    return [stage.add(site) for site in sites]


def test_slow_sites_do_not_stop_the_orders_of_others(stage: Scene) -> None:
    slow = slow_sites(stage, 2 * CHECKS_AT_ONCE)
    upkeep = upkeep_of(stage, name_seconds=2.0)
    upkeep.start()
    try:
        wait_for(lambda: all(upkeep.maintenance.is_ordering(site) for site in slow[:CHECKS_AT_ONCE]), "slow checks")
        good = [stage.add(f"good{number}.test") for number in range(6)]
        wait_for(lambda: all(stage.version(site) == 1 for site in good), "the others' certificates", seconds=60)
        assert not any(stage.version(site) for site in slow)
    finally:
        upkeep.stop()


@contextmanager
def stalled_orders(monkeypatch: pytest.MonkeyPatch, is_stalled: Callable[[str], bool]) -> Iterator[set[str]]:
    """Orders of these sites wait for the CA's validation until the `with` ends; yields those that wait."""
    waiting, released, place = set[str](), threading.Event(), Attempt.order

    def order(attempt: Attempt) -> Attempted:
        site = attempt.site
        if is_stalled(site) and not released.is_set():
            waiting.add(site)
            released.wait(600)
        return place(attempt)

    monkeypatch.setattr(Attempt, "order", order)
    try:
        yield waiting
    finally:
        released.set()


def test_stalled_first_orders_of_one_domain_leave_room_for_others(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = [stage.add(f"s{number}.tenant.test") for number in range(2 * ORDERS_AT_ONCE)]
    with stage.running(), stalled_orders(monkeypatch, lambda site: site.endswith("tenant.test")) as waiting:
        wait_for(lambda: len(waiting) == ATTEMPTS_OF_A_TENANT, "orders that stall")
        good = [stage.add(f"good{number}.test") for number in range(3)]
        wait_for(lambda: all(stage.version(site) == 1 for site in good), "the others' certificates")
        assert len(waiting) == ATTEMPTS_OF_A_TENANT
    with stage.running():
        wait_for(lambda: all(stage.version(site) == 1 for site in mine), "the tenant's own certificates in the end")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to another user, which needs root")
def test_whoever_owns_the_folders_is_one_tenant_whatever_the_domains(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = [stage.add(f"tenant{number}.test") for number in range(ORDERS_AT_ONCE + 1)]
    for site in mine:
        os.chown(stage.writer.layout.drop_folder(site), 12345, 12345)
    with stage.running(), stalled_orders(monkeypatch, lambda site: site.startswith("tenant")) as waiting:
        wait_for(lambda: len(waiting) == ATTEMPTS_OF_A_TENANT, "orders that stall")
        good = stage.add("good.test")
        wait_for(lambda: stage.version(good) == 1, "the other's certificate")


def test_sites_that_wait_for_their_tenant_follow_without_a_restart(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = [stage.add(f"s{number}.tenant.test") for number in range(ORDERS_AT_ONCE)]
    with stage.running():
        with stalled_orders(monkeypatch, lambda site: True) as waiting:
            wait_for(lambda: len(waiting) == ATTEMPTS_OF_A_TENANT, "orders that stall")
        wait_for(lambda: all(stage.version(site) == 1 for site in mine), "all certificates")


def test_attempt_that_hangs_is_a_problem_and_ends_with_a_stop(stage: Scene) -> None:
    (site,) = slow_sites(stage, 1)
    upkeep = upkeep_of(stage, name_seconds=1000.0)
    maintenance, hangs, released = upkeep.maintenance, threading.Event(), threading.Event()

    def hang(name: str, addresses: Sequence[str], budget: Budget) -> WayFacts:
        hangs.set()
        released.wait(1000)
        return WayFacts("http-01", is_whole=False)

    preflight = maintenance.context.preflight
    kinds = ChallengeKinds(*(replace(kind, probing=lambda context: nullcontext(hang)) for kind in preflight.kinds))
    maintenance.context.preflight = replace(preflight, kinds=kinds)
    upkeep.start()
    try:
        wait_for(hangs.is_set, "a probe")
        assert maintenance.overdue(stage.clock()) == {}
        with pytest.raises(SiteBusy):
            maintenance.attempt_now(site, lambda step: None)
        stage.clock.offset = ATTEMPT_BOUND + timedelta(minutes=1)
        problems = wait_for(lambda: stage.writer.problems(site), "a problem")
        assert problems[0].code == SiteProblem.ATTEMPT_OVERDUE
        assert set(maintenance.overdue(stage.clock())) == {site}
    finally:
        began = time.monotonic()
        upkeep.stop()
        released.set()
    assert time.monotonic() - began < 30, "the stop did not wait for the probe, which would take 1000 seconds"
    assert stage.writer.problems(site) == ()
    assert stage.tokens() == []
