"""When the service says that it is not to be relied on, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.readiness import Observed, Unreadiness, WorkerView, check_readiness
from certstore.model.snapshot import ServedCertificate
from certstore.model.unloadable import Unloadable

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MAIN = ServedCertificate("main", 1, "f" * 64, ("edge.test",), NOW - DAY, NOW + DAY)
END = (7, 1000)
LOST = Unloadable("main", 2, "ca md too weak", 1)
WORKER = WorkerView(1, END, is_draining=False)
BEHIND = WorkerView(2, (7, 900), is_draining=False)
WELL = Observed(MAIN, END, NOW - DAY, (WORKER,), expects_workers=True, is_maintenance_stalled=False)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(WELL, set(), id="all is well"),
        pytest.param(replace(WELL, main=None), {Unreadiness.NO_MAIN}, id="no main certificate"),
        pytest.param(
            replace(WELL, main=replace(MAIN, not_after=NOW)), {Unreadiness.MAIN_EXPIRED}, id="main has just expired"
        ),
        pytest.param(
            replace(WELL, main=replace(MAIN, not_before=NOW + DAY)),
            {Unreadiness.MAIN_NOT_YET_VALID},
            id="main is not valid yet",
        ),
        pytest.param(replace(WELL, workers=()), {Unreadiness.NO_WORKERS}, id="no worker lives"),
        pytest.param(replace(WELL, workers=(), expects_workers=False), set(), id="nothing to listen on, no workers"),
        pytest.param(
            replace(WELL, workers=(replace(WORKER, is_draining=True),)),
            {Unreadiness.NO_WORKERS},
            id="the only worker drains",
        ),
        pytest.param(replace(WELL, workers=(WORKER, BEHIND)), {Unreadiness.WORKERS_BEHIND}, id="one worker is behind"),
        pytest.param(
            replace(WELL, workers=(WORKER, BEHIND), journal_changed=NOW - timedelta(seconds=5)),
            set(),
            id="a change that workers may not have reported yet",
        ),
        pytest.param(
            replace(WELL, workers=(WORKER, replace(BEHIND, is_draining=True))),
            set(),
            id="a draining worker may be behind",
        ),
        pytest.param(
            replace(WELL, workers=(replace(WORKER, journal=(8, 1000)),)),
            {Unreadiness.WORKERS_BEHIND},
            id="a worker that reads a file that was replaced",
        ),
        pytest.param(
            replace(WELL, workers=(replace(WORKER, unloadable=(LOST,)), WORKER)),
            {Unreadiness.LIVE_UNLOADABLE},
            id="a worker that can't load what is live",
        ),
        pytest.param(
            replace(WELL, workers=(WORKER, replace(WORKER, is_draining=True, unloadable=(LOST,)))),
            set(),
            id="a draining worker that can't",
        ),
        pytest.param(
            replace(WELL, is_maintenance_stalled=True), {Unreadiness.MAINTENANCE_STALLED}, id="maintenance stands still"
        ),
        pytest.param(
            replace(WELL, overdue={"a.test": NOW - DAY}), {Unreadiness.ATTEMPT_OVERDUE}, id="an attempt hangs"
        ),
        pytest.param(replace(WELL, is_joining=True), {Unreadiness.JOINING}, id="not all sites of the cluster are here"),
        pytest.param(
            replace(WELL, behind_since=NOW - timedelta(seconds=30)), set(), id="behind the other nodes for a moment"
        ),
        pytest.param(
            replace(WELL, behind_since=NOW - timedelta(seconds=90)),
            {Unreadiness.CLUSTER_BEHIND},
            id="behind the other nodes",
        ),
        pytest.param(
            replace(WELL, main=None, workers=(), is_maintenance_stalled=True),
            {Unreadiness.NO_MAIN, Unreadiness.NO_WORKERS, Unreadiness.MAINTENANCE_STALLED},
            id="everything at once",
        ),
    ],
)
def test_readiness_names_everything_that_is_wrong(observed: Observed, expected: set[Unreadiness]) -> None:
    readiness = check_readiness(observed, NOW)
    assert {code for code, _ in readiness.problems} == expected
    assert readiness.ok is (not expected)
    assert all(words for _, words in readiness.problems)


def test_the_words_name_the_workers_that_are_behind() -> None:
    (problem,) = check_readiness(replace(WELL, workers=(WORKER, BEHIND)), NOW).problems
    assert problem[1] == "1 of 2 workers (pid 2) do not serve the current state of the store"


def test_the_words_name_the_sites_whose_attempts_hang() -> None:
    since = {f"s{number}.test": NOW - DAY for number in range(9)}
    (problem,) = check_readiness(replace(WELL, overdue=since), NOW).problems
    assert "s0.test" in problem[1]
    assert "4 more" in problem[1]
    assert f"{NOW - DAY:%Y-%m-%d %H:%M}" in problem[1]


def test_unloadable_certificates_are_named_main_first_and_not_without_end() -> None:
    lost = [replace(LOST, site=f"{letter}.test") for letter in "abcdefg"]
    workers = (replace(WORKER, unloadable=tuple(lost)), replace(WORKER, unloadable=(lost[0], LOST)))
    ((_, words),) = check_readiness(replace(WELL, workers=workers), NOW).problems
    assert words.startswith("version 2 of main, which is live, can't be loaded (ca md too weak): version 1 is served")
    assert "d.test" in words
    assert "e.test" not in words
    assert words.endswith("; and 3 more")
