import base64
from datetime import UTC, datetime

import pytest

from certstore.model.console.totp import code_at, matching_step, provisioning_uri, step_at

SECRET = base64.b32encode(b"12345678901234567890").decode()


# RFC 6238, appendix B, the last six of its eight digits.
@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert code_at(SECRET, step_at(now)) == code
    assert matching_step(SECRET, code, now, last_step=0) == step_at(now)


@pytest.mark.parametrize("drift", [-1, 0, 1])
def test_clock_may_be_off_by_one_step(drift: int) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    step = step_at(now) + drift
    assert matching_step(SECRET, code_at(SECRET, step), now, last_step=0) == step


def test_code_of_another_time_is_refused() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert matching_step(SECRET, code_at(SECRET, step_at(now) - 2), now, last_step=0) is None


def test_code_is_not_accepted_twice() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    step = step_at(now)
    assert matching_step(SECRET, code_at(SECRET, step), now, last_step=step) is None


@pytest.mark.parametrize("text", ["", "12345", "1234567", "١٢٣٤٥٦", "12 34 5a", "-12345"])
def test_invalid_code_is_refused(text: str) -> None:
    assert matching_step(SECRET, text, datetime(2026, 3, 1, tzinfo=UTC), last_step=0) is None


def test_invalid_secret_is_an_error() -> None:
    with pytest.raises(ValueError, match="base32"):
        code_at("not base32!", 1)


def test_uri_holds_what_apps_need() -> None:
    uri = provisioning_uri(SECRET, "anna", "mail.install.test")
    assert uri.startswith("otpauth://totp/mail.install.test%3Aanna?")
    assert f"secret={SECRET}" in uri
