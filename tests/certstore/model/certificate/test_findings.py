import pytest

from certstore.model.certificate.findings import FORCIBLE, Finding, Problem, Refusal, Refused, refusal

EXPIRED, EARLY, WRONG_NAME, CA_LEAF = (
    refusal(code, f"it is {code}")
    for code in (Refusal.EXPIRED, Refusal.NOT_YET_VALID, Refusal.WRONG_NAME, Refusal.CA_LEAF)
)


@pytest.mark.parametrize("code", Refusal)
def test_only_what_a_person_may_know_better_is_forcible(code: Refusal) -> None:
    expected = code in {
        Refusal.EXPIRED,
        Refusal.NOT_YET_VALID,
        Refusal.WRONG_NAME,
        Refusal.CLIENTS_REFUSE,
        Refusal.MISSING_INTERMEDIATE,
    }
    assert refusal(code, "why") == Finding(code, "why", is_forcible=expected)


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        pytest.param((EXPIRED,), True, id="one forcible reason"),
        pytest.param((EXPIRED, EARLY, WRONG_NAME), True, id="forcible reasons only"),
        pytest.param((EXPIRED, CA_LEAF), False, id="one reason is beyond force"),
        pytest.param((CA_LEAF,), False, id="no forcible reason"),
    ],
)
def test_refusal_is_forcible_only_when_every_reason_is(findings: tuple[Finding, ...], expected: bool) -> None:
    assert Refused(findings).is_forcible is expected


def test_message_holds_every_reason() -> None:
    assert Refused((EXPIRED, CA_LEAF)).message == "it is expired; it is ca_leaf"


def test_every_forced_refusal_becomes_a_problem_of_its_own() -> None:
    assert FORCIBLE == {
        Refusal.EXPIRED: Problem.EXPIRED,
        Refusal.NOT_YET_VALID: Problem.NOT_YET_VALID,
        Refusal.WRONG_NAME: Problem.NAME_NOT_COVERED,
        Refusal.CLIENTS_REFUSE: Problem.CLIENTS_REFUSE,
        Refusal.MISSING_INTERMEDIATE: Problem.MISSING_INTERMEDIATE,
    }
