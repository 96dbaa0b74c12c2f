"""Certificates through their whole life on a clock of our own: what is tried and who is told, day by day."""

import itertools
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import pytest

from certstore.model.notify.due_notices import Notice, NoticeKind, day_of
from certstore.model.notify.warnings import MatterKind
from certstore.model.renewal.decision import LiveCertificate, SiteToRenew
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.rate_limits import LETS_ENCRYPT, Limit
from certstore.model.renewal.state import SuggestedWindow
from certstore.model.settings.models import Source
from tests.certstore.model.time_travel import BEGIN, DAY, Behaviour, World, always_up, down_between

QUARTER = timedelta(days=90)
LIFETIMES = [timedelta(days=90), timedelta(days=45), timedelta(hours=160)]
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DOWN = down_between(timedelta(), 1000 * DAY)


def gaps(world: World) -> list[timedelta]:
    """The waits between attempts, to the minute."""
    times = [each.at for each in world.attempts]
    return [timedelta(minutes=round((b - a) / MINUTE)) for a, b in itertools.pairwise(times)]


@pytest.mark.parametrize(("lifetime", "renewed_every"), list(zip(LIFETIMES, [60, 30, 3.33], strict=True)), ids=str)
def test_while_the_ca_works_nobody_is_bothered(lifetime: timedelta, renewed_every: float) -> None:
    world = World(lifetime)
    world.add("a.test")
    world.run(200)
    assert gaps(world) == [pytest.approx(renewed_every * DAY, abs=HOUR)] * (len(world.attempts) - 1)
    assert len(world.attempts) == int(200 / renewed_every)
    assert world.mails == []
    assert world.expired == []


def test_quarter_year_with_the_ca_down_from_the_first_renewal_on() -> None:
    world = World(QUARTER, DOWN)
    world.add("a.test")
    world.run(97)
    assert world.attempts[0].day == pytest.approx(60)
    assert gaps(world)[:3] == [MINUTE, 10 * MINUTE, 100 * MINUTE]
    assert set(gaps(world)[3:]) == {DAY}
    assert world.days_of_mails() == [
        (60, "notice"),
        *[(day, "daily") for day in (85, 86, 87, 88, 89)],
        *[(day, "daily") for day in (90, 91, 92, 93, 94)],
    ]
    before_the_end = [mail for at, mail in world.mails if BEGIN + 85 * DAY < at < BEGIN + 90 * DAY]
    assert [mail.matters[0].kind for mail in before_the_end] == [MatterKind.EXPIRING] * 5


def test_month_and_a_half_with_the_ca_down() -> None:
    world = World(LIFETIMES[1], DOWN)
    world.add("a.test")
    world.run(44.9)
    assert world.attempts[0].day == pytest.approx(30)
    assert world.days_of_mails() == [(30, "notice"), *[(day, "daily") for day in (40, 41, 42, 43, 44)]]


def test_six_days_with_the_ca_down_are_scaled() -> None:
    world = World(LIFETIMES[2], DOWN)
    world.add("a.test")
    world.run(6.6)
    assert world.attempts[0].day == pytest.approx(3.33, abs=0.01)
    assert gaps(world)[:3] == [MINUTE, 10 * MINUTE, 100 * MINUTE]
    assert set(gaps(world)[3:]) == {timedelta(minutes=round(160 * 60 / 30))}
    kinds = [(at - BEGIN, mail.kind.value) for at, mail in world.mails]
    assert [kind for _, kind in kinds] == ["notice", "daily", "daily"]
    assert kinds[1][0] == pytest.approx(LIFETIMES[2] * 5 / 6, abs=HOUR), "told when the window opens, not a day later"


@pytest.mark.parametrize("lifetime", LIFETIMES, ids=str)
def test_outage_that_ends_is_told_once_and_once_that_it_is_over(lifetime: timedelta) -> None:
    first = lifetime * 2 / 3 if lifetime > 10 * DAY else lifetime / 2
    world = World(lifetime, down_between(first - HOUR, first + 8 * HOUR))
    world.add("a.test")
    world.run(lifetime / DAY)
    assert [kind for _, kind in world.days_of_mails()] == ["notice", "resolved"]
    assert world.mails[1][1].resolved == ("a.test",)
    assert world.attempts[-1].failure is None
    assert world.expired == []


def test_single_failure_that_heals_itself_bothers_nobody() -> None:
    world = World(QUARTER, down_between(59 * DAY, 60 * DAY + 30 * timedelta(seconds=1)))
    world.add("a.test")
    world.run(90)
    assert [each.failure is None for each in world.attempts] == [False, True]
    assert world.mails == []


def test_flaky_ca_costs_a_retry_and_no_certificate() -> None:
    turns = Counter[str]()

    def every_other(site: SiteToRenew, names: tuple[str, ...], now: datetime) -> Failure | None:
        turns[site.site] += 1
        return Failure(Cause.CA_ERROR, "500") if turns[site.site] % 2 else None

    for lifetime in LIFETIMES:
        world = World(lifetime, every_other)
        world.add(f"a{lifetime.days}.test")
        world.run(365)
        assert world.expired == []
        assert world.mails == []
        assert {gap for gap in gaps(world) if gap < HOUR} == {MINUTE}


def test_rate_limit_is_waited_out_to_the_minute_the_ca_named() -> None:
    until = BEGIN + 62 * DAY + 5 * HOUR

    def limiting(site: SiteToRenew, names: tuple[str, ...], now: datetime) -> Failure | None:
        return Failure(Cause.RATE_LIMITED, "too many", retry_after=until) if now < until else None

    world = World(QUARTER, limiting)
    world.add("a.test")
    world.run(90)
    assert [each.at for each in world.attempts] == [
        pytest.approx(BEGIN + 60 * DAY, abs=MINUTE),
        pytest.approx(BEGIN + 62 * DAY, abs=MINUTE),
        until,
    ], "asked again after two days at the latest, then when the CA said"
    assert world.attempts[-1].failure is None


def test_paused_name_is_told_at_once_with_its_link_and_tried_on() -> None:
    paused = Failure(Cause.PAUSED, "paused", ("a.test",), link="https://ca.test/unpause")
    world = World(QUARTER, down_between(timedelta(), 70 * DAY, paused))
    world.add("a.test")
    world.run(90)
    at, mail = world.mails[0]
    assert at - world.attempts[0].at <= HOUR
    assert mail.matters[0].state.failure == paused
    assert world.days_of_mails() == [(60, "notice"), (70, "resolved")]
    assert len(world.attempts) < 20


def test_cause_for_a_person_is_told_after_one_attempt_and_an_outage_after_two() -> None:
    for cause, attempts in ((Cause.TERMS, 1), (Cause.CA_UNREACHABLE, 2)):
        world = World(QUARTER, down_between(timedelta(), 1000 * DAY, Failure(cause, "no", retry_after=None)))
        world.add("a.test")
        world.run(60 + (5 * MINUTE) / DAY)
        world.run(1)
        assert len([each for each in world.attempts if each.at < world.mails[0][0]]) >= attempts


def test_second_ca_takes_over_when_the_first_keeps_failing() -> None:
    def first_is_down(site: SiteToRenew, names: tuple[str, ...], now: datetime) -> Failure | None:
        return Failure(Cause.CA_UNREACHABLE, "down") if len(world.attempts) < 3 else None

    world = World(QUARTER, first_is_down, cas=("first", "second"))
    world.add("a.test")
    world.run(61)
    assert [each.ca for each in world.attempts] == ["first", "first", "first", "second"]
    assert world.expired == []


def test_both_cas_get_their_turn_while_both_fail() -> None:
    world = World(QUARTER, DOWN, cas=("first", "second"))
    world.add("a.test")
    world.run(66)
    assert [each.ca for each in world.attempts][:7] == [
        "first", "first", "first", "second", "first", "second", "first",
    ]  # fmt: skip


# --- a certificate of many names ---


def bad_from(day: float, *names: str, until: float = 9999) -> Callable[[datetime], Collection[str]]:
    def fatal(now: datetime) -> Collection[str]:
        return names if BEGIN + day * DAY <= now < BEGIN + until * DAY else ()

    return fatal


def refusing(*bad: str, until: float = 9999) -> Behaviour:
    def behave(site: SiteToRenew, names: tuple[str, ...], now: datetime) -> Failure | None:
        at_fault = tuple(name for name in names if name in bad)
        return Failure(Cause.CONNECTION, "refused", at_fault) if at_fault and now < BEGIN + until * DAY else None

    return behave


def test_bad_additional_name_waits_while_there_is_time_then_goes_and_comes_back() -> None:
    world = World(QUARTER, refusing("b.test", until=88), fatal=bad_from(30, "b.test", until=88))
    world.add("a.test", "b.test")
    world.run(84.9)
    assert world.attempts == [], "a name that can't pass holds the order back, and nothing is wasted on the CA"
    assert world.days_of_mails() == [(60, "notice")]
    world.run(2.1)
    trial, without = world.attempts
    assert trial.names == ("a.test", "b.test"), "one real attempt with every name"
    assert trial.failure is not None
    assert without.names == ("a.test",)
    assert without.failure is None
    assert without.at - trial.at <= 2 * MINUTE
    world.run(2)
    assert world.attempts[2].names == ("a.test", "b.test"), "it passes again and is back"
    assert world.attempts[2].failure is None
    assert world.attempts[2].day == pytest.approx(88, abs=0.1)
    assert [kind for _, kind in world.days_of_mails()][:2] == ["notice", "notice"]
    assert world.days_of_mails()[-1][1] == "resolved"
    assert world.expired == []


def test_preflight_that_is_wrong_does_not_cost_the_name() -> None:
    world = World(QUARTER, always_up, fatal=bad_from(30, "b.test"))
    world.add("a.test", "b.test")
    world.run(90)
    assert [each.names for each in world.attempts] == [("a.test", "b.test")]
    assert world.attempts[0].day == pytest.approx(85, abs=1)
    assert world.expired == []


def test_host_that_fails_is_never_left_out() -> None:
    world = World(QUARTER, refusing("a.test"), fatal=bad_from(30, "a.test"))
    world.add("a.test", "b.test")
    world.run(90)
    assert {each.names for each in world.attempts} == {("a.test", "b.test")}
    assert len(world.attempts) == 1, "one real attempt; then the preflight spares the CA"
    assert world.expired == ["a.test"]


def test_ca_that_is_down_during_the_trial_does_not_cost_a_name() -> None:
    def behave(site: SiteToRenew, names: tuple[str, ...], now: datetime) -> Failure | None:
        return DOWN(site, names, now) if now < BEGIN + 87 * DAY else None

    world = World(QUARTER, behave, fatal=bad_from(30, "b.test"))
    world.add("a.test", "b.test")
    world.run(90)
    assert {each.names for each in world.attempts} == {("a.test", "b.test")}
    assert world.attempts[-1].failure is None


def test_first_certificate_does_without_a_name_that_fails_and_host_is_served_within_minutes() -> None:
    world = World(QUARTER, refusing("b.test"))
    world.add("a.test", "b.test", live=False)
    world.run(1)
    assert [each.names for each in world.attempts][:2] == [("a.test", "b.test"), ("a.test",)]
    assert world.attempts[1].at - BEGIN <= 2 * MINUTE
    assert world.lives["a.test"].state.left_out == ("b.test",)
    assert [kind for _, kind in world.days_of_mails()] == ["notice"]
    assert world.mails[0][1].matters[0].kind is MatterKind.DEGRADED


def test_added_name_is_ordered_at_once_and_keeps_the_old_certificate_while_it_fails() -> None:
    world = World(QUARTER, fatal=bad_from(10, "b.test", until=12))
    world.add("a.test")
    world.run(10)
    world.change_names("a.test", "a.test", "b.test")
    world.run(1)
    assert world.attempts == []
    assert [kind for _, kind in world.days_of_mails()] == ["notice"]
    world.run(2)
    assert [each.names for each in world.attempts] == [("a.test", "b.test")]
    assert world.days_of_mails()[-1][1] == "resolved"


def test_refused_name_costs_the_ca_one_order_a_day() -> None:
    world = World(QUARTER, refusing("b.test"))
    world.add("a.test", "b.test", live=False)
    world.run(30)
    assert len(world.attempts) <= 2 + 31
    assert world.expired == []


# --- files, windows, digests ---


def test_file_that_nobody_replaces_is_warned_of_on_five_days_and_never_ordered() -> None:
    world = World(QUARTER)
    world.add("a.test", source=Source.FILE)
    world.run(89.9)
    assert world.attempts == []
    assert world.days_of_mails() == [(day, "daily") for day in (85, 86, 87, 88, 89)]


def test_site_on_the_main_certificate_is_no_matter() -> None:
    world = World(QUARTER)
    world.add("a.test", source=Source.MAIN)
    world.run(100)
    assert (world.attempts, world.mails) == ([], [])


def test_digest_is_one_mail_however_many_sites_and_contacts_get_their_own() -> None:
    world = World(QUARTER, DOWN)
    for number in range(40):
        world.add(f"s{number}.test", contact=(f"owner{number}@example.org",) if number < 2 else ())
    world.run(89.9)
    assert world.days_of_mails() == [(60, "notice"), *[(day, "daily") for day in (85, 86, 87, 88, 89)]]
    assert all(len(mail.matters) == 40 for _, mail in world.mails if mail.recipient == "admin@example.org")
    assert world.days_of_mails("owner0@example.org") == world.days_of_mails()
    assert {m.site for _, mail in world.mails if mail.recipient == "owner0@example.org" for m in mail.matters} == {
        "s0.test"
    }


def test_daily_mails_come_once_a_day_and_first_warnings_an_hour_apart() -> None:
    world = World(QUARTER, down_between(59 * DAY, 85 * DAY + 8 * HOUR), spread=True)
    for number in range(60):
        world.add(f"s{number}.test")
    world.run(120)
    early = NoticeKind.NOTICE
    sent: Counter[tuple[str, str, object]] = Counter(
        (mail.recipient, mail.kind.value, day_of(at)) for at, mail in world.mails if mail.kind is not early
    )
    assert set(sent.values()) == {1}
    for recipient in {mail.recipient for _, mail in world.mails}:
        times = [at for at, mail in world.mails if mail.kind is early and mail.recipient == recipient]
        assert all(after - before >= HOUR for before, after in itertools.pairwise(times))
    told_of = {site for _, mail in world.mails for site in mail.resolved}
    warned = {matter.site for _, mail in world.mails for matter in mail.matters}
    assert told_of == warned == {f"s{number}.test" for number in range(60)}


def test_message_ids_differ_by_recipient_day_and_kind_only() -> None:
    world = World(QUARTER, DOWN)
    world.add("a.test", contact=("owner@example.org",))
    world.run(89.9)
    mails: list[Notice] = [mail for _, mail in world.mails]
    assert len({mail.id_of("edge.test") for mail in mails}) == len(mails) == 12


def test_window_moves_a_renewal_forward_within_hours() -> None:
    def window(live: LiveCertificate, now: datetime) -> SuggestedWindow:
        revoked = live.fingerprint.endswith("-1") and now >= BEGIN + 20 * DAY
        start = live.not_before if revoked else live.not_before + 50 * DAY
        return SuggestedWindow(start, start + 2 * DAY)

    world = World(QUARTER, window=window)
    world.add("a.test")
    world.run(80)
    assert world.attempts[0].day == pytest.approx(20, abs=0.3), "a mass revocation is heard of within six hours"
    assert world.attempts[1].day == pytest.approx(70, abs=0.5), "and the next one keeps to its window"


def test_window_that_always_lies_in_the_past_is_no_endless_round() -> None:
    world = World(QUARTER, window=lambda live, now: SuggestedWindow(BEGIN - 9 * DAY, BEGIN - 8 * DAY))
    world.add("a.test")
    world.run(10, mails=False)
    assert len(world.attempts) <= 20


@pytest.mark.slow
def test_five_thousand_sites_over_a_year() -> None:
    world = World(QUARTER, spread=True)
    for number in range(5000):
        world.add(f"web.client{number}.test", live=False)
    world.run(365, mails=False)
    assert world.expired == []
    assert all(each.failure is None for each in world.attempts)
    assert len(world.attempts) == pytest.approx(5000 * 6, rel=0.05), "first orders, then one every two months"
    rule = LETS_ENCRYPT[Limit.ORDERS]
    times = [each.at for each in world.attempts]
    assert all(b - a >= rule.period for a, b in zip(times, times[rule.count :], strict=False))
    later = [each.at for each in world.attempts if each.at > BEGIN + 30 * DAY]
    per_hour = Counter((at - BEGIN) // HOUR for at in later)
    assert max(per_hour.values()) <= 100


@pytest.mark.slow
def test_five_thousand_sites_imported_on_one_day_survive_a_week_of_outage() -> None:
    world = World(QUARTER, down_between(60 * DAY, 67 * DAY), spread=True)
    for number in range(5000):
        world.add(f"web.client{number}.test")
    world.run(95, mails=False)
    assert world.expired == []
    assert {life.issued for life in world.lives.values()} == {2}
