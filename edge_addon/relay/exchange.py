"""One request on its way to an upstream and back: its connection, a possible second try, its end.

Stands between a client session (HTTP/1 or HTTP/2) and an `UpstreamConnection`. Knows no framing: the session passes
bytes as HTTP/1.1 frames them and gets body bytes back.
"""

from __future__ import annotations

import asyncio
from dataclasses import KW_ONLY, dataclass

from edge_addon.http.fields import FieldTable
from edge_addon.http.framing import CHUNKED, ResponseHead
from edge_addon.http.limits import POOL_FRESH_SECONDS, POOL_IDLE_SECONDS
from edge_addon.upstream.bounds import Cancellable, Exceeded
from edge_addon.upstream.connection import UpgradedConnection, UpstreamConnection
from edge_addon.upstream.interfaces import ExchangeClient
from edge_addon.upstream.pool import UpstreamPool
from edge_addon.upstream.resend import has_arrived, may_send_again

IDEMPOTENT = frozenset(
    (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PROPFIND", b"REPORT", b"SEARCH", b"PROPPATCH", b"MKCALENDAR")
)
"""May be sent again once if there is no body; others only if `upstream.resend` knows that they never arrived."""

KEPT_BYTES = 65536
"""A complete request up to this size is kept for a second try. One with a larger body gets a fresh connection: that
costs little beside the body, and servers close connections that have answered, not fresh ones."""


_STATUSES: dict[str, int] = {
    "upstream_connect_timeout": 504,
    "upstream_login_ended": 0,
    **{each.value: 503 for each in Exceeded},
}
"""How the edge answers when there is no connection, where that is not 502; 0: the client's connection ends."""


@dataclass(slots=True, eq=False, repr=False)
class Exchange:
    """Created for each request; call `start` once, then `send` and `finish` while there is a body."""

    _client: ExchangeClient
    _pool: UpstreamPool
    _method: bytes
    _fields: FieldTable
    """What happens to each header field of the response."""
    _: KW_ONLY
    asks_upgrade: bool
    upstream: str | None = None
    """The URL of the upstream that got the request."""
    _connection: UpstreamConnection | None = None
    _is_complete: bool = True
    _is_kept: bool = False
    """`_unsent` keeps the whole request for a second try."""
    _may_resend: bool = False
    _is_login: bool = False
    _opening: Cancellable | None = None
    _unsent: bytes | bytearray = b""

    # Used by the session.

    def start(self, data: bytes, *, length: int, is_complete: bool, is_login: bool = False) -> None:
        """Send the request: its head and the beginning of its body of `length`. `is_complete`: nothing will follow.

        `is_login`: it is part of a login that belongs to its connection.
        """
        self._is_complete = is_complete
        if is_login or self._client.logins.connections:
            self._is_login = is_login
            if self._starts_login(data):
                return
        self._may_resend = not length and self._method in IDEMPOTENT
        self._is_kept = is_complete and len(data) <= KEPT_BYTES
        # Kept for a second try, or until there is a connection.
        self._unsent = data
        is_large = max(length, len(data)) > KEPT_BYTES or (length == CHUNKED and not is_complete)
        # A server may be closing an older connection just now, and nobody could tell whether it has got the request.
        max_idle = 0.0 if is_large else POOL_IDLE_SECONDS if self._may_resend else POOL_FRESH_SECONDS
        usage = self._client.usage
        connection = self._pool.take(usage, max_idle) if max_idle else None
        if connection is None:
            self._opening = self._pool.open(self, usage, max_idle=max_idle)
            if not is_complete:
                self._client.pause_body()
        else:
            self._send_on(connection)

    def _starts_login(self, data: bytes) -> bool:
        """Send the request on the connection that belongs to the client, or begin a login on a fresh one.

        It is never sent a second time: another connection is nobody's, or somebody else's.
        """
        connection = self._client.logins.get(self._pool)
        if connection is None and not self._is_login:
            return False  # for another site than the one that the client is logged in to
        self._unsent = data
        if connection is not None and connection.is_usable:
            self._send_on(connection)
            return True
        if connection is None:
            self._opening = self._pool.open(self, self._client.usage)
        else:
            self._opening = asyncio.get_running_loop().call_soon(self.not_connected, "upstream_login_ended")
        if not self._is_complete:
            self._client.pause_body()
        return True

    def send(self, data: bytes) -> None:
        """Send more of the body. It is kept while connecting: the session is paused, so that is one read at most."""
        if self._connection is not None:
            self._connection.write(data)
        else:
            if isinstance(self._unsent, bytes):
                self._unsent = bytearray(self._unsent)  # which grows in place, however small the pieces are
            self._unsent += data

    def finish(self) -> None:
        """Note that the body is complete."""
        self._is_complete = True
        if self._connection is not None:
            self._connection.finish_request()

    def cancel(self) -> None:
        """Give up: the client has gone, or does not want the rest of the response."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    def pause_reading(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()

    def resume_reading(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    # Called by the pool.

    def connected(self, connection: UpstreamConnection) -> None:
        self._opening = None
        if not self._is_complete:
            self._client.resume_body()
        self._send_on(connection)  # last, because the upstream may be full at once

    def not_connected(self, cause: str) -> None:
        self._opening = None
        self._client.exchange_failed(_STATUSES.get(cause, 502), cause)

    def _send_on(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        if self._is_login:
            self._client.logins.bind(self._pool, connection)
        self.upstream = connection.owner.name
        data = bytes(self._unsent)
        if not self._is_kept:
            self._unsent = b""
        connection.begin(
            self,
            data,
            self._fields,
            is_head=self._method == b"HEAD",
            asks_upgrade=self.asks_upgrade,
            is_complete=self._is_complete,
        )

    # Called by the connection.

    def login_seen(self, connection: UpstreamConnection, head: ResponseHead) -> None:
        """The connection it came on is the client's from now on, also one that came from the pool."""
        logins = self._client.logins
        if head.keep_alive:
            logins.bind(self._pool, connection)
        else:
            logins.end(self._pool, connection)

    def informational(self, head: ResponseHead) -> None:
        self._client.informational(head)

    def response_started(self, head: ResponseHead, body: bytes, *, is_complete: bool) -> None:
        if is_complete:
            self._connection = None
        self._client.response_started(head, body, is_complete=is_complete)

    def response_data(self, data: bytes) -> None:
        self._client.response_data(data)

    def response_ended(self, data: bytes, trailers: list[bytes]) -> None:
        self._connection = None
        self._client.response_ended(data, trailers)

    def upgraded(self, head: ResponseHead, rest: bytes, connection: UpgradedConnection) -> None:
        self._connection = None
        self._client.upgraded(head, rest, connection)

    def upstream_failed(self, cause: str, *, is_lost: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if is_lost and self._is_kept and not connection.has_answered and self._may_go_again(connection):
            # On a fresh connection, and without a third try.
            self._is_kept = False
            self._opening = self._pool.open(self, self._client.usage, avoid=connection.owner)
            return
        self._client.exchange_failed(502, cause)

    def _may_go_again(self, connection: UpstreamConnection) -> bool:
        return may_send_again(
            is_repeatable=self._may_resend,
            is_reused=connection.is_reused,
            has_others=len(self._pool.servers) > 1,
            has_arrived=not connection.has_ended or has_arrived(connection.transport, len(self._unsent)),
        )

    def pause_body(self) -> None:
        self._client.pause_body()

    def resume_body(self) -> None:
        self._client.resume_body()
