"""Upstream connections that carry a login: each belongs to one client connection until either ends.

With NTLM, and with Negotiate as IIS uses it, a server authenticates the connection: whatever comes on it afterwards is
the user's. So a connection that has seen such a login, or the offer of one, never returns to its pool. It waits for the
next request of its client, and when the server closes it the client's connection ends too: the client then logs in
again, as it would without an edge between them.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Protocol

from edge_addon.upstream.connection import PoolOwner, UpstreamConnection


class LoginKeeper(Protocol):
    """The session of a client whose logins have upstream connections."""

    def login_ended(self) -> None:
        """An upstream connection that belonged to this client has ended."""


@dataclass(slots=True, eq=False, repr=False)
class ClientLogins:
    """The logins of one client connection, by pool. `keeper` is None where there can't be one: over HTTP/2."""

    _keeper: LoginKeeper | None
    _: KW_ONLY
    connections: dict[object, UpstreamConnection] | None = None
    """For this module; others ask whether there are any."""

    def get(self, pool: object) -> UpstreamConnection | None:
        """The connection to this pool that belongs to the client."""
        return None if self.connections is None else self.connections.get(pool)

    def bind(self, pool: object, connection: UpstreamConnection) -> None:
        """Make the connection the client's. Without a keeper it is closed after its response."""
        if isinstance(connection.owner, _Login):
            return
        is_kept = self._keeper is not None
        connection.owner = _Login(connection.owner, pool, self if is_kept else None)
        if is_kept:
            self.connections = self.connections or {}
            self.connections[pool] = connection

    def end(self, pool: object, connection: UpstreamConnection) -> None:
        """Forget a connection that has ended, or that its server is about to close."""
        if self.connections is not None and self.connections.get(pool) is connection:
            del self.connections[pool]
            if self._keeper is not None:
                self._keeper.login_ended()

    def close(self) -> None:
        """Close the connections: their client has gone."""
        self._keeper = None
        connections, self.connections = self.connections, None
        for connection in (connections or {}).values():
            connection.abandon()


@dataclass(slots=True, eq=False, repr=False)
class _Login:
    """The owner of a connection that carries a login, in place of the server of its pool."""

    _server: PoolOwner
    _pool: object
    _logins: ClientLogins | None

    @property
    def name(self) -> str:
        return self._server.name

    def give_back(self, connection: UpstreamConnection) -> None:
        """Let it wait for its client; to the server of the pool it counts as in use."""
        if self._logins is None:
            connection.close_idle()

    def lost(self, connection: UpstreamConnection) -> None:
        logins, self._logins = self._logins, None
        self._server.lost(connection)
        if logins is not None:
            logins.end(self._pool, connection)
