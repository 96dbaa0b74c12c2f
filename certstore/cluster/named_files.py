"""Files of a node's own that sites' settings name: they are not shared, so another node may lack them.

A site that needs one answers 502 there. Contents are not looked at.
"""

from __future__ import annotations

import os
import threading
import time

from certstore.model.settings.models import SiteSettings
from certstore.store.writer import StoreWriter, UnknownSite

LOOK_SECONDS = 10.0


class NamedFiles:
    """`note` may be called from any thread, `missing` from one."""

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self._lock = threading.Lock()
        self._changed = set(writer.sites())
        self._named: dict[str, tuple[tuple[str, str], ...]] = {}
        """By site, the settings that name a file, with the path."""
        self._missing: list[tuple[str, str]] = []
        self._looked_at = 0.0
        writer.subscribe(self.note)

    def note(self, site: str) -> None:
        """The site changed."""
        with self._lock:
            self._changed.add(site)

    def missing(self) -> list[tuple[str, str]]:
        """The sites, and which file each lacks, in words."""
        with self._lock:
            changed, self._changed = self._changed, set()
        for site in changed:
            try:
                named = _named_in(self._writer.settings(site))
            except UnknownSite:  # it was removed
                named = ()
            if named:
                self._named[site] = named
            else:
                self._named.pop(site, None)
        if changed or time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._missing, self._looked_at = self._look(), time.monotonic()
        return self._missing

    def _look(self) -> list[tuple[str, str]]:
        paths = {path for named in self._named.values() for _, path in named}
        gone = {path for path in paths if not os.path.exists(self._writer.base / path)}  # noqa: PTH110  Path.exists raises
        return [
            (site, f"upstream: {key}: there is no {path}")
            for site, named in sorted(self._named.items())
            for key, path in named
            if path in gone
        ]


def _named_in(settings: SiteSettings | None) -> tuple[tuple[str, str], ...]:
    found: dict[tuple[str, str], None] = {}
    for upstream in (settings.upstream if settings is not None else None) or ():
        for key in ("ca_file", "client_cert"):
            if (path := getattr(upstream, key)) is not None:
                found[key, str(path)] = None
    return tuple(found)
