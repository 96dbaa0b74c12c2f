"""Which site was meant, when there is none of the name that somebody typed."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

_ALIKE = 0.75
"""So far a slip of the fingers, or a host name without its first label, is still like the site's key."""

_LISTED = 8
_COMMAND = "certedge site list"


def site_advice(asked: str, known: Collection[str]) -> str:
    """What to do about an unknown site: the one that is nearest, all where they are few, else how to list them."""
    if near := get_close_matches(asked.lower(), known, n=1, cutoff=_ALIKE):
        return f"did you mean {near[0]}? All sites: {_COMMAND}"
    return f"those there are: {', '.join(known) if 0 < len(known) <= _LISTED else _COMMAND}"
