"""What a session holds of its client connection, and what the connection calls on its session.

A connection (`connection.py`) owns the socket, the first bytes and TLS; a session (`relay.http1`, `mail.relay`) owns
the protocol above. Each sees the other only through these two shapes, in clear text and under TLS alike.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from certstore.model.selection import Selection
from certstore.model.settings.models import ListenerSettings


class Address(NamedTuple):
    """An IP address in text and a port; `("", 0)` for a peer that has none."""

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
    """The SNI value, normalised; None without TLS, without SNI, or when it is no host name."""
    selection: Selection | None
    """The certificate in use and why; None in clear text."""
    tls_version: str | None
    alpn: str | None
    """The protocol that client and server agreed on in TLS (RFC 7301), such as `h2`."""
    opened: float
    """`loop.time()` of the accept."""

    def write(self, data: bytes, *, more: bool = False) -> None:
        """Send, encrypted when `secure`. The session hears `pause_writing` when the client does not keep up.

        `more`: another `write` or the `close` follows at once, and both may leave in one piece.
        """

    def close(self) -> None:
        """Flush what was written, say goodbye in TLS, close. Nothing is read any more; safe to call twice."""

    def abort(self) -> None:
        """Drop the connection at once; what was written may be lost."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def hand_over(self, session: Session, data: bytes) -> None:
        """Give the channel to another session; `data` is what the one before has received and not handled."""

    def start_tls(self) -> None:
        """STARTTLS, server side, called right after the go-ahead was written.

        Everything received and not yet handled is discarded (RFC 3207 §4.2); the next bytes are the ClientHello.
        `Session.tls_established` follows, or `Session.connection_lost`.
        """


class Session(Protocol):
    """The protocol above a channel. No method may raise for anything that a peer sends."""

    @property
    def is_idle(self) -> bool:
        """Nothing is under way: closing now loses nothing."""

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> None:
        """The client will send nothing more. The session closes the channel when it has finished."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone, whoever ended it; called exactly once."""

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def tls_established(self) -> None:
        """The handshake that `Channel.start_tls` began is done; `secure` and `selection` are set."""

    def drain(self) -> None:
        """Finish what is under way, begin nothing new, then close."""


class PausedClient(Protocol):
    """A connection that is not read from: `transport.disconnects` asks after its peer."""

    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is closed already."""

    def on_peer_gone(self) -> None:
        """Close the connection: nobody is at its other end."""


class Connection(PausedClient, Protocol):
    """One accepted connection, as the process that serves it sees it."""

    listener: ListenerSettings

    def drain(self) -> None:
        """Finish what is under way, then close."""

    def abort(self) -> None:
        """Drop it at once."""


class Inspection(Protocol):
    """Where connections go whose requests mitmproxy's addons are to see."""

    def session(self, channel: Channel) -> Session:
        """Take the connection over: the session that it has from now on."""
