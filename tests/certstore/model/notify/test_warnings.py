from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.notify.warnings import MatterKind, WatchedSite, decide_matter, stalled
from certstore.model.renewal.decision import LiveCertificate, Origin
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.state import FRESH, RenewalState
from certstore.model.settings.models import Source

BORN = datetime(2027, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIVE = LiveCertificate("f" * 64, ("a.test",), BORN, BORN + 90 * DAY, Origin.ACME, "first")
SITE = WatchedSite("a.test", ("a.test", "b.test"), Source.ACME, LIVE, FRESH)


def failing(times: int, cause: Cause = Cause.CA_UNREACHABLE) -> RenewalState:
    return RenewalState(failures=times, failing_since=BORN, failure=Failure(cause, "x"))


@pytest.mark.parametrize(
    ("site", "day", "kind"),
    [
        (SITE, 1, None),
        (SITE, 84.9, None),
        (SITE, 85, MatterKind.EXPIRING),
        (SITE, 90, MatterKind.EXPIRED),
        (SITE, 400, MatterKind.EXPIRED),
        (replace(SITE, source=Source.FILE), 85, MatterKind.EXPIRING),
        (replace(SITE, source=Source.FILE), 84, None),
        (replace(SITE, source=Source.MAIN), 90, None),
        (replace(SITE, live=None), 1, None),
        (replace(SITE, state=failing(1)), 1, None),
        (replace(SITE, state=failing(2)), 1, MatterKind.FAILING),
        (replace(SITE, state=failing(2), live=None), 1, MatterKind.FAILING),
        (replace(SITE, state=failing(1, Cause.TERMS)), 1, MatterKind.FAILING),
        (replace(SITE, state=failing(9)), 86, MatterKind.EXPIRING),
        (replace(SITE, state=failing(9), source=Source.FILE), 1, None),
        (replace(SITE, state=RenewalState(left_out=("b.test",))), 1, MatterKind.DEGRADED),
        (replace(SITE, state=RenewalState(left_out=("gone.test",))), 1, None),
    ],
    ids=[
        "all well",
        "just before the window",
        "window",
        "expired",
        "long expired",
        "a file in its window",
        "a file before its window",
        "site on main",
        "nothing yet",
        "one failure",
        "two failures",
        "two failures of a first order",
        "one failure that only a person can fix",
        "the end is graver than the failure",
        "a state left from before it was a file",
        "a name left out",
        "a name that was removed from the site since",
    ],
)
def test_what_there_is_to_warn_about(site: WatchedSite, day: float, kind: MatterKind | None) -> None:
    matter = decide_matter(site, BORN + day * DAY)
    assert (matter.kind if matter else None) is kind


def test_new_certificate_is_a_new_episode() -> None:
    first = decide_matter(SITE, BORN + 86 * DAY)
    second = decide_matter(replace(SITE, live=replace(LIVE, fingerprint="e" * 64)), BORN + 86 * DAY)
    assert first is not None
    assert second is not None
    assert first.mark != second.mark


def test_stalled_maintenance_is_a_separate_matter() -> None:
    matter = stalled(BORN)
    assert (matter.kind, matter.host, matter.kind.is_daily) == (MatterKind.STALLED, "", True)


def arose(state: RenewalState) -> datetime | None:
    matter = decide_matter(replace(SITE, state=state), BORN + DAY)
    return matter.arose if matter is not None else None


def test_failure_arises_with_the_attempt_that_makes_it_worth_a_notice() -> None:
    failure = Failure(Cause.CA_UNREACHABLE, "x")
    state, attempts = FRESH, [BORN + timedelta(hours=hours) for hours in (0, 2, 6)]
    found = []
    for attempt in attempts:
        state = state.after_failure(failure, attempt, request="r", lifetime=None, fraction=0.5)
        found.append(arose(state))
    assert found == [None, attempts[1], None], "the first is not reported; the third is no news"
    terms = FRESH.after_failure(Failure(Cause.TERMS, "x"), BORN, request="r", lifetime=None, fraction=0.5)
    assert arose(terms) == BORN


def test_lost_name_arises_when_the_certificate_arrives_not_when_its_validity_begins() -> None:
    state = FRESH.after_success(BORN + timedelta(hours=1), left_out=("b.test",))
    assert arose(state) == BORN + timedelta(hours=1)
    assert FRESH.after_success(BORN) == FRESH
