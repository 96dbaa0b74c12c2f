"""One account at each CA for all nodes: who orders for another one goes on in the same account's name.

The files of the store are read from, as on a single node. Before an account is used, they are made those that the
engine has; what changed here is given to the others. Only the holder of the lock `n/lock/@CA` registers or changes one.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from certstore.acme.account import Account, Accounts, AccountSettings, load_key
from certstore.acme.network import Conversation, OrderFailed
from certstore.cluster.engine import Committed, Engine, EngineFailed, Item, ModifiedAt, Put
from certstore.cluster.order_locks import LockHeld, OrderLocks
from certstore.cluster.sealing import Sealer
from certstore.files.atomic import make_folder, replace_file
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.wire import READ_BY_OTHERS, RecordClass, Refused
from certstore.model.layout import Layout
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.failure import Cause, Failure

logger = logging.getLogger(__name__)

WAIT_SECONDS = 30.0
"""For another node that registers the account."""
_PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class _Record:
    """The contents of an account's two files."""

    key_pem: bytes = field(repr=False)
    facts: Any

    def encode(self) -> bytes:
        return json.dumps({"key": self.key_pem.decode("ascii"), "facts": self.facts}).encode()

    @classmethod
    def decode(cls, plaintext: bytes) -> _Record:
        """Raises KeyError, TypeError, ValueError."""
        record = json.loads(plaintext)
        key, facts = record["key"].encode("ascii"), record["facts"]
        load_key(key)
        if not isinstance(facts["url"], str) or not isinstance(facts["contact"], list):
            raise TypeError("not the facts of an account")
        return cls(key, facts)


@dataclass(slots=True)
class _Seen:
    """What the engine had last."""

    modified: int = 0
    generation: int = 0
    record: _Record | None = None
    is_readable: bool = True
    """Or others can read it, and it must not be written over."""


class SharedAccounts(Accounts):
    """Without the engine, an account that is known is used as it is."""

    def __init__(
        self, layout: Layout, engine: Engine, sealer: Sealer, paths: ClusterPaths, locks: OrderLocks,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:  # fmt: skip
        super().__init__(layout)
        self._engine, self._sealer, self._paths, self._locks = engine, sealer, paths, locks
        self._wait_seconds = wait_seconds
        self._changing = threading.Lock()

    def ensure(
        self,
        ca: Ca,
        conversation: Conversation,
        settings: AccountSettings,
        *,
        before_new: Callable[[], None] = lambda: None,
        asks_again: bool = False,
    ) -> Account:
        with self._shared(ca, settings):
            return super().ensure(ca, conversation, settings, before_new=before_new, asks_again=asks_again)

    def roll_over(self, ca: Ca, conversation: Conversation, *, before: Callable[[], None] = lambda: None) -> Account:
        with self._shared(ca):
            return super().roll_over(ca, conversation, before=before)

    def register_again(self, unknown: Account, conversation: Conversation, settings: AccountSettings) -> Account:
        with self._shared(unknown.ca):
            return super().register_again(unknown, conversation, settings)

    def adopt(self, ca: Ca, key_pem: bytes, url: str, contact: tuple[str, ...]) -> None:
        with self._shared(ca):
            super().adopt(ca, key_pem, url, contact)

    def read(self, items: Iterable[Item]) -> None:
        """What other nodes registered or changed: this one may have to order when the engine is lost."""
        for item in items:
            where = self._paths.parse(item.key)
            if where is None or where.shelf is not Shelf.ACCOUNT:
                continue
            if not self._changing.acquire(blocking=False):
                continue  # what uses the account reads the engine itself
            try:
                self._seen(where.name, item)
            except OSError as error:
                logger.error("cluster: the account at %s could not be written: %s", where.name, error.strerror)
            finally:
                self._changing.release()

    # Inside

    @contextmanager
    def _shared(self, ca: Ca, settings: AccountSettings | None = None) -> Iterator[None]:
        """Begin with what the cluster has, and give it what changed. Where nothing is to change by these settings, no
        lock is needed. Raises OrderFailed.
        """
        with self._changing:
            try:
                seen = self._begun(ca, settings)
                try:
                    yield
                finally:
                    if seen is not None:
                        self._give(ca, seen)
            finally:
                self._locks.release(f"@{ca.key}")

    def _begun(self, ca: Ca, settings: AccountSettings | None) -> _Seen | None:
        """What the cluster has, and the lock where something is to change; None without the engine. Raises OrderFailed,
        OSError.
        """
        try:
            seen = self._fetch(ca)
            if settings is not None and not self._is_change(ca, settings):
                return seen
            self._lock(ca)
            return self._fetch(ca)
        except EngineFailed as error:
            logger.warning("cluster: the account at %s is used as this node knows it: %s", ca.key, error)
            return None

    def _is_change(self, ca: Ca, settings: AccountSettings) -> bool:
        account = self.load(ca)
        if account is None or self._layout.next_account_key(ca.key).exists():
            return True
        return bool(settings.contact) and set(settings.contact) != set(account.contact)

    def _lock(self, ca: Ca) -> None:
        until = time.monotonic() + self._wait_seconds
        while True:
            try:
                self._locks.take(f"@{ca.key}")
            except LockHeld as held:
                if time.monotonic() >= until:
                    raise OrderFailed(Failure(Cause.CLUSTER, f"{held} is changing the account at {ca.key}")) from None
                time.sleep(_PAUSE)
            else:
                return

    def _fetch(self, ca: Ca) -> _Seen:
        """Raises EngineFailed, OSError."""
        path = self._paths.of(Shelf.ACCOUNT, ca.key)
        item = self._engine.get([path]).by_key().get(path)
        return _Seen(generation=self._floor(ca.key)) if item is None else self._seen(ca.key, item)

    def _seen(self, ca: str, item: Item) -> _Seen:
        """Raises OSError."""
        try:
            opened = self._sealer.open(item.key, item.value)
            record = _Record.decode(opened.plaintext)
        except Refused as error:
            logger.warning("cluster: the account at %s does not count: %s", ca, error)
            return _Seen(item.modified, self._floor(ca), is_readable=error.why not in READ_BY_OTHERS)
        except (KeyError, TypeError, ValueError, RecursionError):
            logger.warning("cluster: the account at %s does not count: it can't be understood", ca)
            return _Seen(item.modified, self._floor(ca))
        floor = self._floor(ca)
        if opened.generation < floor:  # the engine went back: its key may be one that the CA no longer takes
            logger.warning("cluster: the engine has an old account at %s: this node's is written again", ca)
            return _Seen(item.modified, floor)
        self._take(ca, record)
        self._raise_floor(ca, opened.generation)
        return _Seen(item.modified, opened.generation, record)

    def _take(self, ca: str, record: _Record) -> None:
        ours = self._read(ca)
        if ours == record:
            return
        layout = self._layout
        make_folder(layout.account(ca), 0o700)
        if ours is not None and ours.facts.get("url") != record.facts["url"]:
            logger.warning(
                "the account at %s is now the cluster's, %s; this node's own was %s, and its key stays in %s",
                ca, record.facts["url"], ours.facts.get("url"), layout.replaced_account_key(ca),
            )  # fmt: skip
            replace_file(layout.replaced_account_key(ca), ours.key_pem, 0o600, layout.temporary)
        replace_file(layout.account_key(ca), record.key_pem, 0o600, layout.temporary)
        content = json.dumps(record.facts, indent=1).encode() + b"\n"
        replace_file(layout.account_facts(ca), content, 0o600, layout.temporary)

    def _give(self, ca: Ca, seen: _Seen) -> None:
        """The next use tries again what can't be given now."""
        ours = self._read(ca.key)
        if ours is None or ours == seen.record or not seen.is_readable:
            return
        path = self._paths.of(Shelf.ACCOUNT, ca.key)
        value = self._sealer.seal(path, seen.generation + 1, RecordClass.CONTROL, ours.encode())
        try:
            outcome = self._engine.commit([ModifiedAt(path, seen.modified)], [Put(path, value)])
            if isinstance(outcome, Committed):
                self._raise_floor(ca.key, seen.generation + 1)
            else:
                self._fetch(ca)
        except EngineFailed as error:
            logger.warning("cluster: the account at %s could not be shared: %s", ca.key, error)

    def _floor(self, ca: str) -> int:
        """The generation of the newest account that this node has seen in this cluster."""
        try:
            cluster, generation = self._layout.account_generation(ca).read_text().split()
            return int(generation) if cluster == self._paths.cluster else 0
        except (FileNotFoundError, ValueError):
            return 0

    def _raise_floor(self, ca: str, generation: int) -> None:
        if generation > self._floor(ca):
            path = self._layout.account_generation(ca)
            replace_file(path, f"{self._paths.cluster} {generation}\n".encode(), 0o600, self._layout.temporary)

    def _read(self, ca: str) -> _Record | None:
        """The files as they are; None where they make no whole account."""
        try:
            key = self._layout.account_key(ca).read_bytes()
            return _Record.decode(_Record(key, json.loads(self._layout.account_facts(ca).read_bytes())).encode())
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return None
