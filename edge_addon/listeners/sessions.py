"""Which session a connection gets: the only module that knows every protocol above the channel."""

from __future__ import annotations

from collections.abc import Callable

from certstore.model.settings.models import ListenerKind, ListenerSettings
from edge_addon.http.responses import encode_answer, page
from edge_addon.listeners.connection import ClientConnection
from edge_addon.listeners.health import HealthSession
from edge_addon.mail.protocols import PROTOCOLS
from edge_addon.mail.relay import MailSession
from edge_addon.plane.data_plane import DataPlane
from edge_addon.relay.http1 import Http1Session
from edge_addon.relay.http2.session import Http2Session
from edge_addon.transport.channel import Session


def make_session(connection: ClientConnection, plane: DataPlane) -> Session:
    """The session for the connection's kind of listener."""
    kind = connection.listener.kind
    if kind.is_mail:
        return MailSession(connection, plane)
    if kind is ListenerKind.HEALTH:
        return HealthSession(connection, plane)
    if connection.alpn == "h2":
        return Http2Session(connection, plane)
    return Http1Session(connection, plane)


def busy_answer(plane: DataPlane, listener: ListenerSettings) -> bytes:
    """The answer to a client above the connection limits; empty where TLS would have to come first."""
    kind = listener.kind
    if kind.offers_starttls:
        return PROTOCOLS[kind].goodbye(plane.snapshot.main.host, "Too many connections")
    if kind is ListenerKind.HTTP:
        answer = page(503, "too_many_connections")
        return encode_answer(answer, plane.clock(), (), is_head=False, connection=b"close")
    return b""


def connection_factory(plane: DataPlane, listener: ListenerSettings) -> Callable[[], ClientConnection]:
    """What `create_server` calls for each accepted socket of this listener."""
    busy = busy_answer(plane, listener)
    return lambda: ClientConnection(plane, listener, make_session, busy)
