from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.renewal.rate_limits import (
    LETS_ENCRYPT,
    OTHER,
    Ledger,
    Limit,
    PlannedOrder,
    limits_of,
    registered_domain,
)

NOW = datetime(2027, 3, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ORDER = PlannedOrder(("a.test",))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(LETS_ENCRYPT)


def test_there_is_room_at_first(ledger: Ledger) -> None:
    assert ledger.find_hold(ORDER, NOW) is None


def test_orders_are_held_before_the_limit_and_people_get_what_is_spared(ledger: Ledger) -> None:
    for number in range(270):
        assert ledger.find_hold(ORDER, NOW) is None, number
        ledger.note_order(NOW + number * timedelta(seconds=1))
    hold = ledger.find_hold(ORDER, NOW + 5 * MINUTE)
    assert hold is not None
    assert (hold.limit, hold.until) == (Limit.ORDERS, NOW + 3 * HOUR)
    asked = PlannedOrder(("a.test",), has_priority=True)
    for _ in range(30):
        assert ledger.find_hold(asked, NOW + 5 * MINUTE) is None
        ledger.note_order(NOW + 5 * MINUTE)
    assert ledger.find_hold(asked, NOW + 5 * MINUTE) is not None
    assert ledger.find_hold(ORDER, NOW + 3 * HOUR + 6 * MINUTE) is None


def test_endangered_renewal_is_not_held_by_limits_it_is_exempt_from(ledger: Ledger) -> None:
    for _ in range(400):
        ledger.note_order(NOW)
        ledger.note_certificate(["x.a.test"], NOW)
    assert ledger.find_hold(PlannedOrder(("a.test",), is_renewal=True, has_priority=True), NOW) is None
    assert ledger.find_hold(PlannedOrder(("a.test",), has_priority=True), NOW) is not None


def test_same_names_get_five_certificates_a_week_whatever_their_order(ledger: Ledger) -> None:
    for names in (["a.test", "b.test"], ["b.test", "a.test"]) * 2:
        ledger.note_certificate(names, NOW)
    renewal = PlannedOrder(("a.test", "b.test"), is_renewal=True)
    assert ledger.find_hold(renewal, NOW) is None
    ledger.note_certificate(["a.test", "b.test"], NOW + DAY)
    hold = ledger.find_hold(renewal, NOW + DAY)
    assert hold is not None
    assert (hold.limit, hold.until) == (Limit.EXACT_SET, NOW + 7 * DAY)
    assert "exactly these names" in hold.message
    assert ledger.find_hold(PlannedOrder(("a.test",)), NOW + DAY) is None


def test_replacement_by_renewal_info_is_exempt_from_every_limit(ledger: Ledger) -> None:
    for _ in range(9):
        ledger.note_certificate(["a.test"], NOW)
        ledger.note_failed("a.test", NOW)
    assert ledger.find_hold(ORDER, NOW) is not None
    assert ledger.find_hold(PlannedOrder(("a.test",), is_renewal=True, is_replacement=True), NOW) is None


def test_new_certificates_below_one_registered_domain_are_counted_together(ledger: Ledger) -> None:
    for number in range(50):
        ledger.note_certificate([f"mail{number}.client.co.uk"], NOW)
    hold = ledger.find_hold(PlannedOrder(("new.client.co.uk",)), NOW)
    assert hold is not None
    assert hold.limit is Limit.DOMAIN
    assert "client.co.uk" in hold.message
    assert ledger.find_hold(PlannedOrder(("new.other.co.uk",)), NOW) is None
    assert ledger.find_hold(PlannedOrder(("mail1.client.co.uk",), is_renewal=True), NOW) is None


def test_name_that_failed_five_times_in_an_hour_is_left_alone(ledger: Ledger) -> None:
    for minute in range(5):
        ledger.note_failed("a.test", NOW + minute * MINUTE)
    hold = ledger.find_hold(PlannedOrder(("b.test", "a.test")), NOW + 5 * MINUTE)
    assert hold is not None
    assert (hold.limit, hold.until) == (Limit.FAILED, NOW + HOUR)
    assert ledger.find_hold(PlannedOrder(("b.test",)), NOW + 5 * MINUTE) is None
    assert ledger.find_hold(ORDER, NOW + HOUR) is None


def test_longest_hold_counts(ledger: Ledger) -> None:
    for _ in range(5):
        ledger.note_failed("a.test", NOW)
        ledger.note_certificate(["a.test"], NOW)
    hold = ledger.find_hold(ORDER, NOW)
    assert hold is not None
    assert hold.limit is Limit.EXACT_SET


def test_new_accounts_are_counted(ledger: Ledger) -> None:
    for _ in range(10):
        assert ledger.find_account_hold(NOW) is None
        ledger.note_account(NOW)
    assert ledger.find_account_hold(NOW) is not None


def test_each_change_is_kept_and_a_ledger_made_from_what_was_kept_is_the_same() -> None:
    kept: dict[str, list[float]] = {}
    ledger = Ledger(LETS_ENCRYPT, keep=kept.__setitem__)
    ledger.note_order(NOW)
    ledger.note_order(NOW + 4 * HOUR)
    ledger.note_failed("a.test", NOW)
    ledger.note_certificate(["a.test"], NOW)
    assert kept["orders:"] == [(NOW + 4 * HOUR).timestamp()], "the first is too old for any limit"
    assert {key.partition(":")[0] for key in kept} == {"orders", "failed", "exact_set", "domain"}
    again = Ledger(LETS_ENCRYPT, kept)
    assert {key: again.events(key) for key in kept} == kept


def test_limits_belong_to_the_ca() -> None:
    assert limits_of("acme-v02.api.letsencrypt.org") is LETS_ENCRYPT
    assert limits_of("ca.internal.test") is OTHER
    own = Ledger(OTHER)
    for _ in range(50):
        own.note_certificate(["a.test"], NOW)
    assert own.find_hold(ORDER, NOW) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mail.client.com", "client.com"),
        ("a.b.client.co.uk", "client.co.uk"),
        ("client.com", "client.com"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
        ("x.user.github.io", "user.github.io"),
    ],
)
def test_registered_domain(name: str, expected: str) -> None:
    assert registered_domain(name) == expected


def test_events_that_a_wrong_clock_dated_ahead_hold_nothing_and_keep_the_order_of_the_others(ledger: Ledger) -> None:
    for _ in range(5):
        ledger.note_failed("a.test", NOW + 3650 * DAY)
    assert ledger.find_hold(ORDER, NOW) is None
    for number in range(5):
        ledger.note_failed("a.test", NOW + number * MINUTE)
    hold = ledger.find_hold(ORDER, NOW + 5 * MINUTE)
    assert hold is not None
    assert hold.until == NOW + HOUR
    assert ledger.find_hold(ORDER, NOW + HOUR) is None
    assert ledger.events("failed:a.test") == sorted(ledger.events("failed:a.test"))
