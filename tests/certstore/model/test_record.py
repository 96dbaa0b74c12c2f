from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from certstore.model.record import Outcome, Record

AT = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
SHORT = Record(AT, "order", Outcome.FAILED, "dns", "no address")
SHORT_JSON = {
    "at": "2026-11-01T08:30:00+00:00",
    "doing": "order",
    "outcome": "failed",
    "reason": "dns",
    "message": "no address",
}


@pytest.mark.parametrize(
    ("record", "absent"),
    [
        pytest.param(SHORT, {"version", "next_attempt", "source"}, id="a failure"),
        pytest.param(replace(SHORT, outcome=Outcome.DONE, version=3, source="/drop"), {"next_attempt"}, id="a success"),
        pytest.param(replace(SHORT, next_attempt=AT), {"version", "source"}, id="one that is tried again"),
    ],
)
def test_record_comes_back_from_its_json(record: Record, absent: set[str]) -> None:
    facts = json.loads(json.dumps(record.to_json()))
    assert set(Record.__slots__) - facts.keys() == absent
    assert Record.from_json(facts) == record


def test_json_has_times_in_rfc_3339_and_no_absent_facts() -> None:
    assert SHORT.to_json() == SHORT_JSON
    assert replace(SHORT, next_attempt=AT).to_json()["next_attempt"] == SHORT_JSON["at"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"outcome": "splendid"}, id="an unknown outcome"),
        pytest.param({"at": "now"}, id="a time that is none"),
        pytest.param({"next_attempt": "soon"}, id="a next attempt that is none"),
    ],
)
def test_odd_json_is_no_record(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"splendid|isoformat"):
        Record.from_json(SHORT_JSON | changes)


@pytest.mark.parametrize("name", SHORT_JSON)
def test_json_without_a_fact_is_no_record(name: str) -> None:
    with pytest.raises((KeyError, TypeError), match=name):
        Record.from_json({key: value for key, value in SHORT_JSON.items() if key != name})
