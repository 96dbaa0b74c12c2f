"""Uploaded files between preview and installation: in memory, for a few minutes, only for the user who uploaded them.

They hold private keys: they are never written to disk or shown, and only a few are kept.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certstore.store.writer import Preview

LASTS = timedelta(minutes=15)
_PER_PERSON = 5
_IN_ALL = 50


@dataclass(frozen=True, slots=True)
class _Kept:
    owner: str
    preview: Preview = field(repr=False)
    until: datetime


class Uploads:
    """Used from several threads."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def keep(self, owner: str, preview: Preview) -> str:
        """The key with which the same user gets it back."""
        key = secrets.token_urlsafe(24)
        with self._lock:
            now = self._clock()
            self._kept = {each: upload for each, upload in self._kept.items() if upload.until > now}
            mine = [each for each, upload in self._kept.items() if upload.owner == owner]
            for oldest in mine[: max(len(mine) - _PER_PERSON + 1, 0)] or list(self._kept)[: len(self._kept) // _IN_ALL]:
                del self._kept[oldest]
            self._kept[key] = _Kept(owner, preview, now + LASTS)
        return key

    def take(self, key: str, owner: str, site: str) -> Preview | None:
        """The preview, once; None if it is gone, another user's, or for another site."""
        with self._lock:
            upload = self._kept.get(key)
            if upload is None or (upload.owner, upload.preview.site) != (owner, site) or upload.until <= self._clock():
                return None
            return self._kept.pop(key).preview
