"""One actor fills no more than its share of the audit log, and hides nobody's actions by trying."""

from datetime import UTC, datetime, timedelta

import pytest

from certstore.people.audit_quota import DONE_MOST, HOUR, REFUSED_MOST, AuditQuota

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def admitted(quota: AuditQuota, who: str, outcome: str, times: int, now: datetime = NOON) -> int:
    return sum(quota.admit(who, "sign_in", outcome, now) == 0 for _ in range(times))


@pytest.mark.parametrize(
    ("outcome", "most"),
    [("done", DONE_MOST), ("started", DONE_MOST)]
    + [(outcome, REFUSED_MOST) for outcome in ("denied", "refused", "failed")],
)
def test_an_hour_has_a_share_for_each_kind_of_outcome(outcome: str, most: int) -> None:
    quota = AuditQuota()
    assert admitted(quota, "nobody", outcome, most + 50) == most
    assert quota.admit("nobody", "sign_in", outcome, NOON) == 51, "the rest is counted"
    (surplus,) = quota.ended(NOON + HOUR)
    assert (surplus.who, surplus.action, surplus.outcome, surplus.number) == ("nobody", "sign_in", outcome, 51)
    assert admitted(quota, "nobody", outcome, 5, NOON + HOUR) == 5, "the next hour begins anew"


def test_refusals_of_one_leave_its_own_actions_and_those_of_others_in_full() -> None:
    quota = AuditQuota()
    admitted(quota, "token a", "denied", 10 * REFUSED_MOST)
    assert admitted(quota, "token a", "done", 100) == 100
    assert admitted(quota, "token b", "denied", REFUSED_MOST) == REFUSED_MOST


def test_nothing_is_kept_of_hours_that_are_over() -> None:
    quota = AuditQuota()
    for number in range(100):
        quota.admit(f"token {number}", "site.view", "denied", NOON)
    assert quota.ended(NOON + timedelta(minutes=59)) == []
    assert quota.ended(NOON + HOUR) == []
    assert quota._hours == {}
