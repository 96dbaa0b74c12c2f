"""When a problem of the service lasts, and when it is over."""

from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.notify.standing_problems import (
    GONE_AFTER,
    MOST,
    FoundProblem,
    Sighting,
    by_key,
    next_sighting,
    standing_of,
    title_of,
)

NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("before", "is_there", "after"),
    [
        (None, True, Sighting(NOON)),
        (None, False, None),
        (Sighting(NOON - 5 * MINUTE), True, Sighting(NOON - 5 * MINUTE)),
        (Sighting(NOON - 5 * MINUTE), False, Sighting(NOON - 5 * MINUTE, NOON)),
        (Sighting(NOON - 5 * MINUTE, NOON - MINUTE), True, Sighting(NOON - 5 * MINUTE)),
        (Sighting(NOON - 5 * MINUTE, NOON - MINUTE), False, Sighting(NOON - 5 * MINUTE, NOON - MINUTE)),
        (Sighting(NOON - 60 * MINUTE, NOON - GONE_AFTER), False, None),
        (Sighting(NOON - 60 * MINUTE, NOON - GONE_AFTER), True, Sighting(NOON)),
        (Sighting(NOON + 60 * MINUTE), True, Sighting(NOON)),
        (Sighting(NOON - MINUTE, NOON + 60 * MINUTE), False, Sighting(NOON - MINUTE, NOON)),
    ],
    ids=["new", "nothing", "stays", "goes", "comes back", "stays away", "is over", "a new one", "clock set back",
         "gone before the clock was set back"],
)  # fmt: skip
def test_a_break_of_ten_minutes_ends_a_problem(before: Sighting | None, is_there: bool, after: Sighting | None) -> None:
    assert next_sighting(before, NOON, is_there=is_there) == after


def test_message_makes_no_problem_a_new_one() -> None:
    one, other = (FoundProblem("disk_full", "", f"{free} MB are free") for free in (3, 2))
    assert one.key == other.key
    assert FoundProblem("upstream_down", "web a", "").key != FoundProblem("upstream_down", "web b", "").key


def test_alike_ones_are_one_and_their_number_is_bounded() -> None:
    found = [FoundProblem("listener_incomplete", "", f"{port} is half served") for port in range(3)]
    assert by_key(found)["listener_incomplete"].message == "0 is half served (and 2 more like it)"
    assert len(by_key(FoundProblem("upstream_down", f"web {number}", "") for number in range(MOST + 5))) == MOST
    long = by_key([FoundProblem("upstream_down", "x" * 5000, "y\r\n" * 5000)])
    assert all(len(key) < 300 and len(each.message) < 700 for key, each in long.items())
    assert all(each.message.isprintable() for each in long.values())


def test_what_went_a_moment_ago_is_neither_there_nor_over() -> None:
    found = by_key([FoundProblem("disk_full", "", "full")])
    standing = standing_of(found, {"disk_full": Sighting(NOON), "no_main": Sighting(NOON, NOON)})
    assert [each.key for each in standing.problems] == ["disk_full"]
    assert standing.lapsed == {"no_main"}


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("disk_full", "the disk is full"),
        ("node_gone edge-b", "a node does not report: edge-b"),
        ("some_new_code", "some new code"),
    ],
)
def test_each_key_has_words(key: str, title: str) -> None:
    assert title_of(key) == title
