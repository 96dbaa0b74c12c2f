"""The journal of orders under way, shared: a node that goes on for another one resumes the very same order at the CA.

The local file is written first and read from, as on a single node. While this node holds a site's lock, every step is
in the engine too, sealed, before the CA is asked for the next one; who lost the lock meanwhile is stopped there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import batched
from typing import Protocol

from certstore.acme.challenge_kind import Proof
from certstore.acme.network import OrderFailed
from certstore.acme.order_journal import OrderJournal, OrderUnderWay, decode_order, encode_order
from certstore.cluster.engine import MOST_OPS, Committed, CreatedAt, Delete, Engine, EngineFailed, Item, Put, Unknown
from certstore.cluster.sealing import Sealer
from certstore.model.challenge import is_token
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.wire import RecordClass, Refused
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.version import Version
from certstore.renewal.order_sharing import OrderNotAllowed
from certstore.renewal.sites import ACME_SOURCE

logger = logging.getLogger(__name__)

_ROUNDS = 2


class Fences(Protocol):
    def fence(self, name: str) -> CreatedAt | None: ...


class SharedOrderJournal(OrderJournal):
    """`fences` knows the locks of this node, `live` a site's live version. `shown` are the proofs of other nodes, which
    this one shows too: a start must not clear them away.
    """

    def __init__(
        self,
        layout: Layout,
        engine: Engine,
        sealer: Sealer,
        paths: ClusterPaths,
        fences: Fences,
        live: Callable[[str], Version | None],
        shown: Callable[[], Iterable[Proof]] = tuple,
    ) -> None:
        super().__init__(layout)
        self._engine, self._sealer, self._paths = engine, sealer, paths
        self._fences, self._live, self._shown = fences, live, shown

    def take_over(self, site: str) -> None:
        """Go on with the order that the cluster knows, in place of an older one of this node. For who has just taken
        the site's lock. Raises EngineFailed, OrderFailed, OrderNotAllowed, OSError.
        """
        shared = self._opened(self._engine.get([self._paths.order(site)]).by_key().get(self._paths.order(site)))
        local = self.load(site)
        if shared is not None and self._has_ended(shared):
            shared = None
        if local is not None and self._has_ended(local):
            local = None
        if shared is not None and (local is None or not _is_ahead(local, shared)):
            super().keep(shared)
        elif local is not None:
            self.keep(local)
        else:
            self.remove(site)

    def keep(self, order: OrderUnderWay) -> OrderUnderWay:
        """Raises OrderNotAllowed where another node has taken over, and OrderFailed where the engine does not say."""
        before = self.load(order.request.site)
        kept = super().keep(order)
        fence = self._fences.fence(order.request.site)
        if fence is not None:
            self._share(kept, fence)
            self._take_back(before, kept.published, fence)
        return kept

    def remove(self, site: str) -> None:
        before = self.load(site)
        super().remove(site)
        fence = self._fences.fence(site)
        if fence is not None:
            with suppress(EngineFailed):  # who finds it there sees that it has ended
                self._engine.commit([fence], [Delete(self._paths.order(site))])
            self._take_back(before, (), fence)

    def published(self) -> frozenset[Proof]:
        return super().published() | frozenset(self._shown())

    # Inside

    def _share(self, order: OrderUnderWay, fence: CreatedAt) -> None:
        site, path = order.request.site, self._paths.order(order.request.site)
        plaintext = json.dumps(encode_order(order)).encode()
        # Later locks came into being at later revisions, so this rises from holder to holder.
        value = self._sealer.seal(path, fence.revision, RecordClass.CONTROL, plaintext)
        reason = ""
        for _ in range(_ROUNDS):
            try:
                outcome = self._engine.commit([fence], [Put(path, value)])
                if isinstance(outcome, Committed):
                    return
                found = self._engine.get([path, fence.key]).by_key()
            except EngineFailed as error:
                reason = str(error)
                continue
            there = found.get(fence.key)
            if there is None or there.created != fence.revision:
                holder = there.value.decode("ascii", "replace")[:63] if there is not None else "another node"
                raise OrderNotAllowed(
                    f"this node was away, so {holder} goes on with the order for {site}",
                    f"to see its outcome: certedge site show {site}",
                )
            if path in found and found[path].value == value:
                return
            reason = outcome.reason if isinstance(outcome, Unknown) else "the engine refused it"
        raise OrderFailed(Failure(Cause.CLUSTER, f"the order could not be kept in the cluster's engine: {reason}"))

    def _take_back(self, before: OrderUnderWay | None, needed: Collection[Proof], fence: CreatedAt) -> None:
        """The tokens that the order no longer needs: those of a node that was killed would stay for an hour."""
        gone = [proof for proof in (before.published if before is not None else ()) if proof not in needed]
        ops = [Delete(self._paths.of(Shelf.TOKEN, proof.token)) for proof in gone if is_token(proof.token)]
        with suppress(EngineFailed):
            for some in batched(ops, MOST_OPS):
                self._engine.commit([fence], some)

    def _opened(self, item: Item | None) -> OrderUnderWay | None:
        """None where there is none, or none that this node can read: then a new order is made."""
        if item is None:
            return None
        try:
            return decode_order(json.loads(self._sealer.open(item.key, item.value).plaintext))
        except Refused as error:
            logger.warning("cluster: an order under way does not count: %s", error)
        except (KeyError, TypeError, ValueError, RecursionError):
            logger.warning("cluster: an order under way does not count: %s", item.key)
        return None

    def _has_ended(self, order: OrderUnderWay) -> bool:
        """Its certificate is live, or one that was ordered later: this node did not see its end."""
        live = self._live(order.request.site)
        if live is None:
            return False
        return order.is_of(live.fingerprint) or (live.source.startswith(ACME_SOURCE) and live.made_at > order.begun_at)


def _is_ahead(local: OrderUnderWay, shared: OrderUnderWay) -> bool:
    """Whether the local one is the same order, and at least as far."""
    keys = [part.key_pem for part in local.parts]
    return keys == [part.key_pem for part in shared.parts] and _steps(local) >= _steps(shared)


def _steps(order: OrderUnderWay) -> int:
    return sum((part.url is not None) + (part.fullchain is not None) for part in order.parts)
