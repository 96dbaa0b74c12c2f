"""A live certificate that can't be loaded for serving, and what is served in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from certstore.model.snapshot import MAIN


@dataclass(frozen=True, slots=True)
class Unloadable:
    """`version` is live; `served` is the version that clients get instead, None where there is none that can be loaded.
    It is `version` itself where that was loaded before its files became unreadable. `reason` is the library's.
    """

    site: str
    version: int
    reason: str
    served: int | None

    @property
    def message(self) -> str:
        return f"version {self.version} of {self.site}, which is live, can't be loaded ({self.reason}): {self._instead}"

    @property
    def _instead(self) -> str:
        if self.served == self.version:
            return "it is served as it was loaded before"
        if self.served is not None:
            return f"version {self.served} is served in its place"
        return "nothing can be served" if self.site == MAIN else "the main certificate is served in its place"

    def to_json(self) -> list[Any]:
        return [self.site, self.version, self.reason, self.served]

    @classmethod
    def from_json(cls, facts: list[Any]) -> Unloadable:
        """Raises TypeError or ValueError for anything but what `to_json` gives."""
        site, version, reason, served = facts
        return cls(str(site), int(version), str(reason), None if served is None else int(served))


def main_first(found: list[Unloadable]) -> list[Unloadable]:
    """One per site."""
    by_site = {each.site: each for each in found}
    return sorted(by_site.values(), key=lambda each: (each.site != MAIN, each.site))
