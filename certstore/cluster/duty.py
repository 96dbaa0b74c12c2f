"""Which node renews, changes accounts and sends warnings: the one that holds `n/caretaker` under its lease.

A node that lost the engine loses the duty with its lease: two nodes that can't see each other would both order. One
whose settings would order other certificates may not take it (`model.cluster.ordering`); it sets what the cluster
agrees on where it agreed before, and its edge.yaml has changed since.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from certstore.cluster.engine import (
    Committed,
    Compare,
    CreatedAt,
    Delete,
    Engine,
    EngineFailed,
    Item,
    ModifiedAt,
    Op,
    Put,
)
from certstore.cluster.sealing import Sealer
from certstore.cluster.session import Attachment
from certstore.files.atomic import replace_file
from certstore.files.clock import utc_now
from certstore.model.cluster.health import ClusterProblem
from certstore.model.cluster.ordering import Agreement, OrderingFacts, OrderingRecord, decide_agreement, differing_keys
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.wire import RecordClass, Refused
from certstore.model.layout import Layout
from certstore.model.text import listed

ROUND_SECONDS = 1.0
SETTLE_SECONDS = 5.0
"""A node that has just come back to the engine waits this long: it may not have seen yet what others renewed."""
WARNS_ALONE_AFTER = timedelta(hours=1)
"""A node that has been cut off for so long sends warnings too: perhaps nobody has the duty."""

logger = logging.getLogger(__name__)


class LeasedEngine(Engine, Protocol):
    """What of a session is needed here beyond an engine."""

    @property
    def attachment(self) -> Attachment: ...

    @property
    def lease(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Held:
    lease: int
    created: int


class ClusterDuty:
    """A `Duty`. Call `start` and `stop` once each; without `start`, `round` does one step.

    `could_order` is False for a front, for a node that keeps only some sites, and for one that answers no challenges.
    `is_current` says whether the store has everything that the engine has: else it could renew what is renewed.
    `may_publish` is False for a node that was taken out, or whose name another machine has: what it renewed would reach
    nobody.
    """

    def __init__(
        self,
        session: LeasedEngine,
        sealer: Sealer,
        paths: ClusterPaths,
        node: str,
        ours: OrderingFacts,
        layout: Layout,
        *,
        could_order: bool = True,
        is_current: Callable[[], bool] = lambda: True,
        may_publish: Callable[[], bool] = lambda: True,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._sealer = session, sealer
        self._caretaker, self._acme = paths.caretaker, paths.of(Shelf.ACME)
        self._node, self._ours = node, ours
        self._could_order, self._is_current, self._settle_seconds = could_order, is_current, settle_seconds
        self._may_publish = may_publish
        self._leased = (0, 0.0)
        """The latest lease, and since when it is this one."""
        self._agreed = _AgreedFacts(layout)
        self._clock, self._monotonic = clock, monotonic
        self._held: _Held | None = None
        self.holder = ""
        """Who has the duty, as this node saw last; empty: nobody."""
        self.problem: tuple[ClusterProblem, str] | None = None
        """Why this node may not take the duty."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster-duty", daemon=True)

    # Duty

    def is_mine(self) -> bool:
        held = self._held
        return held is not None and self._session.lease == held.lease

    def is_mine_to_warn(self) -> bool:
        if self.is_mine():
            return True
        attachment = self._session.attachment
        away = timedelta(seconds=self._monotonic() - attachment.since)
        return not attachment.is_attached and away >= WARNS_ALONE_AFTER

    def why_not_order(self) -> tuple[str, str] | None:
        """Why this node may not order for a person who asks either, and what to do. It need not have the duty."""
        if not self._may_publish():
            return f"what {self._node} orders would reach no other node", "to see why: certedge cluster status"
        if self.problem is not None and self.problem[0] is ClusterProblem.ACME_DIFFERS:
            return self.problem[1], "order on another node, or make `acme` and `notify` the same and reload"
        return None

    def fence(self) -> Compare | None:
        """What a write that only the holder may do has to compare; None while the duty is not ours."""
        held = self._held
        return CreatedAt(self._caretaker, held.created) if held is not None and self.is_mine() else None

    # The thread

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The session's end gives the lease back, and with it the duty."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._held = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round()
            except EngineFailed as error:
                logger.debug("cluster: the duty could not be looked at: %s", error)  # `is_mine` follows the lease
            except Exception:
                logger.exception("cluster: the duty could not be looked at")
            self._stopping.wait(ROUND_SECONDS)

    def round(self) -> None:
        """Take the duty if it is free and this node may have it; notice when it is lost. Raises EngineFailed."""
        lease = self._session.lease
        if not lease:
            self._lose("the engine has not answered for as long as the lease lasts")
            return
        if lease != self._leased[0]:
            self._leased = (lease, self._monotonic())
        found = self._session.get([self._caretaker, self._acme]).by_key()
        there = found.get(self._caretaker)
        self.holder = there.value.decode("ascii", "replace")[:63] if there is not None else ""
        may_have = self._could_order and self._may_publish() and self._agrees(found.get(self._acme))
        if there is not None and there.lease == lease:
            self._take(_Held(lease, there.created))
            if not may_have:
                self._give_back(there)
            return
        self._lose(f"{self.holder or 'nobody'} has it")
        is_settled = self._monotonic() - self._leased[1] >= self._settle_seconds
        if there is None and may_have and is_settled and self._is_current():
            compares: list[Compare] = [ModifiedAt(self._caretaker, 0)]
            outcome = self._session.commit(compares, [Put(self._caretaker, self._node.encode(), lease)])
            if isinstance(outcome, Committed):
                self._take(_Held(lease, outcome.revision))

    def _take(self, held: _Held) -> None:
        if self._held != held:
            logger.info("cluster: this node renews certificates and sends warnings from now on")
        self._held, self.holder = held, self._node

    def _lose(self, reason: str) -> None:
        if self._held is not None:
            logger.warning("cluster: this node no longer renews certificates: %s", reason)
        self._held = None

    def _give_back(self, there: Item) -> None:
        """Somebody else, who may have it, can have it at once."""
        differ = "its settings differ from those that the cluster agreed on"
        self._lose(differ if self._may_publish() else "what it renews would reach no other node")
        self._session.commit([ModifiedAt(self._caretaker, there.modified)], [Delete(self._caretaker)])

    # What is agreed on

    def _agrees(self, item: Item | None) -> bool:
        """Whether this node's settings are those of the cluster; sets them where that is up to this node."""
        generation, theirs = 0, None
        if item is not None:
            try:
                opened = self._sealer.open(self._acme, item.value)
                generation, theirs = opened.generation, OrderingRecord.decode(opened.plaintext)
            except Refused as error:
                self.problem = ClusterProblem.RECORD_REFUSED, f"what the cluster orders by can't be read: {error}"
                return False
        match decide_agreement(self._ours, self._agreed.read(), theirs.facts if theirs is not None else None):
            case Agreement.AGREES:
                self._agreed.write(self._ours)
            case Agreement.SETS:
                if not self._set(item, generation + 1):
                    return False
            case Agreement.DIFFERS:
                self.problem = ClusterProblem.ACME_DIFFERS, self._difference(theirs)
                return False
        self.problem = None
        return True

    def _set(self, item: Item | None, generation: int) -> bool:
        record = OrderingRecord(dict(self._ours), self._node, self._clock())
        value = self._sealer.seal(self._acme, generation, RecordClass.CONTROL, record.encode())
        ops: list[Op] = [Put(self._acme, value)]
        outcome = self._session.commit([ModifiedAt(self._acme, item.modified if item is not None else 0)], ops)
        if isinstance(outcome, Committed):
            self._agreed.write(self._ours)
        return isinstance(outcome, Committed)

    def _difference(self, theirs: OrderingRecord | None) -> str:
        keys = listed(differing_keys(self._ours, theirs.facts if theirs is not None else {}))
        by = theirs.by if theirs is not None else "the cluster"
        return f"{self._node} may not renew, as its edge.yaml differs from that of {by} in {keys}: make them the same"


class _AgreedFacts:
    """What this node last had in common with the cluster. A file that can't be read counts as none: the node then
    follows the others.
    """

    def __init__(self, layout: Layout) -> None:
        self._path, self._temporary = layout.cluster_ordering, layout.temporary
        self._known: OrderingFacts | None = None

    @property
    def path(self) -> Path:
        return self._path

    def read(self) -> OrderingFacts | None:
        if self._known is None:
            try:
                facts = json.loads(self._path.read_bytes())
            except (OSError, ValueError, RecursionError):
                return None
            if isinstance(facts, dict) and all(isinstance(value, str) for value in facts.values()):
                self._known = facts
        return self._known

    def write(self, facts: OrderingFacts) -> None:
        if self.read() == facts:
            return
        content = json.dumps(dict(facts)).encode() + b"\n"
        try:
            self._path.parent.mkdir(0o700, exist_ok=True)
            replace_file(self._path, content, 0o600, self._temporary)
        except OSError as error:
            logger.warning("cluster: %s: %s", self._path, error.strerror)
        self._known = facts
