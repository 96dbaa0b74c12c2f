"""How sites are proven over the years, by a real Pebble: each way alone, and ways that die between two renewals.

`unhelpful` names fail for everybody, `blocked` ones only for the CA. Both responders are on loopback, so what a
preflight sees there makes it doubt at most.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.control.upkeep import Upkeep
from certstore.model.renewal.failure import Cause
from certstore.model.renewal.preflight_facts import Severity
from certstore.model.renewal.state import RenewalState
from certstore.renewal.attempt import Attempted
from tests.certstore.renewal.scene import Scene, scene
from tests.deadlines import wait_for
from tests.peers.bind import Bind

pytestmark = pytest.mark.peer

SITE = "a.test"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, has_https=True) as made:
        yield made
        assert made.tokens() == []


@pytest.fixture
def upkeep(stage: Scene) -> Iterator[Upkeep]:
    """Its loop does not run: each test says when an attempt is made."""
    upkeep = stage.probing_upkeep()
    try:
        yield upkeep
    finally:
        upkeep.stop()


def attempt(upkeep: Upkeep, site: str = SITE) -> Attempted:
    return upkeep.maintenance.attempt_now(site, lambda step: None)


def state_of(upkeep: Upkeep, site: str = SITE) -> RenewalState:
    return upkeep.maintenance.memory.state(site)


def taken(upkeep: Upkeep, site: str = SITE) -> dict[str, str]:
    return {each.name: each.way for each in state_of(upkeep, site).ways}


def failed_validations(upkeep: Upkeep, name: str = SITE) -> int:
    """As they count towards the CA's limit."""
    context = upkeep.maintenance.context
    with context.memory.ledger(context.cas[0]) as ledger:
        return len(ledger.events(f"failed:{name}"))


def order_and_renew_by(stage: Scene, way: str) -> None:
    """By the loop, over three quarters of a certificate's life."""
    stage.add(SITE, f"b.{SITE}", challenges=[way])
    upkeep = stage.probing_upkeep()
    upkeep.start()
    try:
        wait_for(lambda: stage.version(SITE) == 1, "a certificate", seconds=60)
        assert taken(upkeep) == {SITE: way, f"b.{SITE}": way}
        live = stage.writer.live_version(SITE)
        assert live is not None
        stage.clock.offset = (live.not_after - live.not_before) * 0.75
        upkeep.maintenance.check_soon(SITE)
        wait_for(lambda: stage.version(SITE) == 2, "a renewal", seconds=60)
    finally:
        upkeep.stop()
    assert failed_validations(upkeep) == 0


@pytest.mark.parametrize("way", ["http-01", "tls-alpn-01"])
def test_site_is_ordered_for_and_renewed_by_one_way(stage: Scene, way: str) -> None:
    order_and_renew_by(stage, way)
    assert bool(stage.responder.asked) is (way == "http-01")
    assert bool(stage.alpn.asked) is (way == "tls-alpn-01")


def test_way_that_the_preflight_finds_dead_costs_nothing_at_the_ca(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    assert attempt(upkeep).result is not None
    assert taken(upkeep) == {SITE: "http-01"}
    stage.responder.unhelpful.add(SITE)
    renewed = attempt(upkeep)
    assert renewed.result is not None
    assert renewed.findings == (), "the way that is taken has none"
    assert taken(upkeep) == {SITE: "tls-alpn-01"}
    (way,) = state_of(upkeep).ways
    assert "not http-01" in way.why
    stage.responder.unhelpful.clear()
    stage.alpn.unhelpful.add(SITE)
    assert attempt(upkeep).result is not None
    assert taken(upkeep) == {SITE: "http-01"}
    assert (stage.pebble.orders(), failed_validations(upkeep)) == (3, 0)


def test_way_that_only_the_ca_finds_dead_gives_way_in_the_same_attempt(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    assert attempt(upkeep).result is not None
    stage.responder.blocked.add(SITE)
    assert attempt(upkeep).result is not None
    assert taken(upkeep) == {SITE: "tls-alpn-01"}
    assert (stage.version(SITE), stage.pebble.orders(), failed_validations(upkeep)) == (2, 3, 1)
    # The next renewals begin with the way that works, though http-01 looks open from here.
    assert attempt(upkeep).result is not None
    assert (stage.pebble.orders(), failed_validations(upkeep)) == (4, 1)
    # That one dies too, and the first has come back.
    stage.responder.blocked.clear()
    stage.alpn.unhelpful.add(SITE)
    assert attempt(upkeep).result is not None
    assert taken(upkeep) == {SITE: "http-01"}
    assert state_of(upkeep).failed_ways == ()
    assert failed_validations(upkeep) == 1


def test_memory_of_failed_ways_outlives_a_restart(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    stage.responder.blocked.add(SITE)
    assert attempt(upkeep).result is not None
    again = stage.probing_upkeep()
    try:
        assert taken(again) == {SITE: "tls-alpn-01"}
        assert attempt(again).result is not None
        assert failed_validations(again) == 1
    finally:
        again.stop()


def test_each_name_of_a_site_takes_its_own_way(stage: Scene, upkeep: Upkeep) -> None:
    other = f"b.{SITE}"
    stage.add(SITE, other)
    stage.responder.unhelpful.add(other)
    assert attempt(upkeep).result is not None
    assert taken(upkeep) == {SITE: "http-01", other: "tls-alpn-01"}
    assert failed_validations(upkeep, other) == 0


def test_both_ways_dead_fail_the_attempt_and_one_validation_is_spent_per_further_attempt(
    stage: Scene, upkeep: Upkeep
) -> None:
    stage.add(SITE)
    stage.responder.blocked.add(SITE)
    stage.alpn.blocked.add(SITE)
    failed = attempt(upkeep)
    assert failed.failure is not None
    assert failed.failure.names == (SITE,)
    assert [each.way for each in state_of(upkeep).failed_ways] == ["http-01", "tls-alpn-01"]
    assert failed_validations(upkeep) == 2
    assert attempt(upkeep).failure is not None
    assert failed_validations(upkeep) == 3
    assert state_of(upkeep).failures == 2
    stage.responder.blocked.clear()
    for _ in range(2):
        if attempt(upkeep).result is not None:
            break
    assert taken(upkeep) == {SITE: "http-01"}
    assert state_of(upkeep).failures == 0


def test_limit_of_failed_validations_stops_the_search_for_a_way(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    stage.responder.blocked.add(SITE)
    context = upkeep.maintenance.context
    with context.memory.ledger(context.cas[0]) as ledger:
        for _ in range(59):
            ledger.note_failed(SITE, stage.clock())
    failed = attempt(upkeep)
    assert failed.failure is not None
    assert failed.failure.cause is Cause.WRONG_ANSWER
    assert (stage.pebble.orders(), failed_validations(upkeep)) == (1, 60)
    assert taken(upkeep) == {SITE: "tls-alpn-01"}, "it comes next"
    held = attempt(upkeep)
    assert held.hold is not None
    stage.clock.forward(hours=1, seconds=1)
    assert attempt(upkeep).result is not None
    assert failed_validations(upkeep) <= 60


def test_name_that_has_a_way_left_is_not_left_out(stage: Scene, upkeep: Upkeep) -> None:
    other = f"b.{SITE}"
    stage.add(SITE, other)
    stage.responder.blocked.add(other)
    context = upkeep.maintenance.context
    with context.memory.ledger(context.cas[0]) as ledger:
        for _ in range(59):
            ledger.note_failed(other, stage.clock())
    failed = attempt(upkeep)
    assert failed.failure is not None
    assert state_of(upkeep).failed_names == (other,), "it would be left out, were there no other way"
    stage.clock.forward(hours=1, seconds=1)
    renewed = attempt(upkeep)
    assert renewed.order is not None
    assert (renewed.order.names, renewed.order.left_out) == ((SITE, other), ())
    assert taken(upkeep) == {SITE: "http-01", other: "tls-alpn-01"}


def test_setting_of_a_site_keeps_other_ways_out(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE, challenges=["http-01"])
    stage.responder.blocked.add(SITE)
    assert attempt(upkeep).failure is not None
    assert stage.alpn.asked == []
    stage.writer.set_site(SITE, {"challenges": ["tls-alpn-01", "http-01"]})
    assert attempt(upkeep).result is not None
    assert taken(upkeep) == {SITE: "tls-alpn-01"}


def test_edge_without_https_says_what_tls_alpn_01_needs(tmp_path: Path) -> None:
    with scene(tmp_path, challenges=["tls-alpn-01"]) as stage:
        upkeep = stage.probing_upkeep()
        try:
            stage.add(SITE)
            failure = attempt(upkeep).failure
        finally:
            upkeep.stop()
        assert failure is not None
        assert failure.cause is Cause.SETTINGS
        assert "no https listener" in failure.detail
        assert "https" in failure.remedy
        assert stage.pebble.orders() == 0


# With a zone that takes updates: three ways


@pytest.fixture
def bind() -> Iterator[Bind]:
    """Its zone says of itself that it is served where nobody is asked, so what the resolver says of it counts."""
    addresses = ["@ A 127.0.0.1", "www A 127.0.0.1"]
    # The zone above is asked for CAA records.
    with Bind({SITE: addresses, "test": []}, server_address="10.255.255.1") as running:
        yield running


@pytest.fixture
def zoned(tmp_path: Path, bind: Bind) -> Iterator[Scene]:
    dns = {"rfc2136": {"server": bind.address, "tsig_secret_file": str(bind.key_file)}}
    with scene(tmp_path, has_https=True, dns_server=bind.address, dns=dns) as made:
        yield made
        assert made.tokens() == []
        assert bind.texts(f"_acme-challenge.{SITE}") == set()


@pytest.fixture
def zoned_upkeep(zoned: Scene) -> Iterator[Upkeep]:
    upkeep = zoned.probing_upkeep()
    try:
        yield upkeep
    finally:
        upkeep.stop()


def test_site_is_ordered_for_and_renewed_over_dns_alone(zoned: Scene) -> None:
    order_and_renew_by(zoned, "dns-01")
    assert not zoned.responder.asked
    assert not zoned.alpn.asked


def test_way_dies_after_way_between_renewals(zoned: Scene, zoned_upkeep: Upkeep) -> None:
    zoned.add(SITE)
    course = []
    for dead in ([], ["http-01"], ["http-01", "tls-alpn-01"], ["tls-alpn-01"]):
        zoned.responder.unhelpful = {SITE} if "http-01" in dead else set()
        zoned.alpn.unhelpful = {SITE} if "tls-alpn-01" in dead else set()
        assert attempt(zoned_upkeep).result is not None
        course.append(taken(zoned_upkeep)[SITE])
    assert course == ["http-01", "tls-alpn-01", "dns-01", "http-01"]
    assert failed_validations(zoned_upkeep) == 0


def test_two_ways_that_only_the_ca_finds_dead_lead_to_the_third_in_one_attempt(
    zoned: Scene, zoned_upkeep: Upkeep
) -> None:
    zoned.add(SITE)
    zoned.responder.blocked.add(SITE)
    zoned.alpn.blocked.add(SITE)
    assert attempt(zoned_upkeep).result is not None
    assert taken(zoned_upkeep) == {SITE: "dns-01"}
    assert (zoned.pebble.orders(), failed_validations(zoned_upkeep)) == (3, 2)
    assert attempt(zoned_upkeep).result is not None
    assert (zoned.pebble.orders(), failed_validations(zoned_upkeep)) == (4, 2)


def test_wildcard_takes_dns_while_its_neighbours_take_the_first_way(zoned: Scene, zoned_upkeep: Upkeep) -> None:
    zoned.add(SITE, f"*.{SITE}")
    assert attempt(zoned_upkeep).result is not None
    assert taken(zoned_upkeep) == {SITE: "http-01", f"*.{SITE}": "dns-01"}
    live = zoned.writer.live_version(SITE)
    assert live is not None
    assert set(live.dns_names) == {SITE, f"*.{SITE}"}
    # The host's port closes: both are proven by two records of one name.
    zoned.responder.unhelpful.add(SITE)
    zoned.alpn.unhelpful.add(SITE)
    assert attempt(zoned_upkeep).result is not None
    assert set(taken(zoned_upkeep).values()) == {"dns-01"}


def test_wildcard_without_dns_is_left_out_and_the_state_says_what_is_missing(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE, f"*.{SITE}")
    attempted = attempt(upkeep)
    assert attempted.result is not None
    assert attempted.order is not None
    assert attempted.order.left_out == (f"*.{SITE}",)
    (finding,) = (each for each in attempted.findings if each.name == f"*.{SITE}")
    assert (finding.code, finding.severity) == ("challenge_not_set_up", Severity.FATAL)
    assert "acme.dns" in finding.remedy
    assert taken(upkeep) == {SITE: "http-01", f"*.{SITE}": ""}
