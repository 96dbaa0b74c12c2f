"""Which site somebody meant who typed the name of one that does not exist."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

_ALIKE = 0.75
"""How alike two keys have to be: a typing error passes, and a host name without its first label."""

_LISTED = 8
_COMMAND = "certedge site list"


def site_advice(asked: str, known: Collection[str]) -> str:
    """What to do about an unknown site: the nearest one, all of them where they are few, else how to list them."""
    if near := get_close_matches(asked.lower(), known, n=1, cutoff=_ALIKE):
        return f"did you mean {near[0]}? All sites: {_COMMAND}"
    if 0 < len(known) <= _LISTED:
        return f"the sites are: {', '.join(known)}"
    return f"list the sites with: {_COMMAND}"
