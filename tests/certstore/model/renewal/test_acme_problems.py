from datetime import UTC, datetime

import pytest

from certstore.model.renewal.acme_problems import Problem, read_problem
from certstore.model.renewal.failure import Cause

PREFIX = "urn:ietf:params:acme:error:"
UNPAUSE = "https://unpause.example.org/sfe/v1/unpause?jwt=abc.def"


@pytest.mark.parametrize(
    ("problem", "cause"),
    [
        (Problem(PREFIX + "rateLimited", "too many certificates already issued"), Cause.RATE_LIMITED),
        (Problem(PREFIX + "rateLimited", f"temporarily prevented, please visit: {UNPAUSE}"), Cause.PAUSED),
        (Problem(PREFIX + "caa", "CAA record for a.test prevents issuance", "a.test"), Cause.CAA),
        (Problem(PREFIX + "dns", "DNS problem: NXDOMAIN looking up A for a.test", "a.test"), Cause.NO_SUCH_NAME),
        (Problem(PREFIX + "dns", "DNS problem: SERVFAIL looking up A", "a.test"), Cause.DNS),
        (Problem(PREFIX + "connection", "Fetching http://a.test/: Timeout", "a.test"), Cause.CONNECTION),
        (Problem(PREFIX + "unauthorized", "Invalid response from http://a.test/: 404", "a.test"), Cause.WRONG_ANSWER),
        (Problem(PREFIX + "unauthorized", 'Account is not valid, has status "deactivated"'), Cause.ACCOUNT),
        (Problem(PREFIX + "unauthorized", "invalid eab credentials", status=403), Cause.ACCOUNT),
        (Problem(PREFIX + "unauthorized", "Invalid response: 404", "a.test", 403), Cause.WRONG_ANSWER),
        (Problem(PREFIX + "userActionRequired", "Terms of service have changed"), Cause.TERMS),
        (Problem(PREFIX + "externalAccountRequired", "needs EAB"), Cause.EXTERNAL_ACCOUNT),
        (Problem(PREFIX + "serverInternal", "oops"), Cause.CA_ERROR),
        (Problem("about:blank", "Too Many Requests", status=429), Cause.RATE_LIMITED),
        (Problem("about:blank", "Forbidden", status=403), Cause.REQUEST_REFUSED),
        (Problem("about:blank", "Service Unavailable", status=503), Cause.CA_ERROR),
        (Problem(PREFIX + "invented", "", status=None), Cause.CA_ERROR),
    ],
    ids=lambda value: value.detail[:30] if isinstance(value, Problem) else "",
)
def test_problem_types_become_causes(problem: Problem, cause: Cause) -> None:
    assert read_problem(problem).cause is cause


def test_paused_name_shows_the_unpause_link() -> None:
    failure = read_problem(Problem(PREFIX + "rateLimited", f"Please visit: {UNPAUSE}."), names=("a.test",))
    assert failure.link == UNPAUSE
    assert failure.needs_person


def test_subproblems_say_which_names_are_at_fault() -> None:
    parts = (
        Problem(PREFIX + "rejectedIdentifier", "forbidden by policy", "b.test"),
        Problem(PREFIX + "rejectedIdentifier", "forbidden by policy", "c.test"),
    )
    failure = read_problem(
        Problem(PREFIX + "malformed", "some identifiers refused", subproblems=parts), names=("a.test",)
    )
    assert (failure.cause, failure.names) == (Cause.REJECTED_NAME, ("b.test", "c.test"))
    assert "b.test: forbidden by policy" in failure.detail


def test_names_of_the_request_are_at_fault_where_the_problem_names_none() -> None:
    assert read_problem(Problem(PREFIX + "caa", "no"), names=("a.test",)).names == ("a.test",)
    assert read_problem(Problem(PREFIX + "serverInternal", "no"), names=("a.test",)).names == ()


@pytest.mark.parametrize(
    ("detail", "at_fault"),
    [
        ('Cannot issue for "www.b.test": The ACME server refuses to issue for this name', ("www.b.test",)),
        ("Cannot issue for a.test.", ("a.test",)),
        ("Cannot issue for A.TEST, b.test", ("a.test", "b.test")),
        ("CAA record for xa.test, a.test.example and a.test-b prevents issuance", ("a.test", "b.test", "www.b.test")),
        ("forbidden by policy", ("a.test", "b.test", "www.b.test")),
    ],
)
def test_only_names_that_the_text_mentions_are_at_fault(detail: str, at_fault: tuple[str, ...]) -> None:
    refused = Problem(PREFIX + "rejectedIdentifier", detail, status=400)
    assert read_problem(refused, names=("a.test", "b.test", "www.b.test")).names == at_fault


def test_text_that_mentions_a_name_blames_none_for_what_is_not_about_names() -> None:
    assert read_problem(Problem(PREFIX + "serverInternal", "oops at a.test"), names=("a.test",)).names == ()


def test_retry_after_is_passed_on() -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    assert read_problem(Problem(PREFIX + "rateLimited", ""), retry_after=at).retry_after == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("too many certificates already issued, retry after 2027-01-02 03:04:05 UTC: see https://ca.test/", True),
        ("too many new orders recently: retry after 2027-01-02T03:04:05Z: see https://ca.test/", True),
        ("too many failed authorizations, Retry After 2027-01-02T03:04:05.678Z", True),
        ("retry after 2027-13-02 03:04:05 UTC", False),
        ("retry after tomorrow", False),
        ("since 2027-01-02 03:04:05 UTC", False),
    ],
)
def test_date_of_a_limit_is_read_from_the_text_where_no_header_has_it(text: str, at: bool) -> None:
    expected = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC) if at else None
    limited = Problem(PREFIX + "rateLimited", text, status=429)
    assert read_problem(limited).retry_after == expected
    header = datetime(2027, 1, 1, tzinfo=UTC)
    assert read_problem(limited, retry_after=header).retry_after == header
    assert read_problem(Problem(PREFIX + "serverInternal", text)).retry_after is None


def test_text_of_the_ca_is_one_printable_line_with_an_end() -> None:
    detail = read_problem(Problem("x", "a\nb\x1b[31m" + "c" * 9999)).detail
    assert detail.isprintable()
    assert len(detail) < 700
