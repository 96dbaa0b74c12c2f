"""A dictionary that outlives a restart: every change appends one JSON line, and a key's last line counts.

Used for what the writer must remember of one site without rewriting the facts of 50,000 others. One process writes it.
Knows nothing of what the values mean.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from certstore.files.line_log import LineLog
from certstore.model.layout import damaged

logger = logging.getLogger(__name__)

_SPARE_LINES = 100


def is_read_by(read: Callable[[Any], object]) -> Callable[[Any], bool]:
    """An `is_valid` that tries the function which will read the value."""

    def is_valid(value: Any) -> bool:
        try:
            read(value)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return False
        return True

    return is_valid


def read_value(path: Path, key: str) -> Any:
    """The key's value in the file of another process, None without one. Changes nothing. Raises OSError."""
    value = None
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            match _decoded(line):
                case [str(found), given] if found == key:
                    value = given
                case [str(found)] if found == key:
                    value = None
    return value


def read_values(path: Path) -> dict[str, Any]:
    """Everything in the file of another process, which has to be small. Changes nothing. Raises OSError."""
    values: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            match _decoded(line):
                case [str(key), value]:
                    values[key] = value
                case [str(key)]:
                    values.pop(key, None)
    return values


def _decoded(line: bytes) -> Any:
    """None for an unfinished or damaged line."""
    try:
        return json.loads(line)
    except ValueError:
        return None


class KeyedState(Mapping[str, Any]):
    """Values are JSON-able and never changed in place. Reading is the Mapping's. Writing raises OSError, and then
    nothing has changed in memory or on disk. Values that `is_valid` rejects are left out when the file is read, so that
    no reader fails on them.
    """

    def __init__(self, path: Path, temporary: Path, *, is_valid: Callable[[Any], bool] = lambda _: True) -> None:
        self._log = LineLog(path, temporary)
        self._values: dict[str, Any] = {}
        self._is_valid = is_valid
        lines, is_whole = self._log.read()
        odd = sum(not self._apply(line) for line in lines)
        if self._log.was_there and (odd or not is_whole):
            self._keep_damaged(path, odd)
        if not is_whole or len(lines) > 2 * len(self._values) + _SPARE_LINES:
            self._rewrite()

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: str, value: Any, *, is_durable: bool = True) -> None:
        """Without `is_durable`, call `sync` once after many changes."""
        if key in self._values and self._values[key] == value:
            return
        self._log.append([[key, value]], is_durable=is_durable)
        self._values[key] = value
        self._compact()

    def drop(self, key: str, *, is_durable: bool = True) -> None:
        """Nothing happens when the key is not there."""
        if key not in self._values:
            return
        self._log.append([[key]], is_durable=is_durable)
        del self._values[key]
        self._compact()

    def sync(self) -> None:
        self._log.sync()

    def close(self) -> None:
        self._log.close()

    def _keep_damaged(self, path: Path, odd: int) -> None:
        """Lines that are not understood may come from a later release: the next rewrite would lose them."""
        kept = damaged(path)
        try:
            self._log.keep_as(kept)
        except OSError as error:
            kept_as = f"a copy could not be kept as {kept.name}: {error.strerror}"
        else:
            kept_as = f"a copy is kept as {kept.name}"
        what = f"{odd} lines that can't be understood" if odd else "damaged lines, or an unfinished one"
        logger.warning("%s has %s; they are ignored, and %s", path, what, kept_as)

    def _apply(self, line: Any) -> bool:
        """Whether the line was understood."""
        match line:
            case [str(key), value] if self._is_valid(value):
                self._values[key] = value
            case [str(key)]:
                self._values.pop(key, None)
            case _:
                return False
        return True

    def _compact(self) -> None:
        if self._log.is_overgrown:
            # On a full disk the long file stays; its content is the same.
            with contextlib.suppress(OSError):
                self._rewrite()

    def _rewrite(self) -> None:
        self._log.rewrite([key, value] for key, value in self._values.items())
