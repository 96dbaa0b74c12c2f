"""What every way to write into a zone has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.zones import Place


class CannotWrite(Exception):
    """The message says what happened, without any credential. `needs_person`: trying again does not help."""

    def __init__(self, detail: str, *, remedy: str = "", needs_person: bool = False) -> None:
        super().__init__(detail)
        self.remedy = remedy
        self.needs_person = needs_person


class ZoneWriter(Protocol):
    """Adds and removes single values of the TXT records at one place, and leaves all others there alone. Adding what is
    there and removing what is not there succeeds. Both raise CannotWrite and Interrupted."""

    def add(self, place: Place, values: Sequence[str], bounds: Bounds) -> None: ...

    def remove(self, place: Place, values: Sequence[str], bounds: Bounds) -> None: ...
