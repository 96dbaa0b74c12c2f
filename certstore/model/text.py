"""Makes text from strangers fit for people and logs: printable and bounded."""

from __future__ import annotations

_SHOWN_LIMIT = 120


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
