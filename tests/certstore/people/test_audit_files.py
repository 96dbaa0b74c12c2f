"""The audit log's files: bounded, append-only, read across files, and intact after a kill."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certstore.files.clock import utc_now
from certstore.files.line_log import encode_line
from certstore.people.audit_files import LARGEST as LARGEST_BY_DEFAULT
from certstore.people.audit_files import AuditFiles
from tests.certstore.admin.browser import sign_in
from tests.certstore.admin.console import running_console
from tests.certstore.people.audit_writer import ENTRIES, KEPT, LARGEST
from tests.certstore.stores import writing


def write(files: AuditFiles, numbers: range) -> None:
    for number in numbers:
        files.append(encode_line({"number": number}))


def numbers_of(files: AuditFiles) -> list[int]:
    return [json.loads(line)["number"] for line in b"".join(files.content()).splitlines()]


def backwards(files: AuditFiles, before: int | None = None) -> list[tuple[int, int]]:
    """(place, number)"""
    return [(place, json.loads(line)["number"]) for place, line in files.lines_backwards(before)]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_log_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, largest=200, kept=3)
    write(files, range(500))
    found = numbers_of(files)
    assert found == list(range(found[0], 500)), "complete, and in order"
    assert len(found) > 30
    assert size_of(tmp_path) < 5 * 220
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_what_was_written_in_time_is_kept_whatever_is_written_after_it(tmp_path: Path) -> None:
    later = timedelta()

    def clock() -> datetime:
        return utc_now() + later

    files = AuditFiles(tmp_path, largest=200, kept=3, lasts=timedelta(days=90), clock=clock)
    write(files, range(500))
    assert numbers_of(files) == list(range(500))
    later = timedelta(days=89)
    write(files, range(500, 520))
    assert numbers_of(files) == list(range(520))
    later = timedelta(days=91)
    write(files, range(520, 540))
    found = numbers_of(files)
    assert found == list(range(found[0], 540))
    assert size_of(tmp_path) < 5 * 220


def test_rotated_files_never_change(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, largest=200, kept=100)
    write(files, range(50))
    aside = {path: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.glob("audit-*.jsonl")}
    assert len(aside) > 1
    write(files, range(50, 100))
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in aside} == aside


def test_pages_cross_files_and_places_stay_valid(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, largest=200, kept=4)
    write(files, range(60))
    whole = backwards(files)
    assert [number for _, number in whole] == list(range(59, 59 - len(whole), -1))
    place, number = whole[10]
    write(files, range(60, 70))
    rest = backwards(files, place)
    assert rest[0][1] == number - 1
    assert rest == whole[11 : 11 + len(rest)], "the same places as before"
    assert backwards(files, 0) == []


def test_open_page_reads_on_while_the_log_is_rotated(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, largest=200, kept=1)
    write(files, range(10))
    lines = files.lines_backwards(None)
    first = json.loads(next(lines)[1])["number"]
    write(files, range(10, 200))
    assert [json.loads(line)["number"] for _, line in lines] == list(range(first - 1, -1, -1))


def test_line_that_is_being_written_is_not_exported_in_part(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path)
    write(files, range(3))
    pieces = files.content()
    exported = next(pieces)
    with (tmp_path / "audit.jsonl").open("ab", buffering=0) as file:
        file.write(b'{"number": 3, ')
        exported += next(pieces, b"")
        file.write(b'"detail": "x"}\n')
        exported += b"".join(pieces)
    assert [json.loads(line)["number"] for line in exported.splitlines()] == [0, 1, 2]


def test_line_that_a_power_cut_left_incomplete_spoils_no_other(tmp_path: Path) -> None:
    write(AuditFiles(tmp_path), range(3))
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"number": 3, "det')
    files = AuditFiles(tmp_path)
    assert numbers_of(files) == [0, 1, 2]
    write(files, range(4, 6))
    assert numbers_of(files) == [0, 1, 2, 4, 5]


def test_failed_rename_costs_the_bound_but_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "rename", refuse)
    files = AuditFiles(tmp_path, largest=100, kept=2)
    write(files, range(40))
    assert numbers_of(files) == list(range(40))
    assert "can't be rotated" in caplog.text


def test_full_disk_after_the_rename_closes_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors are reused at once: when one is closed twice, it may already belong to another thread."""
    files = AuditFiles(tmp_path, largest=100, kept=2)
    write(files, range(8))
    really_open, others = os.open, []

    def refuse_new_files(path: Any, flags: int, *args: Any, **facts: Any) -> int:
        if flags & os.O_CREAT and not Path(path).exists():
            others.append(really_open(os.devnull, os.O_RDONLY))
            raise OSError(28, "No space left on device")
        return really_open(path, flags, *args, **facts)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse_new_files)
        with pytest.raises(OSError, match="No space left"):
            write(files, range(8, 20))
    (other,) = others
    os.close(other)  # raises OSError if it was closed already
    write(files, range(20, 22))
    assert numbers_of(files)[-2:] == [20, 21]


def test_export_kept_beside_the_log_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "audit-2026-01-01.jsonl"
    kept.write_bytes(b'{"number": 1}\n')
    files = AuditFiles(tmp_path, largest=100, kept=1)
    write(files, range(50))
    assert numbers_of(files)[-1] == 49
    assert len(list(tmp_path.iterdir())) == 3
    assert kept.exists()


def test_kill_at_any_step_loses_no_entry_that_was_durable(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.certstore.people.audit_writer", str(tmp_path)],
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
        env=os.environ,
    )
    folders = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(folders) > 2 * ENTRIES, "renames, removals and new files are all among the steps"
    for folder in folders:
        acknowledged = [int(line) for line in (folder / "acknowledged").read_text().splitlines()]
        files = AuditFiles(folder, largest=LARGEST, kept=KEPT)
        found = numbers_of(files)
        assert found == list(range(found[0] if found else 0, len(acknowledged))), folder.name
        assert len(found) >= min(len(acknowledged), KEPT), folder.name
        write(files, range(len(acknowledged), ENTRIES + 20))
        after = numbers_of(files)
        assert after == list(range(after[0], ENTRIES + 20)), folder.name
        assert len(list(folder.glob("audit-*.jsonl"))) == KEPT


@pytest.mark.slow
def test_export_and_pages_include_rotated_files(tmp_path: Path) -> None:
    """With a log that has room for only a few more entries."""
    line = encode_line({"at": "2026-01-01T00:00:00.000+00:00", "who": "user anna", "from": "192.0.2.1",
                        "action": "sign_in", "site": None, "outcome": "done", "detail": "before"})  # fmt: skip
    old = LARGEST_BY_DEFAULT // len(line)
    with writing(tmp_path / "store") as writer:
        (writer.layout.admin / "audit.jsonl").write_bytes(line * old)
        (writer.layout.admin / "audit.jsonl").chmod(0o600)
    wanted = [f"entry {number}" for number in range(30)]
    with running_console(tmp_path / "store") as console:
        console.add_user("anna")
        anna, admin = sign_in(console), console.api()
        for text in wanted:
            console.access.audit.note("test", "local", "note", None, "done", text)
        assert len(list(console.writer.layout.admin.glob("audit-*.jsonl"))) == 1
        for client, path in ((admin, "/api/v1/audit.jsonl"), (anna, "/audit/export")):
            exported = [json.loads(line) for line in client.get(path).text.splitlines()]
            assert len(exported) >= old + len(wanted)
            assert [each["detail"] for each in exported[old:] if each["action"] == "note"] == wanted
        seen: list[str] = []
        page = admin.get("/api/v1/audit?limit=7").json
        while len(seen) < 50:
            seen += [each["detail"] for each in page["entries"]]
            page = admin.get(f"/api/v1/audit?limit=7&before={page['before']}").json
        assert [each for each in seen if each.startswith("entry")] == wanted[::-1]
        assert seen[-1] == "before"
