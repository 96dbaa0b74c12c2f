"""What is served after a revocation, as a table."""

import pytest

from certstore.model.renewal.revocation import Candidate, Follows, RevocationReason, Successor, decide_successor

USUAL, SPENT = RevocationReason.SUPERSEDED, RevocationReason.KEY_COMPROMISE
GOOD, POOR, SAME_KEY = Candidate(2, True, False), Candidate(4, False, False), Candidate(3, True, True)


@pytest.mark.parametrize(
    ("is_live", "orders", "candidates", "reason", "expected"),
    [
        (False, True, (GOOD,), USUAL, Successor(Follows.NOT_LIVE)),
        (True, True, (GOOD,), USUAL, Successor(Follows.ORDERED)),
        (True, False, (GOOD, POOR), USUAL, Successor(Follows.EARLIER, 2)),
        (True, False, (GOOD, SAME_KEY), USUAL, Successor(Follows.EARLIER, 3)),
        (True, False, (GOOD, SAME_KEY), SPENT, Successor(Follows.EARLIER, 2)),
        (True, False, (SAME_KEY,), SPENT, Successor(Follows.SAME)),
        (True, False, (POOR,), USUAL, Successor(Follows.SAME)),
        (True, False, (), USUAL, Successor(Follows.SAME)),
    ],
    ids=[
        "an old version changes nothing",
        "an order comes first",
        "an earlier version that is valid",
        "the newest of them",
        "but none with a spent key",
        "if there is no other, the revoked one",
        "an expired one is no use",
        "nor is nothing",
    ],
)
def test_what_is_served_next(
    is_live: bool, orders: bool, candidates: tuple[Candidate, ...], reason: RevocationReason, expected: Successor
) -> None:
    assert decide_successor(is_live=is_live, orders=orders, candidates=candidates, reason=reason) == expected


@pytest.mark.parametrize("follows", list(Follows))
def test_each_outcome_has_words(follows: Follows) -> None:
    assert "live" in Successor(follows, 2).in_words("a.test")


def test_codes_are_those_of_rfc_5280() -> None:
    assert {each.value: each.code for each in RevocationReason} == {
        "unspecified": 0,
        "key-compromise": 1,
        "affiliation-changed": 3,
        "superseded": 4,
        "cessation-of-operation": 5,
    }
