import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import pytest

from certstore.model.json_facts import Kept, encode


class Colour(StrEnum):
    RED = "red"


class Span(NamedTuple):
    start: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Thing(Kept):
    name: str
    span: Span | None
    days: Mapping[Colour, date]
    words: tuple[str, ...] = ()
    number: int = 0


AT = datetime(2026, 11, 30, 17, 0, 0, 5, UTC)
FULL = Thing("ä", Span(AT, "why"), {Colour.RED: date(2026, 12, 1)}, ("a", "b"), 7)


@pytest.mark.parametrize("thing", [FULL, Thing("", None, {})])
def test_a_thing_comes_back_from_json(thing: Thing) -> None:
    assert Thing.from_json(json.loads(json.dumps(thing.to_json()))) == thing


def test_json_has_plain_values_and_leaves_out_defaults() -> None:
    span = ["2026-11-30T17:00:00.000005+00:00", "why"]
    facts = {"name": "ä", "span": span, "days": {"red": "2026-12-01"}, "words": ["a", "b"], "number": 7}
    assert FULL.to_json() == facts
    assert Thing("", None, {}).to_json() == {"name": "", "span": None, "days": {}}
    assert encode(Thing("", None, {}), has_defaults=True)["number"] == 0
    assert encode(b"\xfb\xff") == "+/8="


@pytest.mark.parametrize(
    "changes",
    [{"name": None}, {"name": 3}, {"span": ["soon"]}, {"span": []}, {"days": {"blue": "2026-12-01"}}, {"words": "ab"}],
    ids=str,
)
def test_anything_else_is_a_value_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        Thing.from_json(FULL.to_json() | changes)


def test_what_a_later_release_added_is_ignored_and_what_lacks_a_fact_refused() -> None:
    assert Thing.from_json(FULL.to_json() | {"colour": "green"}) == FULL
    with pytest.raises(ValueError, match="name"):
        Thing.from_json({"span": None, "days": {}})
    with pytest.raises(ValueError, match="dict"):
        Thing.from_json([])  # type: ignore[arg-type]
