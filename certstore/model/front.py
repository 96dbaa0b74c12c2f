"""A front: a node of a cluster that serves what full nodes give it, and changes nothing itself.

What it changed would reach no other node, as it has no key that signs. Every way in asks here: commands (and with them
console, API and command line) before they are performed, checks of drop folders before something is adopted. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from certstore.model.drop_decision import LastDrop
from certstore.model.text import listed


@dataclass(frozen=True, slots=True)
class Front:
    """`full_node` is one where the same can be done; None where none is known."""

    node: str
    full_node: str | None = None

    @property
    def found(self) -> str:
        return f"{self.node} is a front, which changes nothing"

    @property
    def remedy(self) -> str:
        return "do it on a full node" + (f", e.g. {self.full_node}" if self.full_node is not None else "")

    def to_json(self) -> dict[str, Any]:
        return {"node": self.node, "full_node": self.full_node}

    @classmethod
    def from_json(cls, facts: Any) -> Self:
        """Raises KeyError, TypeError or ValueError."""
        node, full_node = facts["node"], facts["full_node"]
        if not isinstance(node, str) or not (full_node is None or isinstance(full_node, str)):
            raise TypeError("not a front")
        return cls(node, full_node)


def has_other_drop(digest: str, last: LastDrop | None, *, is_absent: bool) -> bool:
    """Whether there is a drop that the site did not take before this node became a front."""
    return not is_absent and (last is None or last.is_held or last.digest != digest)


def ignored_on_front(front: Front, places: Sequence[str]) -> str | None:
    """The problem that stands for as long as something lies there; None where nothing does."""
    if not places:
        return None
    verb = "is" if len(places) == 1 else "are"
    return f"{listed(list(places))} {verb} ignored: {front.found}; {front.remedy}, and remove it here"
