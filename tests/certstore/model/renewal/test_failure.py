from certstore.model.renewal.failure import REMEDIES, Cause, Failure, what_only_you_can_do


def test_every_cause_says_what_to_do() -> None:
    assert set(REMEDIES) == set(Cause)
    assert all(Failure(cause, "").remedy for cause in Cause)


def test_waiting_mends_an_outage_but_not_a_missing_name() -> None:
    assert not Failure(Cause.CA_UNREACHABLE, "").needs_person
    assert Failure(Cause.NO_SUCH_NAME, "").needs_person


def test_another_ca_helps_against_an_outage_but_not_against_a_closed_port() -> None:
    assert Failure(Cause.CA_ERROR, "").is_at_ca
    assert not Failure(Cause.CONNECTION, "").is_at_ca


def test_advice_of_the_finding_comes_before_that_of_the_cause_and_is_kept() -> None:
    failure = Failure(Cause.CA_UNREACHABLE, "not trusted", advice="Set acme.ca_file.")
    assert failure.remedy == "Set acme.ca_file."
    assert Failure.from_json(failure.to_json()) == failure
    assert "advice" not in Failure(Cause.CA_UNREACHABLE, "down").to_json()


def test_only_a_cause_that_waits_for_a_person_has_something_to_do() -> None:
    assert what_only_you_can_do(Cause.TERMS) == REMEDIES[Cause.TERMS]
    assert what_only_you_can_do(Cause.CA_UNREACHABLE) is None
    assert what_only_you_can_do("added") is None
