"""Says to the other nodes how this one is: `n/live/NODE`, for as long as the session's lease lasts.

Two machines with one node's name, a copy and its original, must not both write: the second one waits for the lease of
the first to end, and says so if it never does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from certstore.cluster.engine import Committed, Compare, Engine, Item, LeaseGone, ModifiedAt, Put
from certstore.cluster.sealing import Sealer
from certstore.model.cluster.health import Presence, presence
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Live

SAID_AGAIN = timedelta(seconds=5)
"""What has not changed is said again this often: the others compare clocks."""
AT_MOST = timedelta(seconds=1)


class Announcer:
    """Used by one thread. `lease` gives the session's lease, 0 while there is none."""

    def __init__(
        self,
        engine: Engine,
        lease: Callable[[], int],
        sealer: Sealer,
        paths: ClusterPaths,
        node: str,
        clock: Callable[[], datetime],
        draw: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._sealer = sealer
        self._path = paths.live(node)
        self._clock = clock
        self.instance = draw()
        self.is_cloned = False
        self._began: datetime | None = None
        self._said: tuple[Live, datetime] | None = None
        self._under = 0
        self._modified = 0
        self._is_hurried = False

    def hurry(self) -> None:
        """Somebody waits for what comes next: it is said at once."""
        self._is_hurried = True

    def is_due(self, live: Live) -> bool:
        """Whether there is something to say. `live.clock` does not count."""
        if self._said is None or self._under != self._lease() or self._is_hurried:
            return True
        said, at = self._said
        waited = self._clock() - at
        is_news = (said.applied, said.heads, said.sites, said.problems, said.key_ids) != (
            live.applied, live.heads, live.sites, live.problems, live.key_ids,
        )  # fmt: skip
        return waited >= (AT_MOST if is_news else SAID_AGAIN) or waited < timedelta()

    def say(self, live: Live, there: Callable[[], str | None]) -> None:
        """`there` opens who has the node's name now. Raises EngineFailed."""
        lease = self._lease()
        if not lease:
            return
        now = self._clock()
        self._began = self._began or now
        item = next(iter(self._engine.get([self._path]).items), None)
        if not self._may_take(item, there, now - self._began):
            return
        generation = max(1, int(now.timestamp() * 1000))
        value = self._sealer.seal_live(self._path, generation, live.encode())
        compares: list[Compare] = [ModifiedAt(self._path, item.modified if item is not None else 0)]
        try:
            outcome = self._engine.commit(compares, [Put(self._path, value, lease)])
        except LeaseGone:
            return  # the session takes a new one
        if isinstance(outcome, Committed):
            self._said, self._under, self._modified = (live, now), lease, outcome.revision
            self._is_hurried = False

    def _may_take(self, item: Item | None, there: Callable[[], str | None], waited: timedelta) -> bool:
        if item is None or item.modified == self._modified:
            self.is_cloned = False
            return True
        verdict = presence(there() or "", self.instance, waited)
        self.is_cloned = verdict is Presence.CLONED
        return verdict is Presence.TAKE
