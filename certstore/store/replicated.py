"""What a cluster needs of the one writer: to be told of changes, and to make those of other nodes here.

A store that no cluster follows has no listener, and nothing here is called. Every method takes the writer's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from certstore.model.front import Front
from certstore.model.layout import Layout
from certstore.model.version import Version
from certstore.store.adoption import (
    Adopted,
    Declaration,
    HeadAdoption,
    Removed,
    SiteAdoption,
    adopt_declarations,
    adopt_heads,
    check_head,
    declaration_of,
)
from certstore.store.errors import UnknownVersion
from certstore.store.front_mark import write_front
from certstore.store.live_check import tried_with
from certstore.store.reader import Store
from certstore.store.versions import live_number, version_numbers
from certstore.store.writer_state import SiteChange, WriterState


class ReplicatedStore(Store):
    """The part of `StoreWriter` that follows other nodes and lets itself be followed."""

    def __init__(self, layout: Layout, state: WriterState) -> None:
        super().__init__(layout)
        self._state = state
        self._lock = threading.RLock()
        self.exposed_before: datetime | None = None
        """A node that was stolen knew every private key that was made before this instant; None: no node was, or the
        cluster has not been asked yet.
        """

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """`listener` is called with every site that was changed, removed or recorded. It is called under the writer's
        lock, on any thread, so it may only take note of the site.
        """
        with self._lock:
            self._state.listeners.append(listener)

    def declaration(self, site: str) -> Declaration | Removed | None:
        """What the site declares, None where there never was such a site."""
        with self._lock:
            return declaration_of(self._state, site)

    def predecessor(self, site: str) -> int:
        """The version that `rollback` would make live. Raises UnknownVersion."""
        with self._lock:
            return self._predecessor(site)

    def tried_with(self, version: Version) -> str:
        """The TLS library that has loaded this live version here; empty where it was not tried."""
        with self._lock:
            return tried_with(self._state, version)

    @property
    def base(self) -> Path:
        """Where relative paths of the settings start."""
        return self._state.policy.base

    @property
    def front(self) -> Front | None:
        """None on a node that may change what all serve."""
        return self._state.policy.front

    def be_front(self, front: Front | None) -> None:
        """From now on, and after the next start, unless this raises OSError."""
        with self._lock:
            self._state.policy = replace(self._state.policy, front=front)
            write_front(self.layout, front)

    def now(self) -> datetime:
        return self._state.clock()

    def removed_sites(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._state.tombstones)

    def agree_numbers(self, site: str, numbers: Mapping[str, int]) -> None:
        """The nodes have agreed on when the site's names were first declared. Raises OSError."""
        with self._lock:
            if site in self._state.registry:
                self._state.commit(SiteChange(site, numbers=numbers))

    def adopt_declarations(self, adoptions: Sequence[SiteAdoption]) -> tuple[Adopted, ...]:
        """Settings and removals of other nodes, one of each site. Raises OSError when the store can't be written."""
        with self._lock:
            return adopt_declarations(self._state, adoptions)

    def adopt_heads(self, adoptions: Sequence[HeadAdoption]) -> tuple[Adopted, ...]:
        """Live versions of other nodes, one of each site. Reading and trying them needs no lock. Raises OSError when
        the store can't be written.
        """
        # Side by side, as a trial is the work of another process.
        checked = list(self._state.sync_pool.map(partial(check_head, self._state), adoptions))
        with self._lock:
            return adopt_heads(self._state, checked, self._state.clock())

    def _predecessor(self, site: str) -> int:
        live = live_number(self.layout, site)
        numbers = version_numbers(self.layout, site)
        before = self._state.records(site).predecessor_of(live) if live is not None else None
        if before in numbers:
            return before
        older = [number for number in numbers if live is None or number < live]
        if not older:
            raise UnknownVersion(f"{site} has no version before the live one")
        return older[-1]
