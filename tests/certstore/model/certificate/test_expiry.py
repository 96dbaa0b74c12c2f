"""How a certificate stands: a table over lifetimes and instants."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.certificate.expiry import CertificateState, certificate_state, remaining, warning_begins

START = datetime(2026, 11, 1, tzinfo=UTC)


def state_after(lifetime: timedelta, passed: timedelta) -> CertificateState:
    return certificate_state(START, START + lifetime, START + passed)


@pytest.mark.parametrize(
    ("lifetime", "passed", "state"),
    [
        pytest.param({"days": 90}, {"seconds": -1}, "not_yet_valid", id="a second before it begins"),
        pytest.param({"days": 90}, {}, "ok", id="the moment it begins"),
        pytest.param({"days": 90}, {"days": 84, "hours": 23}, "ok", id="more than five days left"),
        pytest.param({"days": 90}, {"days": 85}, "warning", id="five days left"),
        pytest.param({"days": 90}, {"days": 90, "seconds": -1}, "warning", id="a second left"),
        pytest.param({"days": 90}, {"days": 90}, "expired", id="the moment it ends"),
        pytest.param({"days": 30}, {"days": 24, "hours": 23}, "ok", id="30 days are a usual lifetime"),
        pytest.param({"days": 30}, {"days": 25}, "warning", id="of 30 days the last five"),
        pytest.param({"hours": 160}, {"hours": 133}, "ok", id="of 160 hours 27 left are fine"),
        pytest.param({"hours": 160}, {"hours": 134}, "warning", id="of 160 hours 26 left are a warning"),
        pytest.param({"days": 6}, {"days": 4, "hours": 23}, "ok", id="of six days the last one only"),
        pytest.param({"days": 6}, {"days": 5}, "warning", id="of six days the last one"),
        pytest.param({"days": 398}, {"days": 392}, "ok", id="a long lifetime does not widen the window"),
        pytest.param({"days": -1}, {"days": -1, "seconds": -1}, "not_yet_valid", id="an end before the beginning"),
        pytest.param({"days": -1}, {}, "expired", id="an end before the beginning, later"),
    ],
)
def test_state(lifetime: dict[str, float], passed: dict[str, float], state: str) -> None:
    assert state_after(timedelta(**lifetime), timedelta(**passed)) == state


def test_expired_and_not_yet_valid_are_faults() -> None:
    assert {each for each in CertificateState if each.is_fault} == {"expired", "not_yet_valid"}


def test_time_is_compared_across_zones() -> None:
    now = datetime.fromisoformat("2026-11-30T23:30:00-01:00")
    assert certificate_state(START, datetime(2026, 12, 1, 0, 15, tzinfo=UTC), now) is CertificateState.EXPIRED


def test_remaining_is_never_negative() -> None:
    assert remaining(START + timedelta(days=3), START) == timedelta(days=3)
    assert remaining(START - timedelta(days=3), START) == timedelta()


@given(st.timedeltas(min_value=timedelta(hours=1), max_value=timedelta(days=400)))
def test_each_state_holds_from_its_instant_to_the_next(lifetime: timedelta) -> None:
    end, moment = START + lifetime, timedelta(microseconds=1)
    warning = warning_begins(START, end)
    assert START <= warning <= end
    states = [certificate_state(START, end, at) for at in (START - moment, START, warning, end - moment, end)]
    assert states[0] is CertificateState.NOT_YET_VALID
    assert states[1] is (CertificateState.OK if warning > START else CertificateState.WARNING)
    assert states[2:] == [CertificateState.WARNING, CertificateState.WARNING, CertificateState.EXPIRED]
