from datetime import UTC, datetime, timedelta

from certstore.model.renewal.choice import NameChoice
from certstore.model.renewal.preflight_facts import CannotProve
from certstore.model.renewal.state import FRESH, RenewalState
from certstore.model.renewal.ways import NameWay, WayFailure
from certstore.renewal.attempt_ways import AttemptWays

HTTP, TLS, DNS = TYPES = ("http-01", "tls-alpn-01", "dns-01")
NOW = datetime(2027, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ways_of(state: RenewalState = FRESH, *choices: NameChoice, now: datetime = NOW) -> AttemptWays:
    ways = AttemptWays(TYPES, state, lambda: now)
    ways.choose(choices or [NameChoice("a.test", TYPES, "http-01 is open")])
    return ways


def failing(*failed: str, since: datetime = NOW - HOUR) -> RenewalState:
    """In a row of failures that began then, with one failure of each of these ways at its start."""
    marks = tuple(WayFailure("a.test", way, since) for way in failed)
    return RenewalState(failures=1, failing_since=since, failed_ways=marks)


def test_first_order_takes_the_ways_as_they_were_chosen() -> None:
    assert ways_of().of_order == {"a.test": TYPES}


def test_each_failure_at_the_ca_moves_on_to_the_next_way_until_none_is_left() -> None:
    ways = ways_of()
    taken = []
    while True:
        way = ways.of_order["a.test"][0]
        taken.append(way)
        ways.note_failed("a.test", way)
        if not ways.may_go_on(["a.test"]):
            break
    assert taken == list(TYPES)


def test_ways_that_failed_earlier_in_the_row_are_not_tried_again_in_the_same_attempt() -> None:
    ways = ways_of(failing(HTTP), NameChoice("a.test", (TLS, HTTP), ""))
    ways.note_failed("a.test", TLS)
    assert not ways.may_go_on(["a.test"])


def test_way_that_failed_before_the_last_success_may_be_tried_again() -> None:
    state = RenewalState(failed_ways=(WayFailure("a.test", HTTP, NOW - HOUR, is_past=True),))
    ways = ways_of(state, NameChoice("a.test", (TLS, HTTP), ""))
    ways.note_failed("a.test", TLS)
    assert ways.may_go_on(["a.test"])
    assert ways.of_order["a.test"] == (HTTP, TLS)


def test_order_is_repeated_only_if_every_name_at_fault_has_another_way() -> None:
    choices = NameChoice("a.test", (HTTP, TLS), ""), NameChoice("b.test", (HTTP,), "")
    ways = ways_of(FRESH, *choices)
    ways.note_failed("a.test", HTTP)
    assert ways.may_go_on(["a.test"])
    ways.note_failed("b.test", HTTP)
    assert not ways.may_go_on(["a.test", "b.test"])


def test_failure_that_is_no_failed_validation_is_no_reason_to_go_on() -> None:
    ways = ways_of()
    assert not ways.may_go_on([])
    assert not ways.may_go_on(["a.test"]), "the CA refused the name, and not a proof"


def test_order_whose_proof_takes_minutes_is_slow() -> None:
    by_dns = NameChoice("*.a.test", (DNS,), "")
    assert ways_of(FRESH, NameChoice("a.test", (HTTP, DNS), ""), by_dns).is_slow
    assert not ways_of(FRESH, NameChoice("a.test", (HTTP, DNS), ""), NameChoice("b.test", (), "")).is_slow


def test_preflight_is_told_what_failed_the_latest_last() -> None:
    marks = (WayFailure("a.test", TLS, NOW), WayFailure("a.test", HTTP, NOW - HOUR))
    ways = ways_of(RenewalState(failed_ways=marks))
    assert ways.wanted.of("a.test") == (DNS, HTTP, TLS)
    assert ways.wanted.of("b.test") == TYPES


def test_state_says_how_each_name_was_proven_and_why() -> None:
    choices = (
        NameChoice("a.test", (HTTP, TLS), "http-01 is open"),
        NameChoice("b.test", (HTTP, TLS), "http-01 is open"),
        NameChoice("c.test", (), "no way: http-01 (closed)", last_resort=(HTTP,)),
    )
    ways = ways_of(FRESH, *choices)
    ways.note_proven("a.test", HTTP)
    ways.note_failed("b.test", HTTP)
    ways.note_proven("b.test", TLS)
    state = ways.settle(FRESH)
    assert state.ways == (
        NameWay("a.test", HTTP, "http-01 is open"),
        NameWay("b.test", TLS, "proven by tls-alpn-01, as http-01 did not work"),
        NameWay("c.test", "", "no way: http-01 (closed)"),
    )
    assert state.failed_ways == (WayFailure("b.test", HTTP, NOW),)
    later = state.after_success(NOW)
    assert later.ways == state.ways
    assert later.failed_ways == (WayFailure("b.test", HTTP, NOW, is_past=True),), "they outlast the success"


def test_state_after_a_failure_says_what_comes_next() -> None:
    ways = ways_of()
    ways.note_failed("a.test", HTTP)
    assert ways.settle(FRESH).ways == (NameWay("a.test", TLS, "http-01 failed at the CA"),)
    for way in (TLS, DNS):
        ways.note_failed("a.test", way)
    (taken,) = ways.settle(FRESH).ways
    assert taken.why == "dns-01 failed at the CA, like all others"


def test_proof_by_a_way_ends_its_failure_and_gone_names_are_forgotten() -> None:
    marks = (WayFailure("a.test", HTTP, NOW), WayFailure("a.test", TLS, NOW), WayFailure("gone.test", HTTP, NOW))
    ways = ways_of(RenewalState(failed_ways=marks))
    ways.note_proven("a.test", HTTP)
    assert ways.settle(FRESH).failed_ways == (WayFailure("a.test", TLS, NOW),)


def test_attempt_that_ends_before_its_preflight_changes_nothing() -> None:
    state = failing(HTTP)
    assert AttemptWays(TYPES, state, lambda: NOW).settle(state) is state


def test_ways_that_a_site_must_not_use_are_told_to_the_preflight() -> None:
    barred = {DNS: CannotProve("no administrator has named the site", "adopt it")}
    ways = AttemptWays(TYPES, FRESH, lambda: NOW, barred)
    assert (ways.wanted.types, ways.wanted.barred) == (TYPES, barred)
