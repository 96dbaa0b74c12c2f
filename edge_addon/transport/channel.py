"""The protocols between a client connection, its session and the worker that serves them.

A connection (`listeners.connection`) owns the socket, the first bytes and TLS. A session (`relay.http1`, `mail.relay`)
owns the protocol above and sees the connection as a `Channel`, in clear text and under TLS alike.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from certstore.model.selection import Selection
from certstore.model.settings.models import ListenerSettings


class Address(NamedTuple):
    """An IP address as text, and a port; `("", 0)` for a peer without an address."""

    host: str
    port: int


class Channel(Protocol):
    """One client connection, as its session sees it."""

    listener: ListenerSettings
    client: Address
    """Who connected: the TCP peer, or what a trusted PROXY header says."""
    local: Address
    secure: bool
    server_name: str | None
    """The SNI value, normalised; None without TLS, without SNI, or when it is not a host name."""
    selection: Selection | None
    """The certificate in use and why; None in clear text."""
    tls_version: str | None
    alpn: str | None
    """The protocol that client and server agreed on in TLS (RFC 7301), such as `h2`."""
    opened: float
    """`loop.time()` of the accept."""

    def write(self, data: bytes, *, more: bool = False) -> None:
        """Send, encrypted when `secure`. A client that does not keep up leads to `Session.pause_writing`.

        `more`: another `write` or the `close` follows immediately, and both may be sent together.
        """

    def close(self) -> None:
        """Flush what was written, send close_notify under TLS, close. No more data is read. Can be called twice."""

    def abort(self) -> None:
        """Reset the connection immediately; what was written may be lost."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def start_tls(self) -> None:
        """Start TLS as the server, right after the session has written its consent.

        Everything received and not yet handled is discarded (RFC 3207 §4.2); the next bytes are the ClientHello.
        `Session.tls_established` follows, or `Session.connection_lost`.
        """


class Session(Protocol):
    """The protocol above a channel. No method may raise because of what a peer sends."""

    @property
    def is_idle(self) -> bool:
        """Closing now would lose nothing."""

    @property
    def idle_since(self) -> float | None:
        """`loop.time()` since when it waits for the next request; None if closing now would lose something."""

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> None:
        """The client will send nothing more. The session closes the channel when it is done."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, by either side; called exactly once."""

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def tls_established(self) -> None:
        """The handshake after `Channel.start_tls` is complete; `secure` and `selection` are set."""

    def drain(self) -> None:
        """Finish what is under way, start nothing new, then close."""


class PausedClient(Protocol):
    """A connection that is not read from; `transport.disconnects` watches its peer."""

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""

    def on_peer_gone(self) -> None:
        """Drop the connection: its peer has gone."""


class Connection(PausedClient, Protocol):
    """One accepted connection, as its worker sees it."""

    listener: ListenerSettings

    @property
    def idle_since(self) -> float | None:
        """`loop.time()` since when it is of no use; None if it is in use, or may be."""

    def give_way(self) -> None:
        """Close an idle connection, in good order."""

    def drain(self) -> None:
        """Finish what is under way, then close."""

    def abort(self) -> None:
        """Reset it immediately."""
