"""What renewal remembers, on all nodes: the state of each site, and what was counted towards the limits of each CA.

A site's state is written by the holder of its lock, in the transaction that lets the lock go: nobody else's is newer.
Of a count, nodes put together what each has seen, so it is never too low. The memory of each node stays what renewal
reads; it is told of what others wrote.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

from certstore.cluster.engine import Committed, Engine, EngineFailed, Item, ModifiedAt, Op, Put
from certstore.cluster.order_locks import OrderLocks
from certstore.cluster.sealing import Sealer
from certstore.model.cluster.paths import ClusterPaths, RecordPath, Shelf
from certstore.model.cluster.wire import READ_BY_OTHERS, RecordClass, Refused
from certstore.model.renewal.state import RenewalState
from certstore.renewal.memory import MOST_EVENTS, RenewalMemory, is_counter

logger = logging.getLogger(__name__)

_ROUNDS = 8
_STAR = "~"
"""For the asterisk of a wildcard, which no path has; no name and no CA's key has a tilde."""


class SharedBooks:
    """`bind`, `let_go` and `take_note` may be called from any thread, the rest by the one that follows."""

    def __init__(self, engine: Engine, sealer: Sealer, paths: ClusterPaths, locks: OrderLocks) -> None:
        self._engine, self._sealer, self._paths, self._locks = engine, sealer, paths, locks
        self._lock = threading.RLock()
        self._noting = threading.Lock()
        """For what is noted under the memory's own lock, so it is never held while the memory is asked."""
        self._memory: RenewalMemory | None = None
        self._states: dict[str, RenewalState] = {}
        """What came before there was a memory."""
        self._counters: dict[str, list[float]] = {}
        self._changed: set[str] = set()
        """The counters that others have to know."""

    def bind(self, memory: RenewalMemory | None) -> None:
        """The memory has what others remember from now on; None: it is about to be closed."""
        with self._lock:
            self._memory = memory
            if memory is None:
                return
            for site, state in self._states.items():
                memory.adopt(site, state)
            for key, times in self._counters.items():
                memory.adopt_counter(key, times)
            self._states, self._counters = {}, {}
            memory.on_count = self.take_note
            counted = set(memory.counters())
        with self._noting:
            self._changed |= counted

    def take_note(self, key: str) -> None:
        """Something was counted here."""
        with self._noting:
            self._changed.add(key)

    def let_go(self, site: str) -> None:
        """The site's lock, with what renewal remembers of it now. Never raises."""
        fence, ops = self._locks.fence(site), list[Op]()
        with self._lock:
            memory = self._memory
        if fence is not None and memory is not None:
            path = self._paths.of(Shelf.RENEWAL, site)
            text = json.dumps(replace(memory.state(site), info=None).to_json())
            try:
                # Later locks came into being at later revisions, so this rises from holder to holder.
                ops.append(Put(path, self._sealer.seal(path, fence.revision, RecordClass.CONTROL, text.encode())))
            except (Refused, ValueError) as error:  # a lock that stays would keep all nodes from ordering
                logger.warning("cluster: what renewal remembers of %s is not shared: %s", site, error)
        self._locks.release(site, ops)

    # What the others wrote

    def read(self, items: Iterable[Item]) -> None:
        for item in items:
            if (where := self._paths.parse(item.key)) is not None:
                self._take(where, item)

    def _take(self, where: RecordPath, item: Item) -> None:
        try:
            match where.shelf:
                case Shelf.RENEWAL:
                    self._take_state(where.name, RenewalState.from_json(json.loads(self._opened(item))))
                case Shelf.COUNTER:
                    self._take_counter(where, _times(self._opened(item)))
        except Refused as error:
            logger.warning("cluster: what renewal remembers does not count: %s", error)
        except (KeyError, TypeError, ValueError, RecursionError):
            logger.warning("cluster: what renewal remembers does not count: %s can't be understood", item.key)

    def _take_state(self, site: str, state: RenewalState) -> None:
        with self._lock:
            if self._locks.fence(site) is not None:
                return  # an attempt of this node is under way
            if self._memory is None:
                self._states[site] = state
            else:
                self._memory.adopt(site, state)

    def _take_counter(self, where: RecordPath, times: list[float]) -> None:
        key = _key(where)
        with self._lock:
            if self._memory is None:
                self._counters[key] = times
            else:
                self._memory.adopt_counter(key, times)

    def _opened(self, item: Item) -> bytes:
        return self._sealer.open(item.key, item.value).plaintext

    # What was counted here

    def flush(self) -> bool:
        """Give the others what was counted here; whether there was anything. Without the engine, the next call does."""
        self._locks.sweep()
        with self._noting:
            changed, self._changed = self._changed, set()
        with self._lock:
            counters: Mapping[str, list[float]] = self._memory.counters() if self._memory is not None else {}
        for key in sorted(changed):
            if key not in counters:
                continue
            try:
                if not self._put_together(key, counters[key]):
                    with self._noting:
                        self._changed.add(key)
            except EngineFailed as error:
                logger.debug("cluster: what was counted is not shared yet: %s", error)
                with self._noting:
                    self._changed |= changed
                break
            except ValueError:  # a name that is too long for a path
                logger.debug("cluster: %s is counted by each node for itself", key)
        return bool(changed)

    def _put_together(self, key: str, ours: list[float]) -> bool:
        """False where it has to wait: what others counted can't be read here, and would be lost."""
        path = self._path(key)
        for _ in range(_ROUNDS):
            item = self._engine.get([path]).by_key().get(path)
            generation, theirs = 0, list[float]()
            if item is not None:
                try:
                    opened = self._sealer.open(path, item.value)
                    generation, theirs = opened.generation, _times(opened.plaintext)
                except Refused as error:
                    if error.why in READ_BY_OTHERS:
                        return False
                except (ValueError, RecursionError):
                    pass  # it counts for nobody
            whole = sorted({*theirs, *ours})[-MOST_EVENTS:]
            if whole == theirs:
                return True
            value = self._sealer.seal(path, generation + 1, RecordClass.CONTROL, json.dumps(whole).encode())
            outcome = self._engine.commit(
                [ModifiedAt(path, item.modified if item is not None else 0)], [Put(path, value)]
            )
            if isinstance(outcome, Committed):
                return True
        return True

    def _path(self, key: str) -> str:
        ca, _, name = key.partition("|")
        return self._paths.of(Shelf.COUNTER, ca, name.replace("*", _STAR))


def _key(where: RecordPath) -> str:
    ca, name = where.parts
    return f"{ca}|{name.replace(_STAR, '*')}"


def _times(plaintext: bytes) -> list[float]:
    """Raises ValueError."""
    times = json.loads(plaintext)
    if not is_counter(times) or len(times) > MOST_EVENTS:
        raise ValueError("not instants")
    return sorted(map(float, times))
