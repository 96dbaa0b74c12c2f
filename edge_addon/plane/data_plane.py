"""The state of one worker's data plane, shared by all its connections.

Holds the settings, the current snapshot, the TLS contexts, the upstream pools, the timers, the counters and the access
log, and answers what connections and sessions need to know. Reads the store, never writes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from certstore.files.clock import utc_now
from certstore.model.layout import Layout
from certstore.model.names import normalise_server_name
from certstore.model.selection import Reason, Selection, select
from certstore.model.settings.models import ListenerSettings, Settings, Upstream
from certstore.model.snapshot import Snapshot
from certstore.model.trusted_proxies import is_trusted_proxy
from certstore.model.unloadable import Unloadable
from certstore.net.tls_server import MINIMUM_VERSIONS
from certstore.store.journal import JournalReader
from edge_addon.http.fields import build_fields, replacing_table
from edge_addon.plane.access_log import AccessLog
from edge_addon.plane.addresses import Address, Addresses
from edge_addon.plane.challenge_file import read_key_authorization
from edge_addon.plane.connection_counts import ConnectionCounts, Tally
from edge_addon.plane.giving_way import PAUSE_SECONDS, is_near, select_idle
from edge_addon.plane.metrics import Metrics
from edge_addon.plane.open_files import files_for_connections
from edge_addon.plane.upstream_attempts import UpstreamAttempts
from edge_addon.transport.channel import Connection
from edge_addon.transport.disconnects import Disconnects
from edge_addon.transport.served_contexts import ServedContext, ServedContexts, served_contexts
from edge_addon.transport.timers import Timers
from edge_addon.transport.tls_stage import HelloContext
from edge_addon.transport.validation import ValidationContexts
from edge_addon.upstream.bounds import AddressUsage, Bounds
from edge_addon.upstream.interfaces import Inspection
from edge_addon.upstream.pool import Server, UpstreamPool

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.025
"""How often the journal is checked. One check costs about 2 µs; a new certificate waits 12 ms on average."""


class DataPlane:
    """Created on the worker's event loop before the first connection; `start` begins to follow the journal."""

    def __init__(
        self,
        settings: Settings,
        base: Path,
        journal: JournalReader,
        clock: Callable[[], datetime] = utc_now,
        contexts: ServedContexts | None = None,
        tally: Tally | None = None,
    ) -> None:
        """`contexts`: shared with other workers; `tally`: this worker's part of the connection counts."""
        self.settings = settings
        self.base = base
        """The folder that relative paths of `edge.yaml` start from."""
        self.layout = Layout(base / settings.store)
        self.loop = asyncio.get_running_loop()
        self.clock = clock
        self.snapshot: Snapshot = journal.load()
        self.contexts = contexts or served_contexts(self.layout, settings)
        self.hello_context = HelloContext(MINIMUM_VERSIONS[settings.tls.minimum_version])
        self._validations = ValidationContexts(settings.tls.minimum_version, clock)
        self.own_fields = build_fields(settings.http.own_fields)
        """The header fields that every answer over https gets."""
        self.response_fields = replacing_table(self.own_fields)
        self.timers = Timers(self.loop)
        self.disconnects = Disconnects(self.loop)
        self.connections: set[Connection] = set()
        self.addresses = Addresses()
        self._looked_at = 0.0
        self.bounds = Bounds.of(settings.limits, files_for_connections())
        self.counters: Counter[str] = Counter()
        self.metrics = Metrics()
        log = settings.access_log
        self.access_log = AccessLog(base / log.path if log.path and str(log.path) != "-" else log.path, log.format)
        self.is_draining = False
        self.is_service_ending = False
        """It drains and no other worker replaces it, so load balancers get a 503."""
        self.inspector: Inspection | None = None
        """Shows inspected requests to addons; None without mitmproxy, or when a script did not load."""
        self.mail_upstreams = UpstreamAttempts(self.loop.time)
        self.tally = tally or ConnectionCounts(1).allocate()
        self._journal = journal
        self._pools: dict[tuple[Upstream, ...], UpstreamPool] = {}
        self._poll_timer: asyncio.TimerHandle | None = None
        self.journal_read_at = self.loop.time()
        """When the journal was last read without an error."""

    def start(self) -> None:
        """Follow the journal until `stop`."""
        self._load_main()
        self._poll_timer = self.loop.call_later(POLL_SECONDS, self._poll_journal)

    def _poll_journal(self) -> None:
        if (snapshot := self._journal.poll()) is not None:
            before, self.snapshot = self.snapshot.main.certificate, snapshot
            if snapshot.main.certificate != before:
                self._load_main()
        if self._journal.problem is None:
            self.journal_read_at = self.loop.time()
        self._poll_timer = self.loop.call_later(POLL_SECONDS, self._poll_journal)

    def stop(self) -> None:
        """Stop following and close the idle upstream connections; open connections are not touched."""
        if self._poll_timer is not None:
            self._poll_timer.cancel()
        for pool in self._pools.values():
            pool.close()
        self.timers.stop()
        self.disconnects.stop()
        self.access_log.close()

    @property
    def journal_position(self) -> tuple[int, int]:
        """How far the journal has been read: inode and bytes."""
        return self._journal.position

    def select(self, server_name: str | None, listener: ListenerSettings) -> Selection:
        """The certificate for this name on this listener, by the current snapshot."""
        return select(self.snapshot, server_name, is_mail=listener.kind.is_mail, now=self.clock())

    def unloadable(self) -> list[Unloadable]:
        """The live certificates that this worker could not load, as far as clients asked for them; main's always."""
        self._load_main()
        return self.contexts.unloadable

    def _load_main(self) -> None:
        """Before a client asks for it: what can't be served on main has to be known at once."""
        main = self.snapshot.main.certificate
        for is_mail in {each.kind.is_mail for each in self.settings.listeners if not each.kind.is_clear_text}:
            if main is not None:
                self.contexts.get(main, is_mail=is_mail)

    def refuses(self, selection: Selection, listener: ListenerSettings) -> bool:
        """Whether `tls.unknown_name: reject` answers this name, which no site declares, with an alert (RFC 6066 §3)."""
        return (
            selection.reason is Reason.UNKNOWN_NAME
            and self.settings.tls.unknown_name == "reject"
            and not listener.kind.is_mail
        )

    def add_connection(self, connection: Connection) -> bool:
        """Count an accepted connection; False when there are too many: over all workers, or for this one's files."""
        bounds = self.bounds
        self.connections.add(connection)
        self.metrics.accepted(connection.listener)
        bounds.clients += _files_of(connection.listener)
        count, limit = self.tally.add(), self.settings.limits.connections
        if is_near(count, limit) or is_near(bounds.clients, bounds.for_clients):
            self._looked_at = self._give_way(self.connections, min(limit, bounds.for_clients), self._looked_at)
        if count > limit:
            self.count("connections_exceeded")
            return False
        if not bounds.make_room_for_clients():
            self.count("connections_out_of_files")
            return False
        return True

    def remove_connection(self, connection: Connection) -> None:
        """An accepted connection has ended."""
        self.connections.discard(connection)
        self.disconnects.discard(connection)
        self.bounds.clients -= _files_of(connection.listener)
        self.bounds.file_freed()
        self.tally.remove()

    def enter(self, host: str, connection: Connection) -> Address:
        """Note that a connection comes from `host`, until it leaves."""
        return self.addresses.enter(host, connection)

    def admits(self, address: Address) -> bool:
        """Count one more connection; False when the address or its network now has more than it may have."""
        limits = self.settings.limits
        of_address = self.tally.add_to(address.buckets)
        of_network = 0 if address.network is None else self.tally.add_to(address.network)
        if is_near(of_address, limits.connections_per_address):
            most = limits.connections_per_address
            address.looked_at = self._give_way(address.connections, most, address.looked_at)
        if of_address > limits.connections_per_address and address.key:
            self.count("connections_per_address_exceeded")
            return False
        if of_network > limits.connections_per_network:
            self.count("connections_per_network_exceeded")
            return False
        return True

    def _give_way(self, connections: Iterable[Connection], limit: int, looked_at: float) -> float:
        """Close the longest idle of the connections; returns when it last looked for them."""
        now = self.loop.time()
        if now - looked_at < PAUSE_SECONDS:
            return looked_at
        for connection in select_idle(connections, now, limit):
            self.count("connections_gave_way")
            connection.give_way()
        return now

    def leave(self, address: Address, connection: Connection) -> None:
        """One connection that was counted for an address has ended."""
        self.addresses.leave(address, connection)
        self.tally.remove_from(address.buckets)
        if address.network is not None:
            self.tally.remove_from(address.network)

    def usage_of(self, host: str) -> AddressUsage:
        """What the clients of this address use of the upstream connections.

        A trusted proxy's address stands for many clients: each of its connections counts alone.
        """
        if self.is_trusted_proxy(host):
            return AddressUsage()
        return self.addresses.usage(host)

    def is_trusted_proxy(self, host: str) -> bool:
        """Whether `trusted_proxies` holds this IP address; a text that is not an IP address is never trusted."""
        networks = self.settings.trusted_proxies
        return bool(networks) and is_trusted_proxy(host, networks)

    def upstream_pool(self, site: str) -> UpstreamPool:
        """The pool of the site's web servers; sites with the same servers share one."""
        entry = self.snapshot.sites.get(site)
        upstreams = (entry.upstreams if entry is not None else None) or self.settings.upstream
        pool = self._pools.get(upstreams)
        if pool is None:
            pool = self._pools[upstreams] = self.make_pool(upstreams)
        return pool

    def make_pool(self, upstreams: tuple[Upstream, ...]) -> UpstreamPool:
        """A pool of these servers that shares the worker's bounds."""
        outside = self.layout.root if upstreams != self.settings.upstream else None  # edge.yaml is the operator's own
        return UpstreamPool(upstreams, self.timers, self.settings.limits, self.base, self.count, self.bounds, outside)

    def upstream_servers(self) -> Iterator[Server]:
        """All servers that requests have been sent to."""
        for pool in self._pools.values():
            yield from pool.servers

    def challenge(self, token: str) -> bytes | None:
        """The key authorization of a pending ACME challenge (RFC 8555 §8.3); None for an unknown or invalid token."""
        path = self.layout.challenge(token)
        return None if path is None else read_key_authorization(path)

    def validation_context(self, server_name: str | None) -> ServedContext | None:
        """What proves this name to a CA (RFC 8737); None for a name that is not under validation.

        Raises NotLoaded, OutOfFiles.
        """
        name = normalise_server_name(server_name)
        path = self.layout.alpn_challenge(name) if name is not None else None
        if name is None or path is None:
            return None
        key_authorization = read_key_authorization(path)
        if key_authorization is None:
            self._validations.forget(name)
            return None
        return self._validations.make(name, key_authorization)

    def count_and_tell(self, cause: str, what: str) -> None:
        """Count something that we did to a client; the first of its kind is logged, so that somebody looks for more."""
        if not self.counters[cause]:
            logger.warning(
                "%s: %s; from now on only the access log and the metric certedge_events_total name it", what, cause
            )
        self.count(cause)

    def count(self, cause: str, amount: int = 1) -> None:
        """Count an event; `cause` is a short name such as `tls_junk`."""
        self.counters[cause] += amount


def _files_of(listener: ListenerSettings) -> int:
    """The open files of a client: its own, and for mail that of the connection to its server."""
    return 2 if listener.kind.is_mail else 1
