import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from certstore.model.notify.due_notices import Notice, NoticeKind, Told, day_of, plan_notices
from certstore.model.notify.standing_problems import Standing, StandingProblem
from certstore.model.notify.warnings import Matter, MatterKind, stalled

NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ADMIN = "admin@example.org"


def matter(kind: MatterKind, site: str = "a.test", since: datetime = NOON - 2 * DAY, **rest: object) -> Matter:
    return Matter(site, kind, "e1", since, (site,), not_after=NOON + 3 * DAY, **rest)  # type: ignore[arg-type]


def plan(*matters: Matter, told: Told | None = None, now: datetime = NOON) -> list[Notice]:
    return plan_notices([(each, (ADMIN,)) for each in matters], {ADMIN: told} if told else {}, now)


def test_no_matter_is_no_notice() -> None:
    assert plan() == []


def test_day_begins_at_six() -> None:
    midnight = datetime(2027, 3, 10, tzinfo=UTC)
    assert day_of(midnight + 5 * HOUR) == (midnight - DAY).date()
    assert day_of(midnight + 6 * HOUR) == midnight.date()


@pytest.mark.parametrize("kind", [MatterKind.FAILING, MatterKind.DEGRADED])
def test_notice_is_sent_once_per_episode(kind: MatterKind) -> None:
    first = plan(matter(kind))
    assert [mail.kind for mail in first] == [NoticeKind.NOTICE]
    for days in (0, 1, 30):
        assert plan(matter(kind), told=first[0].told, now=NOON + days * DAY) == []


@pytest.mark.parametrize("kind", [MatterKind.EXPIRING, MatterKind.STALLED])
def test_daily_matters_are_reported_once_every_day(kind: MatterKind) -> None:
    told = None
    sent = []
    for hours in range(0, 72, 2):
        for mail in plan(matter(kind), told=told, now=NOON + hours * HOUR):
            sent.append(hours)
            told = mail.told
    assert sent == [0, 18, 42, 66], "at once on the first day, then when each day begins"


def test_certificate_whose_last_days_begin_at_noon_waits_for_the_next_morning() -> None:
    fresh = matter(MatterKind.EXPIRING, since=NOON)
    assert plan(fresh) == []
    assert len(plan(fresh, now=NOON + 18 * HOUR)) == 1
    assert len(plan(matter(MatterKind.EXPIRING, since=NOON, is_hasty=True))) == 1
    assert len(plan(matter(MatterKind.EXPIRED, since=NOON))) == 1


def test_certificate_long_expired_is_no_longer_reported_and_not_called_resolved() -> None:
    old = matter(MatterKind.EXPIRED, until=NOON)
    told = plan(old, now=NOON - HOUR)[0].told
    assert plan(old, told=told, now=NOON + DAY) == []


MINUTE = timedelta(minutes=1)


def notices(*matters: Matter, minutes: range) -> list[tuple[int, list[str]]]:
    """The minutes after NOON at which a recipient who keeps up gets a notice, and the sites in each."""
    told, sent = None, []
    for minute in minutes:
        now = NOON + minute * MINUTE
        known = [each for each in matters if (each.arose or each.since) <= now]
        for notice in plan(*known, told=told, now=now):
            told = notice.told
            sent.append((minute, [each.site for each in notice.matters]))
    return sent


def arising(minute: int, site: str, kind: MatterKind = MatterKind.FAILING) -> Matter:
    return matter(kind, site, since=NOON - DAY, arose=NOON + minute * MINUTE)


def test_what_arises_within_ten_minutes_is_one_notice() -> None:
    storm = [arising(minute, f"s{minute}.test") for minute in range(10)]
    assert notices(*storm, minutes=range(300)) == [(10, [each.site for each in storm])]


def test_after_a_notice_the_next_one_comes_an_hour_later() -> None:
    storm = [arising(minute, f"s{minute:03}.test") for minute in range(0, 240, 5)]
    sent = notices(*storm, minutes=range(600))
    assert [minute for minute, _ in sent] == [10, 70, 130, 190, 250]
    assert sorted(site for _, sites in sent for site in sites) == [each.site for each in storm], "each site once"


def test_lone_matter_hours_later_waits_only_its_ten_minutes() -> None:
    sent = notices(arising(0, "a.test"), arising(200, "b.test"), minutes=range(300))
    assert sent == [(10, ["a.test"]), (210, ["b.test"])]


def test_lost_name_is_bundled_with_failures() -> None:
    lost, failing = arising(3, "a.test", MatterKind.DEGRADED), arising(0, "b.test")
    assert notices(lost, failing, minutes=range(100)) == [(10, ["a.test", "b.test"])]


def test_clock_that_was_set_back_does_not_silence_notices() -> None:
    told = plan(matter(MatterKind.FAILING), now=NOON + 30 * DAY)[0].told
    both = (matter(MatterKind.FAILING), matter(MatterKind.FAILING, "b.test"))
    assert len(plan(*both, told=told)) == 1


def test_notices_of_one_day_have_different_ids() -> None:
    first = plan(matter(MatterKind.FAILING))[0]
    both = (matter(MatterKind.FAILING), matter(MatterKind.FAILING, "b.test"))
    second = plan(*both, told=first.told, now=NOON + HOUR)[0]
    assert [each.site for each in second.matters] == ["b.test"], "only what is new"
    again = plan(*both, told=first.told, now=NOON + HOUR + MINUTE)[0]
    assert first.id_of("edge.test") != second.id_of("edge.test") == again.id_of("edge.test")


def test_what_an_older_release_kept_is_read() -> None:
    told = Told.from_json({"days": {"notice": "2027-03-10"}, "marks": {"a.test": "failing e1"}, "hosts": {}})
    assert told.noticed_at is None
    assert plan(matter(MatterKind.FAILING), told=told) == []


def test_digest_has_all_sites_the_most_urgent_first() -> None:
    late = Matter("late.test", MatterKind.EXPIRING, "e", NOON - DAY, ("late.test",), not_after=NOON + 4 * DAY)
    soon = Matter("soon.test", MatterKind.EXPIRING, "e", NOON - DAY, ("soon.test",), not_after=NOON + DAY)
    assert [each.site for each in plan(late, soon)[0].matters] == ["soon.test", "late.test"]


def test_daily_mail_goes_before_the_notice_and_both_on_one_day() -> None:
    first = plan(matter(MatterKind.EXPIRING), matter(MatterKind.FAILING, "b.test"))
    assert [mail.kind for mail in first] == [NoticeKind.DAILY]
    second = plan(matter(MatterKind.EXPIRING), matter(MatterKind.FAILING, "b.test"), told=first[0].told)
    assert [mail.kind for mail in second] == [NoticeKind.NOTICE]


def test_resolution_is_reported_once_with_the_host() -> None:
    told = plan(matter(MatterKind.FAILING))[0].told
    over = plan(told=told, now=NOON + HOUR)
    assert [(mail.kind, mail.resolved) for mail in over] == [(NoticeKind.RESOLVED, ("a.test",))]
    assert plan(told=over[0].told, now=NOON + 2 * DAY) == []


def test_resolution_names_what_was_reported() -> None:
    told = plan(matter(MatterKind.FAILING))[0].told
    both = plan(told=told, now=NOON)
    assert both[0].resolved == ("a.test",)


def test_matter_that_grows_graver_is_not_resolved_in_between() -> None:
    told = plan(matter(MatterKind.FAILING))[0].told
    later = plan(matter(MatterKind.EXPIRING), told=told, now=NOON + DAY)
    assert [mail.kind for mail in later] == [NoticeKind.DAILY]


def test_mail_that_is_planned_again_after_a_kill_has_the_same_id() -> None:
    one = plan(matter(MatterKind.FAILING))[0]
    again = plan(matter(MatterKind.FAILING), now=NOON + HOUR)[0]
    assert one.id_of("edge.test") == again.id_of("edge.test")
    tomorrow = plan(matter(MatterKind.FAILING), now=NOON + DAY)[0]
    assert tomorrow.id_of("edge.test") != one.id_of("edge.test")
    other = plan_notices([(matter(MatterKind.FAILING), ("b@example.org",))], {}, NOON)[0]
    assert other.id_of("edge.test") != one.id_of("edge.test")
    assert one.id_of("other.test") != one.id_of("edge.test"), "two edges may warn the same recipient"


def test_what_was_told_survives_json() -> None:
    told = plan(matter(MatterKind.FAILING))[0].told
    assert Told.from_json(json.loads(json.dumps(told.to_json()))) == told


def problem(code: str = "disk_full", since: datetime = NOON - 10 * MINUTE) -> StandingProblem:
    return StandingProblem(code, code, "details", since)


def plan_problems(
    *problems: StandingProblem,
    told: Told | None = None,
    now: datetime = NOON,
    lapsed: tuple[str, ...] = (),
    matters: tuple[Matter, ...] = (),
) -> list[Notice]:
    return plan_notices(
        [(each, (ADMIN, "tenant@example.org")) for each in matters],
        {ADMIN: told} if told else {},
        now,
        standing=Standing(problems, frozenset(lapsed)),
        operators=[ADMIN],
    )


def test_problem_of_the_service_is_told_after_ten_minutes_then_daily_and_then_it_is_over() -> None:
    told, sent = None, []
    for minute in range(0, 3 * 24 * 60, 5):
        now = NOON + minute * MINUTE
        there = (problem(since=NOON),) if minute < 2 * 24 * 60 else ()
        for notice in plan_problems(*there, told=told, now=now):
            told = notice.told
            sent.append((minute, notice.kind.value, [each.key for each in notice.problems], notice.resolved_problems))
    full = ["disk_full"]
    assert sent == [
        (10, "notice", full, ()),
        (18 * 60, "daily", full, ()),
        (42 * 60, "daily", full, ()),
        (48 * 60, "resolved", [], ("the disk is full",)),
    ]


def test_problems_that_arise_together_are_in_one_notice_and_a_new_one_is_not() -> None:
    first, second, third = (
        problem(since=NOON),
        problem("no_workers", NOON + 4 * MINUTE),
        problem("x", NOON + 9 * MINUTE),
    )
    (notice,) = plan_problems(first, second, third, now=NOON + 10 * MINUTE)
    assert [each.key for each in notice.problems] == ["disk_full", "no_workers"]
    assert plan_problems(first, second, third, told=notice.told, now=NOON + 69 * MINUTE) == []
    (later,) = plan_problems(first, second, third, told=notice.told, now=NOON + 70 * MINUTE)
    assert [each.key for each in later.problems] == ["disk_full", "no_workers", "x"], "all that stand"


def test_problems_of_the_service_are_never_told_to_a_contact_of_a_site() -> None:
    both = plan_problems(problem(), matters=(matter(MatterKind.FAILING),))
    assert {each.recipient: [one.key for one in each.problems] for each in both} == {
        ADMIN: ["disk_full"], "tenant@example.org": [],
    }  # fmt: skip


def test_problem_that_comes_and_goes_brings_at_most_a_notice_an_hour() -> None:
    """Away for as long as it takes to be over, and back for as long as it takes to be told."""
    told, sent = None, list[datetime]()
    for minute in range(5 * 24 * 60):
        now = NOON + minute * MINUTE
        begun = NOON + minute // 24 * 24 * MINUTE
        there = (problem(since=begun),) if minute % 24 < 12 else ()
        for notice in plan_problems(*there, told=told, now=now):
            told = notice.told
            sent.append(now)
    assert all(after - before >= HOUR for before, after in pairwise(sent))
    assert 5 < len(sent) <= 5 * 24


@pytest.mark.parametrize("seconds", [-40, 40])
def test_problem_that_another_node_found_a_little_earlier_or_later_is_not_told_again(seconds: int) -> None:
    told = plan_problems(problem())[0].told
    found = problem(since=NOON - 10 * MINUTE + timedelta(seconds=seconds))
    assert plan_problems(found, told=told, now=NOON + 2 * HOUR) == []
    anew = problem(since=NOON + 30 * MINUTE)
    assert len(plan_problems(anew, told=told, now=NOON + 2 * HOUR)) == 1


def test_problem_that_lapsed_is_not_called_over() -> None:
    told = plan_problems(problem())[0].told
    assert plan_problems(told=told, now=NOON + 2 * HOUR, lapsed=("disk_full",)) == []
    assert len(plan_problems(told=told, now=NOON + 2 * HOUR)) == 1


def test_daily_notice_about_the_service_leaves_room_for_one_about_sites() -> None:
    told = plan_problems(problem())[0].told
    morning = NOON + 18 * HOUR
    (again,) = plan_problems(problem(), told=told, now=morning)
    (expired,) = plan_problems(
        problem(), told=again.told, now=morning + 2 * HOUR, matters=(matter(MatterKind.EXPIRED),)
    )[:1]
    assert (again.kind, expired.kind) == (NoticeKind.DAILY, NoticeKind.DAILY)
    assert again.id_of("edge.test") != expired.id_of("edge.test")


def test_two_nodes_of_one_edge_have_ids_of_their_own() -> None:
    (notice,) = plan_problems(problem())
    ids = {replace(notice, node=node).id_of("edge.test") for node in (None, "", "a", "b")}
    assert len(ids) == 4


def test_maintenance_that_runs_again_is_named_in_the_resolution() -> None:
    told = plan(stalled(NOON - HOUR))[0].told
    (over,) = plan(told=told, now=NOON + HOUR)
    assert (over.resolved, over.resolved_problems) == ((), ("certificate maintenance has stopped",))


def test_problems_that_were_told_survive_json() -> None:
    told = plan_problems(problem())[0].told
    assert Told.from_json(json.loads(json.dumps(told.to_json()))) == told
