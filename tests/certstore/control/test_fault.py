"""What is logged of an exception that nobody foresaw never quotes what it was about."""

import pytest

from certstore.control.fault import describe


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            OSError(28, "No space left on device", "/store/x"), "/store/x: No space left on device", id="disk"
        ),
        pytest.param(OSError("the group is unknown"), "the group is unknown", id="words of our own"),
    ],
)
def test_the_machines_faults_are_told_in_full(error: Exception, words: str) -> None:
    assert describe(raised(error)) == words


def test_other_faults_are_told_by_their_kind_and_place() -> None:
    secret = "-----BEGIN " + "PRIVATE KEY-----"
    words = describe(raised(ValueError(secret)))
    assert words.startswith("ValueError at\n")
    assert "test_fault.py" in words
    assert secret not in words
