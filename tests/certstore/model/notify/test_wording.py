from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.notify.due_notices import Notice, NoticeKind, Told
from certstore.model.notify.warnings import Matter, MatterKind, stalled
from certstore.model.notify.wording import describe, distance, instant, subject_of
from certstore.model.renewal.failure import REMEDIES, Cause, Failure
from certstore.model.renewal.state import RenewalInfo, RenewalState, SuggestedWindow
from certstore.model.settings.models import Source

NOW = datetime(2026, 12, 1, 8, tzinfo=UTC)
END = datetime(2026, 12, 4, 14, 5, tzinfo=UTC)
FAILING = RenewalState(failures=2, failing_since=NOW, failure=Failure(Cause.CAA, "forbidden"), next_attempt=END)


def matter(kind: MatterKind, **facts: object) -> Matter:
    given = {"names": ("a.test", "b.test"), "not_after": END, "state": FAILING} | facts
    return Matter("site-a", kind, "e", NOW, **given)  # type: ignore[arg-type]


def test_instants_are_easy_to_read() -> None:
    assert instant(END, NOW) == "Friday, 4 December 2026, 14:05 UTC (in 3 days)"
    assert instant(None, NOW) == ""


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (80, "in 3 days"),
        (48, "in 2 days"),
        (47, "in 47 hours"),
        (2, "in 2 hours"),
        (1.5, "in 90 minutes"),
        (0, "now"),
        (-1.99, "119 minutes ago"),
        (-3, "3 hours ago"),
        (-72, "3 days ago"),
    ],
)
def test_distances_in_the_most_useful_unit(hours: float, words: str) -> None:
    assert distance(NOW + timedelta(hours=hours), NOW) == words


@pytest.mark.parametrize(
    ("given", "headline", "remedy"),
    [
        (matter(MatterKind.EXPIRING), "expires on Friday, 4 December 2026", REMEDIES[Cause.CAA]),
        (matter(MatterKind.EXPIRED), "expired on", REMEDIES[Cause.CAA]),
        (matter(MatterKind.FAILING), "can't be renewed", REMEDIES[Cause.CAA]),
        (matter(MatterKind.FAILING, not_after=None), "first certificate can't be issued", REMEDIES[Cause.CAA]),
        (matter(MatterKind.DEGRADED, state=RenewalState(left_out=("b.test",))), "without b.test", "is added again"),
        (matter(MatterKind.EXPIRING, source=Source.FILE), "expires on", "Put a new certificate"),
    ],
    ids=["expiring", "expired", "failing", "first", "degraded", "file"],
)
def test_each_matter_has_a_headline_and_a_remedy(given: Matter, headline: str, remedy: str) -> None:
    item = describe(given, NOW)
    assert headline in item.headline
    assert remedy in item.remedy
    assert item.host == "a.test"


def test_failed_order_is_not_reported_for_a_file() -> None:
    item = describe(matter(MatterKind.EXPIRING, source=Source.FILE), NOW)
    assert (item.cause, item.next_attempt, item.since) == ("", "", "")


def test_reason_for_waiting_and_explanation_of_the_ca_are_shown() -> None:
    window = SuggestedWindow(NOW, END, "https://ca.test/why")
    state = RenewalState(waiting="300 orders in 3 hours", info=RenewalInfo("f", NOW, window))
    item = describe(matter(MatterKind.EXPIRING, state=state), NOW)
    assert (item.cause, item.explanation) == ("300 orders in 3 hours", "https://ca.test/why")


def subject(*matters: Matter, kind: NoticeKind = NoticeKind.DAILY, resolved: tuple[str, ...] = ()) -> str:
    return subject_of(Notice("x", kind, NOW.date(), matters, resolved, Told.nothing()), NOW)


def test_subjects_name_problem_and_sites() -> None:
    assert subject(matter(MatterKind.EXPIRING)) == "Certificate expires in 3 days: a.test"
    assert subject(matter(MatterKind.EXPIRED)) == "Certificate expired: a.test"
    assert subject(matter(MatterKind.FAILING)) == "Certificate can't be renewed: a.test"
    assert subject(matter(MatterKind.FAILING, not_after=None)) == "Certificate can't be issued: a.test"
    assert subject(matter(MatterKind.DEGRADED)) == "Certificate lacks a name: a.test"
    assert subject(stalled(NOW)) == "Certificate maintenance has stopped"
    many = [matter(MatterKind.EXPIRING)] * 5
    assert subject(*many) == "Certificates expire, the first in 3 days: a.test, a.test and 3 more"
    assert subject(kind=NoticeKind.RESOLVED, resolved=("a.test",)) == "Certificate problem resolved: a.test"


def test_subject_names_only_the_sites_with_the_gravest_problem() -> None:
    late = matter(MatterKind.EXPIRED, names=("late.test",))
    assert subject(matter(MatterKind.EXPIRING), late, matter(MatterKind.FAILING)) == "Certificate expired: late.test"
