"""The supervisor's report in the store."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.service_state import ServiceState, Verdict
from certstore.monitoring.service_report import is_of_its_writer, read_report, start_of, write_report


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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs processes of two users")
def test_user_of_the_service_can_not_name_a_process_of_another(layout: Layout) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=65534) as theirs:
        for pid, writer, is_right in (
            (theirs.pid, 65534, True),
            (os.getpid(), 65534, False),
            (theirs.pid, 65533, False),
            (os.getpid(), 0, True),
        ):
            state = state_of(pid, start_of(pid))
            write_report(layout, state)
            os.chown(layout.service_report, writer, -1)
            assert is_of_its_writer(layout, state) == is_right, (pid, writer)
