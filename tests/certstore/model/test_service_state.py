"""The state of the service as a value."""

from datetime import UTC, datetime

import pytest

from certstore.model.service_state import ServiceState, Verdict, digest_of, store_named_in
from certstore.model.settings.loading import parse_settings

STATE = ServiceState(
    7, "4711", "/etc/edge.yaml", "d" * 32, datetime(2027, 3, 1, tzinfo=UTC), 2, 1, Verdict.REFUSED, "no", ("half",)
)


def test_state_comes_back_as_it_was_and_junk_does_not() -> None:
    assert ServiceState.from_json(STATE.to_json()) == STATE
    with pytest.raises(ValueError, match="pid"):
        ServiceState.from_json({})


def test_digest_is_that_of_the_meaning_and_of_the_release() -> None:
    one = parse_settings("store: s\n", "edge.yaml")
    same = parse_settings("# a comment\nstore: 's'\nworkers: auto\n", "edge.yaml")
    other = parse_settings("store: s\nworkers: 2\n", "edge.yaml")
    assert digest_of(one, "1") == digest_of(same, "1")
    assert digest_of(one, "1") != digest_of(other, "1")
    assert digest_of(one, "1") != digest_of(one, "2")


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("", "store"),
        ("store: /var/lib/x\nlisteners: [", "/var/lib/x"),
        ("a: [\nstore: ./y   # here\n", "./y"),
        ('store: "with # and space"\n', "with # and space"),
        ("store: 'quoted'\nbad\n", "quoted"),
        ("http:\n  store: not this one\n", "store"),
        ("store:\n  nested: thing\n", "store"),
        ("# store: commented\n", "store"),
    ],
)
def test_store_is_found_in_a_file_with_faults(text: str, store: str) -> None:
    assert store_named_in(text) == store
