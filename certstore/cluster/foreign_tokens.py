"""Gives the other nodes the tokens that other ACME clients put into this node's `challenges/`: certbot, for example.

Such a client knows no cluster: it writes a file, and asks the CA to look. The folder is looked at several times a
second; without news that costs one stat. A file counts once it is the same at two looks, so a client may write it in
steps, and the tokens of this node's own orders, which lie there too, are known by then. What is no key authorization
for its own name stays here.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

from certstore.acme.challenge_kind import Proof
from certstore.cluster.engine import EngineFailed
from certstore.cluster.tokens import ClusterTokens
from certstore.model.challenge import is_key_authorization, is_token
from certstore.model.cluster.wire import Refused
from certstore.model.layout import Layout

LOOK_SECONDS = 0.1
MOST_TOKENS = 200
"""At once. An order of another client has as many as it has names."""
_MOST_FILES = 2000
_LIMIT = 1024
"""Bytes, as workers read them."""
_SETTLED_NS = 50_000_000
"""A folder that changed a moment ago may change again within the resolution of its time."""

logger = logging.getLogger(__name__)


class ForeignTokens:
    """Call `start` and `stop` once each; without `start`, `look` does one step."""

    def __init__(self, layout: Layout, tokens: ClusterTokens) -> None:
        self._folder, self._tokens = layout.challenges, tokens
        self._seen: dict[str, bytes] = {}
        """What the last look found and the others do not have yet."""
        self._given: dict[str, Proof] = {}
        self._stamp = 0
        self._is_full = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster-challenges", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What was given goes with its lease, or when the next process sees that its file is gone."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                logger.exception("cluster: the tokens of other ACME clients could not be looked at")

    def look(self) -> None:
        try:
            stamp = self._folder.stat().st_mtime_ns
        except OSError:
            return
        if stamp == self._stamp and not self._seen:
            return
        is_settled = time.time_ns() - stamp > _SETTLED_NS
        found = self._found()
        self._stamp = stamp if is_settled else 0
        for token in [token for token in self._given if token not in found]:
            self._tokens.recall([self._given.pop(token)])
        before, self._seen = self._seen, {}
        for token in found:
            content = None if token in self._given or self._tokens.is_known(token) else self._read(token)
            if content is None:
                continue
            if content != before.get(token) or not self._give(token, content):
                self._seen[token] = content

    def _found(self) -> set[str]:
        found = set[str]()
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if len(found) >= _MOST_FILES:
                    break
                if is_token(entry.name):
                    found.add(entry.name)
        return found

    def _read(self, token: str) -> bytes | None:
        """None for what workers don't serve. Never blocks on what somebody may have put there."""
        path = Path(self._folder, token)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            content = os.read(descriptor, _LIMIT + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
        except OSError:
            return None
        finally:
            os.close(descriptor)
        is_for_it = content.startswith(token.encode() + b".") and len(content) <= _LIMIT
        return content if is_for_it and is_key_authorization(content) else None

    def _give(self, token: str, content: bytes) -> bool:
        if len(self._given) >= MOST_TOKENS:
            if not self._is_full:
                logger.warning("cluster: other nodes get only %d tokens of other ACME clients at once", MOST_TOKENS)
            self._is_full = True
            return False
        self._is_full = False
        proof = Proof("", token, content.decode("ascii"))
        try:
            self._tokens.give(proof)
        except (EngineFailed, Refused) as error:
            logger.debug("cluster: a token of another ACME client is not shared yet: %s", error)
            return False
        self._given[token] = proof
        return True
