"""A file of JSON lines: appended to, and rewritten as a whole when it has grown too long.

Only complete lines count: one that lacks its newline was being written when the writer was killed, and is dropped with
the next rewrite. Knows nothing of what the lines mean.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from certstore.files.atomic import replace_file, temporary_name, write_all

_SLACK = 64 * 1024
_PART = 64 * 1024


def encode_line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def decode_lines(content: bytes) -> Iterator[Any]:
    """Decode many lines at once, which takes a third less time than one by one, and not all of them, so that what the
    caller does not keep of some makes room for the next. `content` ends with a newline. Raises ValueError.
    """
    begin = 0
    while begin < len(content):
        end = content.find(b"\n", begin + _PART)
        if end < 0:
            end = len(content) - 1
        yield from json.loads(b"[" + content[begin:end].replace(b"\n", b",") + b"]")
        begin = end + 1


def complete_part(content: bytes) -> bytes:
    """The content up to and including the last newline."""
    return content[: content.rfind(b"\n") + 1]


class LineLog:
    """The writing side. `temporary` is a folder on the same file system."""

    def __init__(self, path: Path, temporary: Path) -> None:
        self._path = path
        self._temporary = temporary
        self._descriptor = -1
        self._size = 0
        self._size_when_rewritten = 0

    def read(self) -> tuple[list[Any], bool]:
        """All readable lines, and whether the file was whole. If it was not, `rewrite` it before appending."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return [], False
        complete = complete_part(content)
        self._size_when_rewritten = len(content)
        try:
            return list(decode_lines(complete)), len(complete) == len(content)
        except (ValueError, RecursionError):
            return _readable_lines(complete), False

    @property
    def was_there(self) -> bool:
        """Whether `read` found anything, readable or not."""
        return self._size_when_rewritten > 0

    def keep_as(self, other: Path) -> None:
        """Give the file a second name, under which it stays as it is when this one is rewritten. Raises OSError."""
        fresh = temporary_name(self._temporary)
        os.link(self._path, fresh)
        fresh.replace(other)

    def append(self, values: Iterable[Any], *, is_durable: bool) -> None:
        """Append all lines or, on a full disk, none: what was written of them is cut off again. Raises OSError."""
        content = b"".join(map(encode_line, values))
        descriptor = self._open()
        try:
            write_all(descriptor, content)
            if is_durable:
                os.fdatasync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self._size)
            raise
        self._size += len(content)

    def sync(self) -> None:
        """Make durable what was appended without `is_durable`."""
        if self._descriptor >= 0:
            os.fdatasync(self._descriptor)

    @property
    def is_as_left(self) -> bool:
        """False when another program has cut, extended, replaced or removed the file since the last append."""
        if self._descriptor < 0:
            return True
        try:
            named, ours = self._path.stat(), os.fstat(self._descriptor)
        except OSError:
            return False
        return named.st_ino == ours.st_ino and ours.st_size == self._size

    @property
    def is_overgrown(self) -> bool:
        """More than twice as long as when it was last rewritten."""
        return self._size > 2 * self._size_when_rewritten + _SLACK

    def rewrite(self, values: Iterable[Any]) -> None:
        """Replace the whole file by one rename; readers see another inode and read it anew. Raises OSError."""
        content = b"".join(map(encode_line, values))
        replace_file(self._path, content, 0o600, self._temporary)
        self.close()
        self._size_when_rewritten = len(content)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._descriptor).st_size
        return self._descriptor


def _readable_lines(content: bytes) -> list[Any]:
    values = []
    for line in content.splitlines():
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return values
