"""Whether a node would order what the others order."""

from __future__ import annotations

import json

import pytest

from certstore.model.cluster.ordering import Agreement, OrderingRecord, decide_agreement, differing_keys, ordering_facts
from certstore.model.cluster.wire import Refusal, Refused
from certstore.model.settings.loading import parse_settings
from tests.certstore.model.cluster.examples import AT

BASE = "acme: {directory: letsencrypt, contact: [a@example.org]}\nnotify: {to: [a@example.org]}\n"


def facts(text: str) -> dict[str, str]:
    return dict(ordering_facts(parse_settings(text, "edge.yaml")))


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ("acme: {directory: letsencrypt-staging, contact: [a@example.org]}", ("acme.directory",)),
        ("acme: {contact: [b@example.org]}", ("acme.contact",)),
        ("acme: {contact: [a@example.org], profile: short, key_type: ec384}", ("acme.key_type", "acme.profile")),
        (
            "acme: {contact: [a@example.org], external_account: {key_id: k, hmac_key_file: f}}",
            ("acme.external_account",),
        ),
        ("acme: {contact: [a@example.org], ca_file: other.pem, resolver: '9.9.9.9:53', probe_private: true}", ()),
    ],
    ids=["another CA", "a contact", "profile and key", "an external account", "how the CA is reached"],
)
def test_what_decides_what_is_ordered_has_to_be_the_same(changed: str, keys: tuple[str, ...]) -> None:
    assert differing_keys(facts(BASE), facts(f"{changed}\nnotify: {{to: [a@example.org]}}\n")) == keys


def test_who_is_warned_has_to_be_the_same() -> None:
    other = BASE.replace("notify: {to: [a@example.org]}", "notify: {to: [b@example.org], smtp: {host: mail.test}}")
    assert differing_keys(facts(BASE), facts(other)) == ("notify.smtp", "notify.to")


def test_no_fact_shows_a_setting() -> None:
    assert "example.org" not in json.dumps(facts(BASE))


OLD, NEW, THIRD = {"acme.directory": "1"}, {"acme.directory": "2"}, {"acme.directory": "3"}


@pytest.mark.parametrize(
    ("ours", "agreed", "theirs", "decided"),
    [
        pytest.param(OLD, None, None, Agreement.SETS, id="nobody has said anything yet"),
        pytest.param(OLD, None, OLD, Agreement.AGREES, id="a new node with the same"),
        pytest.param(NEW, None, OLD, Agreement.DIFFERS, id="a new node with another"),
        pytest.param(NEW, OLD, OLD, Agreement.SETS, id="ours changed since we agreed"),
        pytest.param(OLD, OLD, NEW, Agreement.DIFFERS, id="theirs changed since we agreed"),
        pytest.param(NEW, OLD, NEW, Agreement.AGREES, id="both changed to the same"),
        pytest.param(NEW, OLD, THIRD, Agreement.DIFFERS, id="both changed"),
        pytest.param(OLD, OLD, OLD, Agreement.AGREES, id="nothing changed"),
    ],
)
def test_who_follows_whom(
    ours: dict[str, str], agreed: dict[str, str] | None, theirs: dict[str, str] | None, decided: Agreement
) -> None:
    assert decide_agreement(ours, agreed, theirs) is decided


def test_a_record_is_read_back() -> None:
    record = OrderingRecord(facts(BASE), "edge-a", AT)
    assert OrderingRecord.decode(record.encode()) == record


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", Refusal.MALFORMED),
        (b"[]", Refusal.MALFORMED),
        (b'{"schema": 1}', Refusal.MALFORMED),
        (b'{"schema": "x", "facts": {}}', Refusal.MALFORMED),
        (b'{"schema": 1, "facts": {"a": 1}, "by": "edge-a", "at": "x"}', Refusal.MALFORMED),
        (b'{"schema": 99}', Refusal.NEWER_RELEASE),
        (b"[" * 100_000, Refusal.MALFORMED),
    ],
    ids=["empty", "a list", "incomplete", "no number", "no time", "a newer release's", "deep"],
)
def test_a_record_that_can_not_be_read_is_refused(content: bytes, why: Refusal) -> None:
    with pytest.raises(Refused) as caught:
        OrderingRecord.decode(content)
    assert caught.value.why is why
