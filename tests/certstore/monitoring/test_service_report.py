"""The supervisor's report in the store."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.service_state import ServiceState, Verdict
from certstore.monitoring.service_report import read_report, start_of, write_report


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "state").mkdir()
    return Layout(tmp_path)


def state_of(pid: int, started: str) -> ServiceState:
    return ServiceState(pid, started, "edge.yaml", "d", datetime(2027, 3, 1, tzinfo=UTC), 1, 1, Verdict.SERVING, "ok")


def test_report_counts_while_its_process_lives(layout: Layout) -> None:
    assert read_report(layout) is None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        state = state_of(child.pid, start_of(child.pid))
        write_report(layout, state)
        assert read_report(layout) == state
    assert read_report(layout) is None


def test_reused_pid_is_not_the_service(layout: Layout) -> None:
    write_report(layout, state_of(os.getpid(), "1"))
    assert read_report(layout) is None


def test_junk_is_no_report(layout: Layout) -> None:
    layout.service_report.parent.mkdir()
    for junk in "", "[]", '{"pid": 1}', "\x00":
        layout.service_report.write_text(junk)
        assert read_report(layout) is None
