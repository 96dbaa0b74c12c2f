"""Reads text that people wrote, and makes text from strangers fit for people and logs: printable and bounded."""

from __future__ import annotations

import codecs

_SHOWN_LIMIT = 120


def written_text(content: bytes) -> str:
    """The text of a file that a person wrote, the same for settings, passwords and keys: UTF-8 with or without a byte
    order mark, or UTF-16 with one, as editors under Windows write it. Raises UnicodeDecodeError.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig")


def first_line(content: bytes) -> bytes:
    """The first line of such a file without its line end, as for a password; of other encodings, its bytes."""
    try:
        content = written_text(content).encode()
    except UnicodeDecodeError:
        pass  # a password in an older encoding is what its bytes are
    return content.splitlines()[0] if content else b""


def shown(text: str, limit: int = _SHOWN_LIMIT) -> str:
    """Text from strangers (file names, subjects), printable and short enough for a log line."""
    if len(text) > limit:
        text = text[:limit] + "…"
    return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)


def listed(items: list[str] | tuple[str, ...], limit: int = 5) -> str:
    """`a, b and 3 more`, so that a message stays a message when there are a hundred names."""
    texts = [shown(each) for each in items[:limit]]
    if (left := len(items) - limit) > 0:
        return f"{', '.join(texts)} and {left} more"
    return ", ".join(texts)
