"""The access log: the contents of a line, and that a client can't forge one."""

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.plane.access_log import AccessEntry, AccessLog, format_combined, format_json
from tests.loops import in_loop

AT = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def entry(**facts: object) -> AccessEntry:
    known: dict[str, object] = {
        "kind": "https",
        "client": "192.0.2.7",
        "server_name": "a.test",
        "certificate": "a.test",
        "reason": "exact_name",
        **facts,
    }
    return AccessEntry(**known)  # type: ignore[arg-type]


def test_json_line_has_every_value_that_is_not_none() -> None:
    line = json.loads(format_json(entry(method="GET", target="/x", status=200, bytes_out=5, duration=0.0123456), AT))

    assert line == {
        "time": "2026-03-01T12:00:00.250+00:00",
        "kind": "https",
        "client": "192.0.2.7",
        "server_name": "a.test",
        "certificate": "a.test",
        "reason": "exact_name",
        "method": "GET",
        "target": "/x",
        "status": 200,
        "bytes_in": 0,
        "bytes_out": 5,
        "duration": 0.012346,
    }


def test_combined_line_has_the_format_that_tools_expect() -> None:
    line = format_combined(
        entry(method="GET", target="/x?q=1", protocol="HTTP/1.1", status=200, bytes_out=5, user_agent="curl/8"), AT
    )

    assert line == (
        '192.0.2.7 - - [01/Mar/2026:12:00:00 +0000] "GET /x?q=1 HTTP/1.1" 200 5 "-" "curl/8" "a.test" a.test'
    )


@given(text=st.text())
@pytest.mark.parametrize("form", [format_json, format_combined])
def test_no_text_of_a_client_can_forge_a_line_or_leave_its_quotes(form: object, text: str) -> None:
    line = (format_combined if form is format_combined else format_json)(
        entry(method="GET", target=text, user_agent=text, referer=text, host=text), AT
    )

    assert line.isprintable()
    assert line.isascii()
    if form is format_combined:
        outside = re.sub(r'"[^"]*"', '""', line)
        assert outside == '192.0.2.7 - - [01/Mar/2026:12:00:00 +0000] "" - 0 "" "" "" a.test'
    else:
        assert json.loads(line)["target"] == text


@in_loop
async def test_lines_of_one_turn_are_written_together_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path, "json", lambda: AT)

    for number in range(3):
        log.write(entry(status=200 + number))
    assert not path.exists()
    await asyncio.sleep(0)

    log.close()
    assert [json.loads(line)["status"] for line in path.read_text().splitlines()] == [200, 201, 202]


@in_loop
async def test_closing_follows_log_rotation(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path, "json", lambda: AT)
    log.write(entry(status=200))
    log.flush()
    path.rename(tmp_path / "access.log.1")

    log.close()
    log.write(entry(status=201))
    log.close()

    assert json.loads(path.read_text())["status"] == 201


@in_loop
async def test_a_log_that_can_not_be_written_is_reported_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = AccessLog(tmp_path / "no such folder" / "access.log", "json", lambda: AT)

    log.write(entry())
    log.flush()
    log.write(entry())
    log.flush()

    assert len(caplog.records) == 1
    assert not log.is_enabled
    log.close()
    assert log.is_enabled, "a reload tries again"


@in_loop
async def test_logging_continues_once_there_is_room_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "access.log"
    path.symlink_to("/dev/full")
    log = AccessLog(path, "json", lambda: AT)
    log.write(entry(status=200))
    log.flush()
    assert "No space left" in caplog.text
    path.unlink()

    log.close()
    log.write(entry(status=201))
    log.close()

    assert [json.loads(line)["status"] for line in path.read_text().splitlines()] == [201]


@in_loop
async def test_without_a_path_nothing_is_formatted_or_queued() -> None:
    log = AccessLog(None, "json", lambda: AT)

    log.write(entry())

    assert not log.is_enabled
    assert log._pending == []
