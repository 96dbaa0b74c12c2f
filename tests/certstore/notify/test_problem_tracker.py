"""Since when problems stand, over restarts and on a disk that takes nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.files.keyed_state import KeyedState
from certstore.model.layout import Layout
from certstore.model.notify.standing_problems import FoundProblem
from certstore.notify.problem_tracker import ProblemTracker

NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FULL = FoundProblem("disk_full", "", "3 MB are free")
GONE = FoundProblem("node_gone", "edge-b", "edge-b does not report", is_common=True)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    layout.temporary.mkdir()
    return layout


def test_restart_keeps_the_instant_and_the_first_look_tells_nothing(layout: Layout) -> None:
    first = ProblemTracker(layout)
    first.observe([FULL], NOON)
    first.close()
    second = ProblemTracker(layout)
    own, _ = second.observe([FULL], NOON + 20 * MINUTE)
    assert own.problems == ()
    assert own.lapsed == {"disk_full"}
    own, _ = second.observe([FULL], NOON + 21 * MINUTE)
    second.close()
    assert [each.since for each in own.problems] == [NOON]


def test_what_every_node_finds_is_apart(layout: Layout) -> None:
    tracker = ProblemTracker(layout)
    tracker.observe([FULL, GONE], NOON)
    own, common = tracker.observe([FULL, GONE], NOON + MINUTE)
    tracker.close()
    assert [each.key for each in own.problems] == ["disk_full"]
    assert [each.key for each in common.problems] == ["node_gone edge-b"]


def test_what_is_over_leaves_nothing_on_disk(layout: Layout) -> None:
    tracker = ProblemTracker(layout)
    for minute in range(0, 30, 5):
        tracker.observe([FULL] if minute < 10 else [], NOON + minute * MINUTE)
    tracker.close()
    kept = KeyedState(layout.standing_problems, layout.temporary)
    assert dict(kept) == {}
    kept.close()


def test_damaged_lines_are_passed_over(layout: Layout) -> None:
    layout.standing_problems.write_text('["disk_full", {"since": "yesterday"}]\n["no_main"\n')
    tracker = ProblemTracker(layout)
    own, _ = tracker.observe([], NOON)
    tracker.close()
    assert own.lapsed == frozenset()


def test_disk_that_takes_nothing_hides_no_problem(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(KeyedState, "put", full)
    tracker = ProblemTracker(layout)
    tracker.observe([FULL, GONE], NOON)
    own, _ = tracker.observe([FULL, GONE], NOON + 10 * MINUTE)
    tracker.close()
    assert [each.since for each in own.problems] == [NOON]
    assert caplog.text.count("can't record") == 1
