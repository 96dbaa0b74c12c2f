"""The numbers that workers leave: none is lost or counted twice, whichever process ends when."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.metrics import Sample
from certstore.model.unloadable import Unloadable
from certstore.monitoring.worker_reports import Gathered, WorkerReports, read_report

REQUESTS = "certedge_requests_total"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.worker_reports.mkdir(parents=True)
    layout.temporary.mkdir()
    return layout


@pytest.fixture
def dead_pid() -> int:
    """The pid of a process that has just ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def other_pid() -> Iterator[int]:
    """The pid of a living process."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate()


def leave(layout: Layout, pid: int, requests: float, *, id: str = "", at: datetime = NOW, site: str = "a.test") -> None:  # noqa: A002
    samples = [Sample(REQUESTS, (site, "2xx"), requests), Sample("certedge_workers", (), 1)]
    facts = {
        "id": id or f"id-{pid}",
        "pid": pid,
        "at": at.timestamp(),
        "journal": [1, 2],
        "is_draining": False,
        "samples": [each.to_json() for each in samples],
    }
    layout.worker_report(pid).write_text(json.dumps(facts))


def requests(gathered: Gathered) -> float:
    return sum(sample.value for sample in gathered.samples if sample.name == REQUESTS)


def workers(gathered: Gathered) -> float:
    return sum(sample.value for sample in gathered.samples if sample.name == "certedge_workers")


def test_living_workers_are_added_up_and_stay(layout: Layout, other_pid: int) -> None:
    leave(layout, os.getpid(), 2)
    leave(layout, other_pid, 3)
    for _ in range(2):
        gathered = WorkerReports(layout).collect(NOW)
        assert (requests(gathered), workers(gathered)) == (5, 2)
        assert {report.pid for report in gathered.workers} == {os.getpid(), other_pid}


def test_what_a_worker_counted_stays_after_its_end_and_its_file_goes(layout: Layout, dead_pid: int) -> None:
    leave(layout, os.getpid(), 2)
    leave(layout, dead_pid, 3)
    for _ in range(2):
        gathered = WorkerReports(layout).collect(NOW)
        assert (requests(gathered), workers(gathered)) == (5, 1)
    assert not layout.worker_report(dead_pid).exists()


def test_a_reused_pid_is_not_a_worker(layout: Layout, other_pid: int) -> None:
    leave(layout, other_pid, 3, at=NOW - timedelta(minutes=2))
    gathered = WorkerReports(layout).collect(NOW)
    assert (requests(gathered), gathered.workers) == (3, ())


def test_a_kill_before_the_file_is_removed_counts_nothing_twice(layout: Layout, dead_pid: int) -> None:
    leave(layout, dead_pid, 3)
    WorkerReports(layout).collect(NOW)
    leave(layout, dead_pid, 3)  # as if it had not been removed
    assert requests(WorkerReports(layout).collect(NOW)) == 3
    leave(layout, dead_pid, 4, id="another worker with that pid")
    assert requests(WorkerReports(layout).collect(NOW)) == 7


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"id": 1}', b"\xff\xfe"])
def test_junk_in_a_file_is_ignored(layout: Layout, content: bytes) -> None:
    leave(layout, os.getpid(), 2)
    layout.worker_report(1).write_bytes(content)
    layout.ended_workers.write_bytes(content)
    assert requests(WorkerReports(layout).collect(NOW)) == 2


def test_a_metric_of_another_version_is_left_out(layout: Layout) -> None:
    leave(layout, os.getpid(), 2)
    path = layout.worker_report(os.getpid())
    facts = json.loads(path.read_text())
    facts["samples"].append(["certedge_of_tomorrow", [], 1, []])
    path.write_text(json.dumps(facts))
    assert requests(WorkerReports(layout).collect(NOW)) == 2


def test_without_a_folder_there_are_no_workers(tmp_path: Path) -> None:
    assert WorkerReports(Layout(tmp_path)).collect(NOW) == Gathered((), ())


def test_a_report_names_what_its_worker_can_not_load_and_an_older_one_does_not(layout: Layout) -> None:
    leave(layout, os.getpid(), 1)
    path = layout.worker_report(os.getpid())
    report = read_report(path)
    assert report is not None
    assert report.unloadable == ()
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"unloadable": [["main", 2, "ca md too weak", None]]}))
    report = read_report(path)
    assert report is not None
    assert report.unloadable == (Unloadable("main", 2, "ca md too weak", None),)
    path.write_text(json.dumps(facts | {"unloadable": [["main"]]}))
    assert read_report(path) is None
