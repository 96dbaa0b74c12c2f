"""A node's part in its cluster, as one thing to start and stop beside the writer.

One thread follows and publishes in turn, so that nothing overtakes anything; a second one only waits for the feed. What
fails is tried again, and the store goes on serving and taking drops in the meantime. `state/run/cluster.json` says how
it stands.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib import metadata
from typing import Protocol

from certstore.cluster.duty import ClusterDuty
from certstore.cluster.engine import Batch, Engine, EngineFailed, EngineFull, EngineLost, EngineRefused, Following
from certstore.cluster.first_sync import ForeignEngine, Synced
from certstore.cluster.foreign_tokens import ForeignTokens
from certstore.cluster.key_updates import KeyUpdates
from certstore.cluster.known_members import KnownMembers
from certstore.cluster.named_files import NamedFiles
from certstore.cluster.nodes import Nodes
from certstore.cluster.order_queue import OrderQueue
from certstore.cluster.orders import ClusterOrders
from certstore.cluster.presence import Announcer
from certstore.cluster.problems import left_out, solved_lately, told_to_others
from certstore.cluster.replica import Replica
from certstore.cluster.sealing import Sealer
from certstore.cluster.session import Attachment
from certstore.cluster.shared_accounts import SharedAccounts
from certstore.cluster.shared_books import SharedBooks
from certstore.cluster.shared_told import SharedTold
from certstore.cluster.tokens import ClusterTokens
from certstore.files.atomic import replace_file
from certstore.files.clock import utc_now
from certstore.model.cluster.health import ClusterProblem, problem_of, summary
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Live
from certstore.model.cluster.standing import ClusterStanding, NodeFacts, detached
from certstore.model.front import Front
from certstore.store.writer import StoreWriter

logger = logging.getLogger(__name__)

COMPARED_EVERY = timedelta(minutes=10)
"""Everything is compared this often, whatever the feed has shown."""
_RETRY_INCOMPLETE = timedelta(seconds=30)
_PAUSE = 1.0
_FEED_PAUSE = 0.05
_MOST_ARRIVED = 64
"""Batches in memory, of up to a megabyte each, while the other thread is busy with what came before."""
WRITTEN_EVERY = timedelta(seconds=2)
_NEWS_EVERY = timedelta(seconds=0.2)
"""Somebody may wait to hear that the other nodes have a change."""


class AttachedEngine(Engine, Protocol):
    """What of a session is needed here beyond an engine."""

    @property
    def attachment(self) -> Attachment: ...

    @property
    def lease(self) -> int: ...

    def start(self) -> None: ...


class Clustering:
    """Call `start` and `stop` once each. `is_partial`: the node keeps only some sites. `serves_web`: it needs the files
    that sites' settings name.
    """

    def __init__(
        self,
        session: AttachedEngine,
        writer: StoreWriter,
        replica: Replica,
        sealer: Sealer,
        paths: ClusterPaths,
        node: str,
        *,
        is_partial: bool = False,
        serves_web: bool = True,
        clock: Callable[[], datetime] = utc_now,
        written_every: timedelta = WRITTEN_EVERY,
    ) -> None:
        self._session = session
        self._writer = writer
        self._replica = replica
        self._paths, self._node = paths, node
        self._is_partial, self._clock, self._written_every = is_partial, clock, written_every
        self.known_members = KnownMembers(writer.layout, paths)
        self._nodes = Nodes(sealer, paths, self.known_members)
        self._files = NamedFiles(writer) if serves_web else None
        self._announcer = Announcer(session, lambda: session.lease, sealer, paths, node, clock)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._arrived: deque[tuple[Batch, float]] = deque()
        self._broken: Exception | None = None
        self._is_leaving_feed = threading.Event()
        self._applied = 0
        self._missing: tuple[str, ...] = ()
        self._problems: dict[ClusterProblem, str] = {}
        self._behind_since: datetime | None = None
        self._adoption_seconds: float | None = None
        self._used_bytes: int | None = None
        self._written_at: datetime | None = None
        self._has_news = False
        self._progress = 0, 0
        """Of the comparison that runs, or was the last one."""
        self._is_joining = not replica.agreed.is_synced and not _has_certificates(writer)
        self.ordered = OrderQueue(replica.wake)
        """What orders of this node have brought."""
        self.tokens: ClusterTokens | None = None
        """Set before `start`; without one, challenge tokens stay on their node."""
        self.orders: ClusterOrders | None = None
        """Set before `start`; without one, a person's orders are nobody else's business."""
        self.books: SharedBooks | None = None
        self.told: SharedTold | None = None
        self.accounts: SharedAccounts | None = None
        """All three set before `start`, unless this node can't read such records."""
        self.foreign: ForeignTokens | None = None
        """Set before `start`; without one, other ACME clients' tokens stay on their node."""
        self.put_back: Callable[[bool], None] = lambda _has_meta: None
        """Writes again what the engine has lost of this node, and what edge.yaml says now. Set before `start`."""
        self.key_updates: KeyUpdates | None = None
        """Set before `start`; without one, the keys stay as they are."""
        self._is_introduced = False
        self.duty: ClusterDuty | None = None
        """Set before `start`; without one, this node never renews by itself."""

    def start(self) -> None:
        self._mark_joining()
        self._session.start()
        self._thread.start()
        if self.duty is not None:
            self.duty.start()
        if self.foreign is not None:
            self.foreign.start()

    @property
    def is_current(self) -> bool:
        """Whether the store has all that the engine has shown so far."""
        is_known = self._applied > 0 and not self._is_joining and ClusterProblem.ENGINE_FOREIGN not in self._problems
        return is_known and not self._arrived and not self._replica.follower.is_incomplete

    def node_at(self, address: str) -> str:
        """The other node with this address, empty where none says that it has it. From any thread."""
        return self._nodes.at(address, but=self._node)

    @property
    def applied(self) -> int:
        """The engine's revision up to which the store has everything."""
        return self._applied

    @property
    def may_publish(self) -> bool:
        """Whether what this node does can reach the others."""
        return not self._nodes.has_left(self._node) and not self._announcer.is_cloned

    def stop(self) -> None:
        """What was not published is found by the next start."""
        self._stopping.set()
        self._replica.wake()
        if self.duty is not None:
            self.duty.stop()
        if self.foreign is not None:
            self.foreign.stop()
        self._session.close()
        self._thread.join()
        self._replica.close()
        self.known_members.close()
        with contextlib.suppress(OSError):
            self._writer.layout.cluster_standing.unlink(missing_ok=True)

    def lacking(self, revision: int) -> list[str]:
        """The other nodes that live and have not applied this revision. From any thread."""
        return self._nodes.lacking(revision, but=self._node)

    # The thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                synced = self._sync()
                self._problems.pop(ClusterProblem.ENGINE_FOREIGN, None)
                self._stay(synced)
            except ForeignEngine as error:
                self._note(ClusterProblem.ENGINE_FOREIGN, str(error))
                self._rest(10 * _PAUSE)
            except EngineRefused as error:
                self._note(ClusterProblem.DETACHED, f"the engine refuses this node: {error}")
                self._rest(10 * _PAUSE)
            except EngineFailed as error:
                logger.debug("cluster: %s", error)
                self._rest(_PAUSE)
            except Exception as error:  # noqa: BLE001
                _log_fault(error)
                self._rest(10 * _PAUSE)

    def _sync(self) -> Synced:
        is_rebuild = self._is_rebuild_wanted()
        if is_rebuild:
            self.put_back(False)
        of_nodes = self._session.read(f"{self._paths.prefix}n/").items
        if self.key_updates is not None:  # what was resealed while this node was away needs them
            self.key_updates.read([*of_nodes, *self._session.get([self._paths.meta]).items])
            self._writer.exposed_before = self.key_updates.exposed_before
        self._nodes.read(of_nodes, {})
        self._check_membership()
        synced = self._replica.sync(self._tell, is_rebuild=is_rebuild)
        if self._nodes.is_missing(self._node) or self._nodes.lost or not self._is_introduced:
            self._put_back_members()
            self._is_introduced = True
        self._nodes.read(self._session.read(f"{self._paths.prefix}n/").items, synced.changed)
        if self._writer.front is not None:
            with contextlib.suppress(OSError):  # it only names the full node that is best asked now
                self._writer.be_front(Front(self._node, self._nodes.full_node()))
        if self.tokens is not None:
            self.tokens.read(self._session.read(self._paths.shelf(Shelf.TOKEN)).items)
        for shelf, reader in self._readers():
            reader.read(self._session.read(self._paths.shelf(shelf)).items)
        if is_rebuild:
            self._replica.publish()
            self._writer.layout.cluster_rebuild.unlink(missing_ok=True)
        self._missing = synced.missing
        self._applied = synced.revision
        if self._missing:
            self._note(
                ClusterProblem.ENGINE_LOST_KEYS,
                f"the engine has lost {len(self._missing)} records that this node has: if it was emptied or restored, "
                "write them again with `certedge cluster rebuild`",
            )
        else:
            self._problems.pop(ClusterProblem.ENGINE_LOST_KEYS, None)
        if not self._replica.follower.is_incomplete:
            self._is_joining = False
            self._replica.agreed.note_synced()
            self._mark_joining()
        return synced

    def _readers(self) -> Iterator[tuple[Shelf, SharedBooks | SharedTold | SharedAccounts]]:
        """Who follows what, besides sites, nodes and tokens."""
        if self.books is not None:
            yield Shelf.RENEWAL, self.books
            yield Shelf.COUNTER, self.books
        if self.told is not None:
            yield Shelf.TOLD, self.told
        if self.accounts is not None:
            yield Shelf.ACCOUNT, self.accounts

    def _check_membership(self) -> None:
        if self._nodes.has_left(self._node):
            raise ForeignEngine(
                f"{self._node} was taken out of the cluster: it goes on serving what it has. To leave for good: "
                f"certedge cluster leave; to come back: certedge cluster invite {self._node} on a member"
            )

    def _put_back_members(self) -> None:
        """What the engine has lost of them, and of those who were taken out."""
        lost, self._nodes.lost = self._nodes.lost, set()
        for node in sorted(lost):
            logger.warning("cluster: the engine has an old record of the member %s, or none: it is written again", node)
            self._replica.follower.went_back.note(f"n/member/{node}", self._clock())
        self.put_back(True)

    def _is_rebuild_wanted(self) -> bool:
        return self._writer.layout.cluster_rebuild.exists()

    def _mark_joining(self) -> None:
        """For workers' health listeners."""
        path = self._writer.layout.joining
        try:
            if self._is_joining:
                path.parent.mkdir(0o700, exist_ok=True)
                path.touch(0o600)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("cluster: %s: %s", path, error.strerror)

    def _stay(self, synced: Synced) -> None:
        """Follow and publish until the feed breaks, or everything is to be compared again."""
        until = time.monotonic() + COMPARED_EVERY.total_seconds()
        self._arrived.clear()
        self._broken = None
        self._is_leaving_feed.clear()
        with self._session.follow(self._paths.prefix, synced.revision) as feed:
            waiting = threading.Thread(target=self._wait_for, args=(feed,), name="cluster-feed", daemon=True)
            waiting.start()
            try:
                while not self._stopping.is_set() and time.monotonic() < until and not self._is_rebuild_wanted():
                    self._take()
                    self._check_membership()
                    if self._nodes.lost:
                        self._put_back_members()
                    if self._broken is not None:
                        raise self._broken
                    self._has_news |= self.ordered.run(self._replica.publish_order)
                    self._publish()
                    if self.books is not None:
                        self.books.flush()
                    self._say()
                    if self._replica.follower.is_incomplete:
                        until = min(until, time.monotonic() + _RETRY_INCOMPLETE.total_seconds())
                    if not self._arrived:
                        self._replica.wait(_PAUSE)
            finally:
                self._is_leaving_feed.set()
                feed.close()
                waiting.join()

    def _wait_for(self, feed: Following) -> None:
        """On its own thread: what arrives wakes the other one. Whatever ends it, the other one has to know."""
        try:
            while True:
                if len(self._arrived) >= _MOST_ARRIVED and not self._is_leaving_feed.wait(_FEED_PAUSE):
                    continue  # the engine keeps the rest until the other thread has made room
                if (batch := feed.next(_PAUSE)) is not None:
                    self._arrived.append((batch, time.monotonic()))
                    self._replica.wake()
        except Exception as error:  # noqa: BLE001
            self._broken = error
            self._replica.wake()

    def _take(self) -> None:
        arrived: list[tuple[Batch, float]] = []
        while self._arrived:
            arrived.append(self._arrived.popleft())
        if not arrived:
            return
        self._has_news = True
        batches = [batch for batch, _ in arrived]
        if self.key_updates is not None:
            if self.key_updates.take(item for batch in batches for item in batch.put):
                self._announcer.hurry()  # whoever changes the key waits for it
            self._writer.exposed_before = self.key_updates.exposed_before
        if self.tokens is not None and sum(self.tokens.take(batch) for batch in batches):
            self._announcer.hurry()  # an order waits until this is applied and said
        self._replica.take(batches)
        for batch in batches:
            self._nodes.take(batch)
            for reader in {reader for _, reader in self._readers()}:
                reader.read(batch.put)
        self._applied = batches[-1].revision
        if any(self._replica.follower.follows(item.key) for batch in batches for item in batch.put):
            self._adoption_seconds = time.monotonic() - arrived[0][1]

    def _publish(self) -> None:
        if self._announcer.is_cloned or not self._replica.has_changes:
            return
        self._has_news = True
        try:
            self._replica.publish()
        except EngineFull as error:
            self._note(
                ClusterProblem.ENGINE_FULL,
                f"the engine takes no changes, as its quota is used up ({error}): run etcdctl compact, etcdctl defrag "
                "and etcdctl alarm disarm on its members; until then changes are live on their own node only",
            )
        except EngineLost as error:
            logger.debug("cluster: not published yet: %s", error)
        else:
            self._problems.pop(ClusterProblem.ENGINE_FULL, None)
            self._problems.pop(ClusterProblem.DETACHED, None)

    def _say(self) -> None:
        heads, sites = self._replica.heads()
        live = Live(
            instance=self._announcer.instance,
            applied=self._applied if self.tokens is None else self.tokens.applied(self._applied),
            heads=heads,
            sites=sites,
            release=_release(),
            clock=self._clock(),
            is_partial=self._is_partial,
            problems=told_to_others(self._replica.follower, self._files),
            key_ids=self.key_updates.key_ids if self.key_updates is not None else (),
        )
        if self._announcer.is_due(live):
            try:
                self._announcer.say(live, lambda: self._nodes.instance(self._node))
                self._used_bytes = self._session.status().used_bytes
            except EngineFull:
                pass  # `_publish` says so
            except EngineLost as error:
                logger.debug("cluster: could not say how this node is: %s", error)
        self._write()

    # What is said

    def _tell(self, done: int, total: int) -> None:
        if self._stopping.is_set():
            raise EngineLost("this node is stopping: the next start goes on from here")
        logger.info("cluster: %d of %d records compared", done, total)
        self._progress = done, total
        self._has_news = True
        self._write()

    def _note(self, problem: ClusterProblem, message: str) -> None:
        if self._problems.get(problem) != message:
            logger.warning("cluster: %s", message)
        self._problems[problem] = message

    def _rest(self, seconds: float) -> None:
        try:
            self._write()
        except Exception as error:  # noqa: BLE001  it would end the thread
            _log_fault(error)
        self._stopping.wait(seconds)

    def standing(self) -> ClusterStanding:
        now, attachment = self._clock(), self._session.attachment
        since = now - timedelta(seconds=time.monotonic() - attachment.since)
        nodes = self._nodes.standings(now)
        follower = self._replica.follower
        if not follower.is_incomplete:
            self._behind_since = None
        else:
            self._behind_since = self._behind_since or now
        unpublished = len(self._replica.unpublished())
        if not unpublished and self._replica.published > self._applied:
            unpublished = 1  # the feed has yet to show it, and with it who lacks it
        found = [*self._problems.items(), *([self.duty.problem] if self.duty and self.duty.problem else [])]
        problems = [(code.value, message) for code, message in found]
        if not attachment.is_attached and (lost := detached(since, now, unpublished, attachment.reason)) is not None:
            problems.append(lost)
        if self._announcer.is_cloned:
            problems.append((
                ClusterProblem.CLONED.value,
                f"another machine runs as {self._node}: stop one of the two, and let it join under a name of its own",
            ))  # fmt: skip
        problems += solved_lately(follower, now)
        problems += left_out(self.tokens.left_out() if self.tokens is not None else [])
        problems += self.key_updates.problems() if self.key_updates is not None else []
        problems += self._nodes.problems()
        problems += [(code.value, message) for code, message in map(problem_of, follower.refused.values())]
        return ClusterStanding(
            node=self._node,
            cluster=self._paths.cluster,
            written_at=now,
            is_attached=attachment.is_attached,
            since=since,
            summary=summary(nodes),
            member=attachment.member,
            reason=attachment.reason,
            is_joining=self._is_joining,
            compared=self._progress[0],
            to_compare=self._progress[1],
            behind_since=self._behind_since,
            unpublished=unpublished,
            applied=self._applied,
            nodes=tuple(map(NodeFacts.of, nodes)),
            caretaker=self._nodes.caretaker,
            problems=tuple(problems),
            refused=dict(follower.counts.refused),
            conflicts=follower.counts.conflicts,
            adoption_seconds=self._adoption_seconds,
            used_bytes=self._used_bytes,
        )

    def _write(self) -> None:
        """For commands, which read it without asking control."""
        now, layout = self._clock(), self._writer.layout
        every = min(_NEWS_EVERY, self._written_every) if self._has_news else self._written_every
        if self._written_at is not None and timedelta() <= now - self._written_at < every:
            return
        standing = self.standing()
        self._written_at, self._has_news = now, False
        content = json.dumps(standing.to_json()).encode() + b"\n"
        try:
            layout.worker_reports.mkdir(0o700, exist_ok=True)
            replace_file(layout.cluster_standing, content, 0o600, layout.temporary, is_durable=False)
        except OSError as error:
            logger.debug("cluster: %s: %s", layout.cluster_standing, error.strerror)


def _log_fault(error: Exception) -> None:
    """Serving and taking drops goes on. The exception's text could quote a record, so it is not logged."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("cluster: a fault of this program (%s); trying again\n%s", type(error).__name__, where)


def _has_certificates(writer: StoreWriter) -> bool:
    """Whether the store served anybody before: a node that founds a cluster goes on with that at once."""
    entries = writer.snapshot().sites.values()
    return any(entry.certificate is not None and not entry.certificate.is_self_signed for entry in entries)


def _release() -> str:
    try:
        return metadata.version("mitmproxy-edge")
    except metadata.PackageNotFoundError:
        return "unknown"
