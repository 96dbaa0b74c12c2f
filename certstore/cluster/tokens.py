"""Challenge tokens on every node: the CA may ask any of them, and is told to ask once all have the token.

Those of http-01 lie in files under the token, those of tls-alpn-01 under the name.

A token is a sealed record under a lease of its own, so it goes by itself if its node dies. A node has it when it has
applied the revision that brought it: its workers read the file with the next request. Every node writes what it is
shown and removes what is gone; the tokens of its own orders are none of its business here.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from certstore.acme.challenge_kind import Proof
from certstore.acme.http01 import publish, withdraw
from certstore.acme.tls_alpn01 import PublishedProofs
from certstore.acme.token_sharing import OneEdge
from certstore.cluster.acknowledgement import WAIT_SECONDS, Acknowledgement
from certstore.cluster.engine import Batch, Committed, Delete, Engine, EngineFailed, Item, ModifiedAt, Op, Put
from certstore.cluster.sealing import Sealer
from certstore.files.atomic import replace_file
from certstore.model.challenge import ChallengeType
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.wire import RecordClass, Refused
from certstore.model.layout import Layout

LIFETIME = timedelta(hours=1)
"""Longer than any order: a token that its node forgets to take back goes then."""
_LIMIT = 4096
"""Bytes of a record: a key authorization has fewer than 200."""

logger = logging.getLogger(__name__)


class ClusterTokens:
    """`share` and `recall` may be called from any thread, the rest by one. `lacking` gives the other live nodes that
    have not applied a revision.
    """

    def __init__(
        self,
        engine: Engine,
        sealer: Sealer,
        paths: ClusterPaths,
        layout: Layout,
        lacking: Callable[[int], list[str]],
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._engine = engine
        self._sealer = sealer
        self._paths = paths
        self._layout = layout
        self._acknowledgement = Acknowledgement(lacking, wait_seconds)
        self._lock = threading.Lock()
        self._ours: dict[str, int] = {}
        """With the engine's revision that brought them, 0 before it is known."""
        self._unrecalled: dict[str, int] = {}
        """Ours that are over, and could not be taken out of the engine."""
        self._theirs = _remembered(layout)
        self._over_tls = PublishedProofs(layout, OneEdge())
        self._unwritten: dict[str, Item] = {}

    # Orders of this node

    def share(self, proofs: Sequence[Proof]) -> None:
        """Without the engine the order goes on alone: the preflight has asked all addresses of the names. Raises
        OrderFailed where a node that lives does not take them, unless it is left out.
        """
        if not proofs:  # the CA knows all names already
            return
        try:
            revision = self._publish({proof.token: proof for proof in proofs})
        except (EngineFailed, Refused) as error:
            logger.warning("cluster: the other nodes don't get the tokens of an order: %s", error)
            return
        self._acknowledgement.wait(revision)

    def give(self, proof: Proof) -> None:
        """That of another program, which waits for nobody. Raises EngineFailed, Refused; then it is not known here."""
        try:
            self._publish({proof.token: proof})
        except BaseException:
            with self._lock:
                self._ours.pop(proof.token, None)
            raise

    def is_known(self, token: str) -> bool:
        """Whether an order of this node or of another one shows it."""
        with self._lock:
            return token in self._ours or token in self._theirs

    def left_out(self) -> list[str]:
        """The nodes that orders don't wait for any longer."""
        return self._acknowledgement.left_out()

    def recall(self, proofs: Iterable[Proof]) -> Sequence[Proof]:
        """Those that another node shows stay: it has taken over an order of this one, and the CA may look now."""
        proofs = tuple(proofs)
        with self._lock:
            theirs = {token for token in self._theirs if token not in self._ours}
            ours = {token: self._ours.pop(token) for token in {proof.token for proof in proofs} & self._ours.keys()}
        with self._lock:
            self._unrecalled |= ours
        self._take_out()
        return [proof for proof in proofs if proof.token not in theirs]

    def _take_out(self) -> None:
        """Without the engine they stay until it is back, or their lease ends."""
        with suppress(EngineFailed):
            for token, revision in list(self._unrecalled.items()):
                self._engine.commit([ModifiedAt(self._key(token), revision)], [Delete(self._key(token))])
                self._unrecalled.pop(token, None)

    def of_others(self) -> Collection[Proof]:
        """What other nodes prove now, and this one shows."""
        return tuple(self._theirs.values())

    # What the other nodes show

    def read(self, items: Iterable[Item]) -> None:
        """All tokens that there are."""
        there = {token: item for item in items if (token := self._token(item.key)) is not None}
        over = self._unrecalled.copy()
        there = {token: item for token, item in there.items() if item.modified != over.get(token)}
        self._take_out()
        self._unwritten.clear()
        for token, item in there.items():
            self._write(token, item)
        self._remove(self._theirs.keys() - there.keys())

    def take(self, batch: Batch) -> bool:
        """Whether the batch brought or took tokens."""
        put = [(token, item) for item in batch.put if (token := self._token(item.key)) is not None]
        for token, item in put:
            self._write(token, item)
        deleted = {token for key in batch.deleted if (token := self._token(key)) is not None}
        for token in deleted:
            self._unwritten.pop(token, None)
        self._remove(deleted & self._theirs.keys())
        return bool(put or deleted)

    def applied(self, revision: int) -> int:
        """The revision up to which this node answers all tokens, where it has taken `revision`. What could not be
        written is tried again: a node that says that it has a token which it has not lets the CA fail the order.
        """
        for token, item in list(self._unwritten.items()):
            self._write(token, item)
        return min([revision, *(item.modified - 1 for item in self._unwritten.values())])

    # Inside

    def _publish(self, tokens: Mapping[str, Proof]) -> int:
        """The revision with which they are in the engine."""
        with self._lock:
            self._ours.update(dict.fromkeys(tokens, 0))
        revision = self._put(tokens)
        with self._lock:
            self._ours.update(dict.fromkeys(tokens.keys() & self._ours.keys(), revision))
        return revision

    def _put(self, tokens: Mapping[str, Proof]) -> int:
        lease = self._engine.grant(LIFETIME)
        there = {item.key: item.modified for item in self._engine.get([self._key(token) for token in tokens]).items}
        ops: list[Op] = []
        for token, proof in tokens.items():
            value = self._sealer.seal(self._key(token), 1, RecordClass.SITES, json.dumps(_facts(proof)).encode())
            ops.append(Put(self._key(token), value, lease))
        compares = [ModifiedAt(op.key, there.get(op.key, 0)) for op in ops]
        outcome = self._engine.commit(compares, ops)
        if isinstance(outcome, Committed):
            return outcome.revision
        # Tokens are drawn by the CA for this order, so whatever is there now is ours.
        found = self._engine.get([op.key for op in ops])
        if len(found.items) < len(ops):
            outcome = self._engine.commit(compares, ops)
            found = self._engine.get([op.key for op in ops])
        return max((item.modified for item in found.items), default=found.revision)

    def _write(self, token: str, item: Item) -> None:
        with self._lock:
            revision = self._ours.get(token)
            if revision is not None and (not revision or item.modified <= revision):
                return
            self._ours.pop(token, None)  # another node goes on with the order
        try:
            opened = self._sealer.open(item.key, item.value)
            proof = _proof(token, json.loads(opened.plaintext))
            self._remember({**self._theirs, token: proof})  # first: what is written has to go some day
            if proof.type == ChallengeType.TLS_ALPN_01:
                self._over_tls.publish([proof])
            else:
                publish(self._layout, [proof])
            self._unwritten.pop(token, None)
        except Refused as error:
            logger.warning("cluster: a token does not count: %s", error)
        except (KeyError, TypeError, ValueError):
            logger.warning("cluster: a token does not count: %s", item.key)
        except OSError as error:
            if token not in self._unwritten:
                logger.error("cluster: a token could not be written: %s", error.strerror)
            self._unwritten[token] = item

    def _remove(self, tokens: Collection[str]) -> None:
        for token in tokens & self._theirs.keys():
            proof = self._theirs[token]
            with suppress(OSError):
                if proof.type == ChallengeType.TLS_ALPN_01:
                    self._over_tls.withdraw([proof])
                else:
                    withdraw(self._layout, [proof])
        with suppress(OSError):
            self._remember({token: proof for token, proof in self._theirs.items() if token not in tokens})

    def _remember(self, tokens: Mapping[str, Proof]) -> None:
        """Beyond the end of this process, which may come before they are taken back. Raises OSError."""
        if tokens != self._theirs:
            path = self._layout.cluster_tokens
            content = json.dumps({token: _facts(proof) for token, proof in sorted(tokens.items())}).encode()
            path.parent.mkdir(0o700, exist_ok=True)
            replace_file(path, content, 0o600, self._layout.temporary, is_durable=False)
            self._theirs = dict(tokens)

    def _key(self, token: str) -> str:
        return self._paths.of(Shelf.TOKEN, token)

    def _token(self, key: str) -> str | None:
        where = self._paths.parse(key)
        return where.name if where is not None and where.shelf is Shelf.TOKEN else None


def _facts(proof: Proof) -> dict[str, str]:
    return {"type": proof.type, "name": proof.name, "authorization": proof.key_authorization}


def _proof(token: str, facts: Any) -> Proof:
    """Raises KeyError, TypeError, ValueError."""
    kind, name, authorization = facts["type"], facts["name"], facts["authorization"]
    if kind not in (ChallengeType.HTTP_01, ChallengeType.TLS_ALPN_01) or not isinstance(name, str):
        raise ValueError("not a proof that an edge shows")
    if not isinstance(authorization, str) or not authorization.isascii() or len(authorization) > _LIMIT:
        raise ValueError("not a key authorization")
    return Proof(name, token, authorization, kind)


def _remembered(layout: Layout) -> dict[str, Proof]:
    try:
        return {token: _proof(token, facts) for token, facts in json.loads(layout.cluster_tokens.read_bytes()).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
