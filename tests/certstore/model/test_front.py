"""What a front refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from certstore.model.drop_decision import LastDrop
from certstore.model.front import Front, has_other_drop, ignored_on_front


def test_a_full_node_is_named() -> None:
    front = Front("n3", "n1")
    assert (front.found, front.remedy) == (
        "n3 is a front, which changes nothing", "do it on a full node, e.g. n1"
    )  # fmt: skip
    assert Front("n3").remedy == "do it on a full node"


@pytest.mark.parametrize(
    ("last", "is_absent", "is_other"),
    [
        pytest.param(None, True, False, id="nothing lies there"),
        pytest.param(None, False, True, id="a first drop"),
        pytest.param(LastDrop("a", is_held=False), False, False, id="the drop that was taken before"),
        pytest.param(LastDrop("b", is_held=False), False, True, id="another drop than before"),
        pytest.param(LastDrop("a", is_held=True), False, True, id="a drop that was never taken"),
        pytest.param(LastDrop("a", is_held=False), True, False, id="the drop is gone"),
    ],
)
def test_which_drop_is_a_problem(last: LastDrop | None, is_absent: bool, is_other: bool) -> None:
    assert has_other_drop("a", last, is_absent=is_absent) is is_other


def test_the_problem_says_what_lies_where_and_what_to_do() -> None:
    assert ignored_on_front(Front("n3", "n1"), []) is None
    assert ignored_on_front(Front("n3", "n1"), ["/store/domains/a.test"]) == (
        "/store/domains/a.test is ignored: n3 is a front, which changes nothing; do it on a full node, e.g. n1, and "
        "remove it here"
    )
    assert (ignored_on_front(Front("n3"), ["/a", "/b"]) or "").startswith("/a, /b are ignored: ")


def test_it_survives_as_json() -> None:
    for front in (Front("n3", "n1"), Front("n3")):
        assert Front.from_json(front.to_json()) == front


@pytest.mark.parametrize("facts", [{}, [], None, {"node": 3, "full_node": None}, {"node": "a", "full_node": 3}])
def test_anything_else_is_refused(facts: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Front.from_json(facts)
