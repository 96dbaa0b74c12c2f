from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from certstore.files.line_log import LineLog, complete_part, decode_lines, encode_line

DEEP = b"[" * 100_000 + b"]" * 100_000 + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


@pytest.mark.parametrize("values", [[], [1], [{"a": "é\n"}, None, [1, "2"]]])
def test_lines_come_back(values: list[Any]) -> None:
    content = b"".join(map(encode_line, values))
    assert content.count(b"\n") == len(values), "a value never spans lines"
    assert list(decode_lines(content)) == values


@pytest.mark.parametrize(
    ("content", "complete"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"1\n2\n", b"1\n2\n", id="whole"),
        pytest.param(b"1\n2", b"1\n", id="the last was being written"),
        pytest.param(b"1", b"", id="the only one was being written"),
    ],
)
def test_only_complete_lines_count(content: bytes, complete: bytes) -> None:
    assert complete_part(content) == complete


@pytest.mark.parametrize(
    ("content", "expected", "was_there"),
    [
        pytest.param(None, ([], False), False, id="no file"),
        pytest.param(b"", ([], True), False, id="an empty file"),
        pytest.param(b"1\n2\n", ([1, 2], True), True, id="whole"),
        pytest.param(b"1\n2", ([1], False), True, id="cut in the last line"),
        pytest.param(b"1\nodd\n2\n", ([1, 2], False), True, id="an unreadable line"),
        pytest.param(b"1\n\xff\n", ([1], False), True, id="a line that is no text"),
        pytest.param(b"1\n" + DEEP, ([1], False), True, id="a line that is nested without end"),
    ],
)
def test_reading(path: Path, content: bytes | None, expected: tuple[list[Any], bool], was_there: bool) -> None:
    if content is not None:
        path.write_bytes(content)
    log = LineLog(path, path.parent)
    assert log.read() == expected
    assert log.was_there is was_there


@pytest.mark.parametrize("is_durable", [True, False])
def test_lines_are_appended_for_the_owner_alone(path: Path, is_durable: bool) -> None:
    log = LineLog(path, path.parent)
    log.append([1, 2], is_durable=is_durable)
    log.append([3], is_durable=is_durable)
    log.sync()
    log.close()
    assert path.read_bytes() == b"1\n2\n3\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_failed_append_leaves_no_part_of_a_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LineLog(path, path.parent)
    log.append([1], is_durable=True)

    def broken(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(OSError, match="No space"):
            log.append([2], is_durable=True)
    assert log.is_as_left
    log.append([3], is_durable=True)
    assert path.read_bytes() == b"1\n3\n"
    log.close()


@pytest.mark.parametrize("change", ["none", "cut", "extended", "replaced", "removed"])
def test_change_by_another_program_is_noticed(path: Path, change: str) -> None:
    log = LineLog(path, path.parent)
    assert log.is_as_left, "nothing was appended yet"
    log.append([1, 2], is_durable=False)
    match change:
        case "cut":
            os.truncate(path, 1)
        case "extended":
            with path.open("ab") as file:
                file.write(b"3\n")
        case "replaced":
            other = path.with_name("other")
            other.write_bytes(path.read_bytes())
            other.replace(path)
        case "removed":
            path.unlink()
    assert log.is_as_left is (change == "none")
    log.close()


def test_rewrite_replaces_the_file_and_appending_goes_on_in_the_new_one(path: Path) -> None:
    log = LineLog(path, path.parent)
    log.append([1, 2, 3], is_durable=False)
    inode = path.stat().st_ino
    log.rewrite([3])
    log.append([4], is_durable=False)
    assert path.read_bytes() == b"3\n4\n"
    assert path.stat().st_ino != inode, "readers see that they have to begin anew"
    log.close()


LONG = "x" * (32 * 1024 - 3)
"""A line of 32 KB, with its quotes and its newline."""


@pytest.mark.parametrize(
    ("rewritten", "appended", "expected"),
    [
        pytest.param([], [LONG, LONG], False, id="as long as the slack"),
        pytest.param([], [LONG, LONG, 1], True, id="longer than the slack"),
        pytest.param([LONG], [LONG, LONG, LONG], False, id="twice as long and the slack"),
        pytest.param([LONG], [LONG, LONG, LONG, 1], True, id="more than twice as long and the slack"),
    ],
)
def test_log_is_overgrown(path: Path, rewritten: list[Any], appended: list[Any], expected: bool) -> None:
    log = LineLog(path, path.parent)
    log.rewrite(rewritten)
    log.append(appended, is_durable=False)
    assert log.is_overgrown is expected
    log.close()


def test_second_name_keeps_the_content_over_a_rewrite(path: Path) -> None:
    log = LineLog(path, path.parent)
    log.append(["old"], is_durable=False)
    other = path.with_name("kept")
    other.write_bytes(b"an earlier one")
    log.keep_as(other)
    log.rewrite(["new"])
    assert (other.read_bytes(), path.read_bytes()) == (b'"old"\n', b'"new"\n')


def test_lines_of_more_than_one_part() -> None:
    values = [f"{number}{'x' * 1000}" for number in range(500)]
    assert list(decode_lines(b"".join(map(encode_line, values)))) == values


@pytest.mark.parametrize("at", [0, 250, 499])
def test_a_damaged_line_in_any_part(at: int) -> None:
    lines = [encode_line("x" * 1000) for _ in range(500)]
    lines[at] = b"{\n"
    with pytest.raises(ValueError, match="Expecting"):
        list(decode_lines(b"".join(lines)))
