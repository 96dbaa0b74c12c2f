from collections.abc import Sequence

import pytest

from certstore.model.challenge import USUAL_CHALLENGES
from certstore.model.renewal.choice import CheckedWay, NameChoice, Ways, choose_way, order_of
from certstore.model.renewal.failure import Cause
from certstore.model.renewal.preflight_facts import CannotProve, PreflightFinding, Severity

HTTP, TLS, DNS = USUAL_CHALLENGES
MISSING = CannotProve("dns-01 is not set up", "Set it up.", is_missing=True)
UNFIT = CannotProve("*.a.test is a wildcard", "Add dns-01.")


def finding(severity: Severity, message: str = "port 80 is closed") -> PreflightFinding:
    return PreflightFinding("address_refused", severity, message, "Open it.", Cause.CONNECTION, "a.test")


def way(state: str, kind: str) -> CheckedWay:
    """`state`: open, doubtful, fatal, missing, unfit or unchecked."""
    match state:
        case "doubtful" | "fatal":
            return CheckedWay(kind, (finding(Severity(state), f"{kind} is closed"),))
        case "missing":
            return CheckedWay(kind, cannot=MISSING)
        case "unfit":
            return CheckedWay(kind, cannot=UNFIT)
        case "unchecked":
            return CheckedWay(kind, is_checked=False)
    assert state == "open"
    return CheckedWay(kind)


def choose(*states: str, failed: Sequence[str] = ()) -> NameChoice:
    """The states of http-01, tls-alpn-01 and dns-01."""
    given: dict[str, str] = dict(zip(USUAL_CHALLENGES, states, strict=False))
    return choose_way("a.test", [way(given[kind], kind) for kind in order_of(list(given), failed)], failed)


@pytest.mark.parametrize(
    ("states", "failed", "expected"),
    [
        (("open", "unchecked", "unchecked"), (), (HTTP, TLS, DNS)),
        (("fatal", "open", "unchecked"), (), (TLS, DNS)),
        (("doubtful", "open", "unchecked"), (), (TLS, HTTP, DNS)),
        (("doubtful", "doubtful", "missing"), (), (HTTP, TLS)),
        (("fatal", "doubtful", "open"), (), (DNS, TLS)),
        (("unfit", "unfit", "open"), (), (DNS,)),
        (("open", "open", "missing"), (HTTP,), (TLS, HTTP)),
        (("open", "doubtful", "missing"), (HTTP,), (TLS, HTTP)),
        (("open", "fatal", "missing"), (HTTP,), (HTTP,)),
        (("open", "open", "missing"), (TLS, HTTP), (TLS, HTTP)),
        (("open", "doubtful", "missing"), (TLS, HTTP), (TLS, HTTP)),
        (("fatal", "fatal", "missing"), (), ()),
        (("unfit", "unfit", "missing"), (), ()),
    ],
    ids=[
        "the first that is open", "the first is impossible", "open comes before doubtful", "doubtful is asked",
        "DNS is open, TLS doubtful", "a wildcard takes DNS", "what failed comes last", "last even where it looks open",
        "what failed is all there is", "all failed: the oldest failure first", "all failed, whatever it looks like",
        "none is possible", "a wildcard without DNS",
    ],
)  # fmt: skip
def test_ways_are_tried_in_this_order(
    states: tuple[str, ...], failed: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    choice = choose(*states, failed=failed)
    assert choice.ways == expected
    assert all(kind in choice.why for kind in expected[:1])


def test_choice_says_why_and_what_was_passed_over() -> None:
    assert choose("doubtful", "open", "unchecked").why == "tls-alpn-01 is open; not http-01 (http-01 is closed)"
    assert choose("doubtful", "missing").why == "http-01, with doubts (http-01 is closed)"
    assert choose("open", "open", failed=[HTTP]).why == "tls-alpn-01 is open; http-01 failed at the CA"
    assert choose("fatal", "fatal").why == "no way: http-01 (http-01 is closed), tls-alpn-01 (tls-alpn-01 is closed)"


def test_findings_are_those_of_the_way_that_is_taken() -> None:
    assert choose("fatal", "open").findings == ()
    assert [each.message for each in choose("doubtful", "fatal").findings] == ["http-01 is closed"]


def test_without_a_way_the_findings_of_every_way_remain() -> None:
    choice = choose("fatal", "fatal", "missing")
    assert [each.message for each in choice.findings] == ["http-01 is closed", "tls-alpn-01 is closed"]
    assert choice.last_resort == (HTTP, TLS)


def test_name_that_nothing_can_prove_says_what_to_set_up() -> None:
    (found,) = choose("unfit", "unfit", "missing").findings
    assert (found.code, found.severity, found.name) == ("challenge_not_set_up", Severity.FATAL, "a.test")
    assert (found.message, found.remedy) == (MISSING.reason, MISSING.remedy)
    (found,) = choose("unfit").findings
    assert (found.code, found.remedy) == ("challenge_unfit", UNFIT.remedy)


def test_same_finding_of_two_ways_is_reported_once() -> None:
    same = finding(Severity.FATAL, "no such name")
    choice = choose_way("a.test", [CheckedWay(HTTP, (same,)), CheckedWay(TLS, (same,))])
    assert choice.findings == (same,)


def test_each_name_has_its_own_order() -> None:
    ways = Ways((HTTP, TLS), {"a.test": (HTTP,), "c.test": ("unknown-01",)})
    assert [ways.of(name) for name in ("a.test", "b.test", "c.test")] == [(TLS, HTTP), (HTTP, TLS), (HTTP, TLS)]
