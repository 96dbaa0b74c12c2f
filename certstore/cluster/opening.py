"""From edge.yaml and the key file to a node's part in its cluster."""

from __future__ import annotations

import logging
from pathlib import Path

from certstore.cluster.access import all_members
from certstore.cluster.clustering import Clustering
from certstore.cluster.duty import ClusterDuty
from certstore.cluster.foreign_tokens import ForeignTokens
from certstore.cluster.key_updates import KeyUpdates
from certstore.cluster.keys import KeysUnusable, read_keys
from certstore.cluster.membership import Membership, Place
from certstore.cluster.orders import ClusterOrders
from certstore.cluster.replica import Replica
from certstore.cluster.sealing import KeyRingSealer
from certstore.cluster.session import Session
from certstore.cluster.shared_told import SharedTold
from certstore.cluster.tokens import ClusterTokens
from certstore.files.clock import utc_now
from certstore.model.cluster.ordering import ordering_facts
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import NodeListener, Role
from certstore.model.front import Front
from certstore.model.settings.models import ListenerKind, ListenerSettings, Settings
from certstore.store.writer import StoreWriter

logger = logging.getLogger(__name__)

_FRONT = "this node is a front, which orders nothing", "order on a node that is not: certedge cluster status"


def open_clustering(writer: StoreWriter, edge: Settings, base: Path) -> Clustering:
    """`edge` has a section `cluster:`. Raises KeysUnusable, AccessUnusable, OSError."""
    settings = edge.cluster
    if settings is None:
        raise KeysUnusable("edge.yaml has no section `cluster:`")
    path = base / settings.key_file if settings.key_file is not None else writer.layout.cluster_keys
    ring = read_keys(path)
    if settings.node is not None and settings.node != ring.node:
        raise KeysUnusable(
            f"edge.yaml calls this node {settings.node}, and {path} is {ring.node}'s: correct `cluster.node`, or join "
            "anew with an invitation for this node"
        )
    is_front = ring.role is Role.FRONT
    if is_front is not (writer.front is not None):
        try:
            writer.be_front(Front(ring.node) if is_front else None)
        except OSError as error:  # a full disk: the next start tries again
            logger.warning("cluster: %s: %s", writer.layout.cluster_front, error.strerror)
    session = Session(all_members(settings, base))
    paths, sealer = ClusterPaths(ring.cluster), KeyRingSealer(ring)
    replica = Replica(session, writer, sealer, paths, ring.node, only=settings.only, is_front=is_front)
    place = Place(settings.addresses, tuple(map(_listener, edge.listeners)))
    is_partial = bool(settings.only)
    answers = any(listener.kind is ListenerKind.HTTP for listener in edge.listeners)
    serves_web = any(listener.kind is ListenerKind.HTTPS for listener in edge.listeners)
    clustering = Clustering(
        session, writer, replica, sealer, paths, ring.node, is_partial=is_partial, serves_web=serves_web
    )
    key_updates = clustering.key_updates = KeyUpdates(sealer, path)
    replica.publish_only_while(key_updates.fence)
    clustering.put_back = lambda has_meta: Membership(session, sealer.ring, clustering.known_members).put_back(
        place, utc_now(), has_meta=has_meta, exposed_before=key_updates.exposed_before
    )
    tokens = clustering.tokens = ClusterTokens(session, sealer, paths, writer.layout, clustering.lacking)
    duty = clustering.duty = ClusterDuty(
        session,
        sealer,
        paths,
        ring.node,
        ordering_facts(edge),
        writer.layout,
        could_order=answers and not is_front and not is_partial,
        is_current=lambda: clustering.is_current,
        may_publish=lambda: clustering.may_publish,
    )
    clustering.orders = ClusterOrders(
        session,
        writer,
        sealer,
        paths,
        ring.node,
        clustering.ordered,
        tokens,
        (lambda: _FRONT) if is_front else duty.why_not_order,
        lambda: clustering.applied,
        clustering.node_at,
    )
    if not is_front:
        clustering.books, clustering.accounts = clustering.orders.books, clustering.orders.shared_accounts
        clustering.foreign = ForeignTokens(writer.layout, tokens)
        clustering.told = SharedTold(session, sealer, paths, duty.fence)
    return clustering


def _listener(settings: ListenerSettings) -> NodeListener:
    return NodeListener(settings.kind.value, settings.listen.host, settings.listen.port, settings.accept_proxy_protocol)
