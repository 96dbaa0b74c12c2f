"""Waits until the other nodes have what an order needs of them, and goes on without a node that never has.

A node that lives and takes no tokens would otherwise stop the orders of all. What it costs to leave it out is known:
where a name has its address, the CA may ask it and fail the order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from certstore.acme.network import OrderFailed
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.text import listed

WAIT_SECONDS = 5.0
LEFT_OUT_AFTER = 3
"""Orders that a node has stopped, one after the other."""
_PAUSE = 0.02

logger = logging.getLogger(__name__)


class Acknowledgement:
    """`lacking` gives the other nodes that live and have not applied a revision. Thread-safe."""

    def __init__(self, lacking: Callable[[int], list[str]], wait_seconds: float = WAIT_SECONDS) -> None:
        self._lacking = lacking
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._stopped: Counter[str] = Counter()
        """By node, how many orders it has stopped since it took a token last."""
        self._latest = 0

    def wait(self, revision: int) -> None:
        """Until every node that counts has applied this revision. Raises OrderFailed."""
        deadline = time.monotonic() + self._wait_seconds
        out = self.left_out()
        with self._lock:
            self._latest = revision  # a lower one than before after the engine went back
        while lacking := [node for node in self._lacking(revision) if node not in out]:
            if time.monotonic() > deadline:
                self._note(lacking)
                detail = f"{listed(lacking)} did not take the challenge's token within {self._wait_seconds:g} s"
                raise OrderFailed(Failure(Cause.OWN_LISTENER, detail))
            time.sleep(_PAUSE)

    def left_out(self) -> list[str]:
        """The nodes that are not waited for, until they have the latest token or end."""
        with self._lock:
            if self._stopped:
                lacking = self._lacking(self._latest)
                self._stopped = Counter({node: count for node, count in self._stopped.items() if node in lacking})
            return sorted(node for node, count in self._stopped.items() if count >= LEFT_OUT_AFTER)

    def _note(self, lacking: list[str]) -> None:
        with self._lock:
            self._stopped.update(lacking)
            out = [node for node in lacking if self._stopped[node] == LEFT_OUT_AFTER]
        if out:
            logger.warning("cluster: %s stopped %d orders: orders no longer wait for it", listed(out), LEFT_OUT_AFTER)
