"""etcd's JSON answers: keys and revisions, and the stream of a feed from bytes to whole revisions.

Fields that are zero or empty are left out, and numbers are text. An answer of another form raises Unanswered, because a
commit whose answer can't be read may have been applied. Pure: bytes and objects come in.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

from certstore.cluster.engine import Batch, Compacted, Item
from certstore.cluster.etcd_gateway import Unanswered, named

LINE_BYTES = 32 << 20
"""etcd splits what is larger than about 2 MB (`fragment`); base64 and names of fields make it several times that."""
_DENIED = 7


def whole(answer: Any, field: str) -> int:
    """A number of the answer; 0 if it is left out."""
    try:
        return int(answer.get(field, 0))
    except (AttributeError, OverflowError, TypeError, ValueError):
        raise Unanswered(f"the engine's answer has no number as {field}") from None


def objects(answer: Any, field: str) -> list[dict[str, Any]]:
    """A list of the answer; empty if it is left out."""
    found = answer.get(field, []) if isinstance(answer, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Unanswered(f"the engine's answer has no list as {field}")
    return found


def revision_of(answer: dict[str, Any]) -> int:
    revision = whole(answer.get("header"), "revision")
    if revision <= 0:
        raise Unanswered("the engine's answer has no revision")
    return revision


def key_bytes(key: str) -> bytes:
    """The inverse of what `item_of` makes of a key: whoever shares the engine may have written one that is no UTF-8,
    which is none of ours and must not keep the others from being read.
    """
    return key.encode(errors="surrogateescape")


def item_of(kv: Any) -> Item:
    try:
        key = base64.b64decode(kv["key"], validate=True).decode(errors="surrogateescape")
        value = base64.b64decode(kv.get("value", ""), validate=True)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Unanswered("the engine's answer has a key that can't be read") from None
    return Item(key, value, whole(kv, "create_revision"), whole(kv, "mod_revision"), whole(kv, "lease"))


def lines_of(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """A chunk ends anywhere: in a line, or after several."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        *whole_lines, rest = chunk.split(b"\n")
        for line in whole_lines:
            yield b"".join([*parts, line])
            parts, size = [], 0
        parts.append(rest)
        size += len(rest)
        if size > most:
            raise Unanswered(f"a line of the feed is longer than {most} bytes")


def message_of(endpoint: str, line: bytes) -> dict[str, Any]:
    """The watch's answer in a line; raises what it says instead: an error, compaction, the end of the watch."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Unanswered(f"{endpoint}: the feed has a line that can't be read")
    error, result = message.get("error"), message.get("result")
    if isinstance(error, dict):
        raise named(endpoint, whole(error, "grpc_code"), str(error.get("message", "")))
    if not isinstance(result, dict):
        raise Unanswered(f"{endpoint}: the feed has a line that can't be read")
    if compacted := whole(result, "compact_revision"):
        raise Compacted(f"{endpoint}: changes up to revision {compacted} were compacted away")
    if result.get("canceled"):
        raise named(endpoint, _DENIED, str(result.get("cancel_reason") or "the feed was refused without a reason"))
    return result


class Revisions:
    """Puts the events of a feed together to whole revisions, in order; `after` is the last one that is known."""

    def __init__(self, after: int) -> None:
        self._last = after
        self._revision = 0
        self._put: list[Item] = []
        self._deleted: list[str] = []

    def take(self, result: dict[str, Any]) -> Iterator[Batch]:
        """The revisions that this answer completes. One that is split (`fragment`) ends with a later answer."""
        for event in objects(result, "events"):
            item = item_of(event.get("kv"))
            if item.modified != self._revision:
                yield from self._whole()
                if item.modified <= self._last:
                    raise Unanswered(f"the feed went from revision {self._last} to {item.modified}")
                self._revision = item.modified
            if event.get("type", "PUT") == "DELETE":
                self._deleted.append(item.key)
            else:
                self._put.append(item)
        if not result.get("fragment"):
            yield from self._whole()

    def _whole(self) -> Iterator[Batch]:
        if self._revision:
            yield Batch(self._revision, tuple(self._put), tuple(self._deleted))
            self._last, self._revision, self._put, self._deleted = self._revision, 0, [], []
