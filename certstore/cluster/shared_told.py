"""What recipients have been told, in the engine: whoever takes over the warnings goes on where the last one stopped.

Only the node that has the duty writes here, in a transaction that holds only while it does. A notice that went out just
before a kill is sent again by the next node, under the same id.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from certstore.cluster.engine import Committed, Compare, Engine, EngineFailed, Item, ModifiedAt, Put, Unknown
from certstore.cluster.sealing import Sealer
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.wire import RecordClass, Refused
from certstore.model.notify.due_notices import Told

logger = logging.getLogger(__name__)


class SharedTold:
    """A `ToldSharing`. `fence` is that of the duty, None while another node has it."""

    def __init__(
        self, engine: Engine, sealer: Sealer, paths: ClusterPaths, fence: Callable[[], Compare | None]
    ) -> None:
        self._engine, self._sealer, self._paths, self._fence = engine, sealer, paths, fence
        self._lock = threading.Lock()
        self._news: dict[str, Told] = {}
        self._waiting: dict[str, Told] = {}
        """What this node told, and the others have to know."""
        self._offered: dict[str, Told] = {}
        self._generations: dict[str, int] = {}
        self._given: dict[str, tuple[int, Told]] = {}
        """By path, what this node tried to write last."""

    def offer(self, told: Mapping[str, Told]) -> None:
        with self._lock:
            self._offered = {each: what for each, what in told.items() if self._path(each) not in self._generations}

    def news(self) -> Mapping[str, Told]:
        self._flush()
        with self._lock:
            news, self._news = self._news, {}
        return news

    def tell(self, recipient: str, told: Told) -> None:
        with self._lock:
            self._waiting[recipient] = told
            self._news.pop(recipient, None)  # from before
            self._offered.pop(recipient, None)
        self._flush()

    # What the others told

    def read(self, items: Iterable[Item]) -> None:
        for item in items:
            where = self._paths.parse(item.key)
            if where is None or where.shelf is not Shelf.TOLD:
                continue
            try:
                opened = self._sealer.open(item.key, item.value)
                recipient, told = _decoded(opened.plaintext)
            except Refused as error:
                logger.warning("cluster: what a recipient was told does not count: %s", error)
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
                logger.warning("cluster: what a recipient was told does not count: it can't be understood")
            else:
                self._learn(item.key, opened.generation, recipient, told)

    def _learn(self, path: str, generation: int, recipient: str, told: Told) -> None:
        with self._lock:
            known = self._generations.get(path, 0)
            if path != self._path(recipient) or generation < known:
                return
            self._generations[path] = generation
            self._offered.pop(recipient, None)
            if generation > known and self._given.get(path) != (generation, told):
                # The node that had the duty meanwhile has told more: what waits here must not replace that later.
                self._waiting.pop(recipient, None)
            if recipient not in self._waiting:
                self._news[recipient] = told

    # What this node told

    def _flush(self) -> None:
        with self._lock:
            offered = [(recipient, told, False) for recipient, told in self._offered.items()]
            waiting = [*((recipient, told, True) for recipient, told in self._waiting.items()), *offered]
        for recipient, told, is_news in waiting:
            fence = self._fence()
            if fence is None:
                return
            try:
                self._give(fence, recipient, told, is_news=is_news)
            except EngineFailed as error:
                logger.debug("cluster: what recipients were told is not shared yet: %s", error)
                return

    def _give(self, fence: Compare, recipient: str, told: Told, *, is_news: bool) -> None:
        """Raises EngineFailed."""
        path = self._path(recipient)
        with self._lock:
            generation = self._generations.get(path, 0) + 1
            self._given[path] = generation, told
        text = json.dumps({"recipient": recipient, "told": told.to_json()})
        value = self._sealer.seal(path, generation, RecordClass.CONTROL, text.encode())
        outcome = self._engine.commit([fence] if is_news else [fence, ModifiedAt(path, 0)], [Put(path, value)])
        if isinstance(outcome, Unknown):
            return  # the next round gives it again, which does no harm
        with self._lock:
            self._offered.pop(recipient, None)
            if isinstance(outcome, Committed):
                self._generations[path] = max(generation, self._generations.get(path, 0))
                if self._waiting.get(recipient) == told:
                    del self._waiting[recipient]

    def _path(self, recipient: str) -> str:
        return self._paths.of(Shelf.TOLD, hashlib.sha256(recipient.encode()).hexdigest()[:32])


def _decoded(plaintext: bytes) -> tuple[str, Told]:
    """Raises KeyError, TypeError, ValueError, AttributeError."""
    facts: dict[str, Any] = json.loads(plaintext)
    recipient = facts["recipient"]
    if not isinstance(recipient, str):
        raise TypeError("not a recipient")
    return recipient, Told.from_json(facts["told"])
