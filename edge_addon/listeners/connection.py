"""One client connection: its socket, its first bytes, TLS, and the session above.

Each phase has a method that takes the received bytes: PROXY header → ClientHello → handshake → open → closing.
Connections in clear text skip the two in the middle. `sessions` decides which session comes above; nothing of HTTP or
mail is known here except the one answer for a web client that speaks plain HTTP to a TLS port.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum, auto
from typing import cast

from certstore.model.names import normalise_server_name
from certstore.model.selection import Selection
from certstore.model.settings.models import ListenerKind, ListenerSettings
from edge_addon.listeners.tls_choice import Refused, choose_context
from edge_addon.plane.addresses import Address as ClientAddress
from edge_addon.plane.data_plane import DataPlane
from edge_addon.transport import proxy_protocol
from edge_addon.transport.channel import Address, Session
from edge_addon.transport.served_contexts import ServerStage, open_stage
from edge_addon.transport.tcp import CLOSE_SECONDS
from edge_addon.transport.timers import Timer
from edge_addon.transport.tls_stage import RECORD_HANDSHAKE, Hello, HelloReader

LINGER_SECONDS = 2.0
"""How long a closed connection is still read from (RFC 9112 §9.6): a reset could destroy an answer not read yet."""

UNREAD_LIMIT = 512 * 1024
"""Bytes that a client may have answered without reading any of the answers, once its session has stopped writing."""

PLAIN_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This port speaks TLS. Use https:// instead of http://.\n"
)


_RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER that makes a close send a reset: on, 0 seconds."""

SessionMaker = Callable[["ClientConnection", DataPlane], Session]


class Phase(Enum):
    """What the bytes that come now belong to."""

    PROXY_HEADER = auto()
    HELLO = auto()
    HANDSHAKE = auto()
    OPEN = auto()
    CLOSING = auto()
    """They are discarded; what was written is still being sent."""


CLOSING = Phase.CLOSING


def _discard(_data: bytes) -> None:
    """Not a method, so that a connection that has ended does not refer to itself."""


@dataclass(slots=True, eq=False, repr=False)
class ClientConnection(asyncio.Protocol):
    """The protocol of an accepted socket, and the `Channel` of its session."""

    _plane: DataPlane
    listener: ListenerSettings
    _make_session: SessionMaker
    _busy_answer: bytes = b""
    _: KW_ONLY
    client: Address = field(init=False)
    local: Address = field(init=False)
    secure: bool = False
    server_name: str | None = None
    selection: Selection | None = None
    tls_version: str | None = None
    alpn: str | None = None
    opened: float = field(init=False)
    _transport: asyncio.Transport = field(init=False)
    _timer: Timer = field(init=False)
    _phase: Phase = Phase.PROXY_HEADER
    _receive: Callable[[bytes], None] = _discard
    """Takes the received bytes in the current phase."""
    _header: bytes = b""
    """The part of the PROXY header that has come so far."""
    _hello: HelloReader | None = None
    _stage: ServerStage | None = None
    _session: Session | None = None
    _client_address: ClientAddress | None = None
    """Where the connection is counted until it is lost."""
    _is_eof: bool = False
    """The client sends nothing more."""
    _is_paused: bool = False
    _is_corked: bool = False
    """What the session writes is sent in one piece once it has read all that has come."""
    _is_full: bool = False
    """So much is unsent that the session should write no more."""
    _unread: int = 0
    """Bytes that the client has since had us add: TLS answers by itself, to updates of keys say."""
    _unsent: int = 0
    """Bytes left to send when the closing connection was last checked."""
    _fault: Exception | None = None
    """Why the connection was dropped, if its session must not take that for a normal end."""

    def _enter(self, phase: Phase, receive: Callable[[bytes], None]) -> None:
        self._phase = phase
        self._receive = receive

    # The socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = self._plane.timers.timer()
        self.opened = self._plane.loop.time()
        self.client = _address(transport.get_extra_info("peername"))
        self.local = _address(transport.get_extra_info("sockname"))
        if not self._plane.add_connection(self):
            self._refuse_for_load()
        elif not self.listener.accept_proxy_protocol:
            self._begin()
        elif self._plane.is_trusted_proxy(self.client.host):
            self._receive = self._read_proxy_header
            self._timer.set(self._plane.settings.limits.handshake_seconds, self._proxy_header_timed_out)
        else:
            self._plane.count("proxy_header_untrusted")
            self.abort()

    def data_received(self, data: bytes) -> None:
        self._receive(data)

    def eof_received(self) -> bool:
        """The peer sends no more. True keeps our direction open, so that the rest of an answer still arrives."""
        had_closed_tls, self._is_eof = self._is_eof, True
        if self._phase is CLOSING or self._session is None:
            return False
        if self._stage is not None:
            # An end without close_notify is a truncation (RFC 8446 §6.1): the last message may be incomplete.
            return had_closed_tls
        self._session.eof_received()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._plane.remove_connection(self)
        if self._client_address is not None:
            self._plane.leave(self._client_address, self)
        self._enter(CLOSING, _discard)
        session, self._session = self._session, None
        if self._stage is not None and not self.secure:
            self._plane.metrics.handshake(self.listener, None, "client_gone")
        self._stage = self._hello = None
        if session is not None:
            session.connection_lost(exc or self._fault)

    def fileno(self) -> int:
        """The descriptor of the socket; -1 once it is closed."""
        bound = self._transport.get_extra_info("socket")
        return -1 if bound is None or self._transport.is_closing() else int(bound.fileno())

    def on_peer_gone(self) -> None:
        self._fault = ConnectionResetError("the client disconnected while it was not read from")
        self.abort()

    def pause_writing(self) -> None:
        self._is_full = True
        if self._session is not None:
            self._session.pause_writing()

    def resume_writing(self) -> None:
        self._is_full, self._unread = False, 0
        if self._session is not None:
            self._session.resume_writing()

    # The channel.

    def write(self, data: bytes, *, more: bool = False) -> None:
        if self._phase is CLOSING:
            return
        if self._stage is None:
            self._transport.write(data)
            return
        try:
            self._stage.write(data)
        except ssl.SSLError:
            # The client has sent part of a message of the handshake, say, and OpenSSL waits for the rest of it. Whoever
            # writes here has other connections to care for: this one ends, and `connection_lost` tells its session.
            self._plane.count("tls_broken")
            self.abort()
            return
        if not (self._is_corked or more):
            self._flush()

    def close(self) -> None:
        if self._phase is CLOSING:
            return
        if self._stage is not None:
            self._stage.close_notify()
            self._flush()
        self._enter(CLOSING, _discard)
        if self._is_eof or self._transport.is_closing():
            self._transport.close()
            return
        # Everything written is sent, then our FIN; the peer's FIN, or LINGER_SECONDS without one, closes the socket.
        self._transport.write_eof()
        self._plane.disconnects.discard(self)
        self._transport.resume_reading()
        self._wait_for_end()

    def abort(self) -> None:
        self._enter(CLOSING, _discard)
        if (bound := self._transport.get_extra_info("socket")) is not None:
            # A reset, not a FIN: a client that reads until the end must not take a truncated answer for a complete one.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def pause_reading(self) -> None:
        self._is_paused = True
        if self._phase is not CLOSING:
            self._transport.pause_reading()
            self._plane.disconnects.add(self)

    def resume_reading(self) -> None:
        if not self._is_paused:
            return
        self._is_paused = False
        self._plane.disconnects.discard(self)
        if self._phase is CLOSING:
            return
        self._transport.resume_reading()
        if self._stage is not None and not self._is_eof and self._stage.may_have_more:
            self._plane.loop.call_soon(self._pump)  # not from here: the session may be in the middle of its own work

    def start_tls(self) -> None:
        if self._phase is not CLOSING:
            self._await_hello()

    @property
    def idle_since(self) -> float | None:
        return None if self._session is None or self._phase is CLOSING else self._session.idle_since

    def give_way(self) -> None:
        self.drain()
        self.close()

    def drain(self) -> None:
        """Finish what is under way, then close; without a session there is nothing to finish."""
        if self._session is not None:
            self._session.drain()

    # First bytes and handshake.

    def _begin(self) -> None:
        """The client's address is known now."""
        self._client_address = self._plane.enter(self.client.host, self)
        if not self._plane.admits(self._client_address):
            self._refuse_for_load()
        elif self.listener.kind.is_implicit_tls:
            self._await_hello()
        else:
            self._session = self._make_session(self, self._plane)
            self._enter(Phase.OPEN, self._session.data_received)

    def _read_proxy_header(self, data: bytes) -> None:
        """The header must be complete before any byte behind it is used (PROXY protocol, section 2)."""
        self._header += data
        header = proxy_protocol.parse(self._header)
        if header is None:
            return
        if isinstance(header, proxy_protocol.Invalid):
            self._plane.count("proxy_header_invalid")
            self.abort()
            return
        rest, self._header = self._header[header.consumed :], b""
        self.client = header.source or self.client
        self.local = header.destination or self.local
        self._timer.cancel()
        self._begin()
        if rest:
            self._receive(rest)

    def _await_hello(self) -> None:
        self._hello = HelloReader(self._plane.hello_context)
        self._enter(Phase.HELLO, self._read_hello)
        self._timer.set(self._plane.settings.limits.handshake_seconds, self._handshake_timed_out)

    def _read_hello(self, data: bytes) -> None:
        if self._hello is None:
            return
        if data[0] != RECORD_HANDSHAKE and self._hello.is_fresh:
            self._answer_in_clear(data)
            return
        hello = self._hello.feed(data)
        if hello is None:
            return
        self._hello = None
        if isinstance(hello, Hello):
            self._choose(hello)
        else:
            self._give_up("tls_junk", hello.alert)

    def _choose(self, hello: Hello) -> None:
        chosen = choose_context(self._plane, self.listener, hello)
        if isinstance(chosen, Refused):
            self._give_up(chosen.cause, chosen.alert)
            return
        self.server_name = normalise_server_name(hello.server_name)
        self.selection = chosen.selection
        self._stage = open_stage(chosen.context)
        self._enter(Phase.HANDSHAKE, self._handshake if chosen.selection is not None else self._validate)
        self._receive(hello.received)

    def _validate(self, data: bytes) -> None:
        """The handshake of a CA that validates a name is the whole conversation (RFC 8737 §3)."""
        if self._shake_hands(data) is not None:
            self._plane.count("tls_validations")
            self._plane.metrics.handshake(self.listener, self.tls_version, "validation")
            self.close()

    def _shake_hands(self, data: bytes) -> ServerStage | None:
        """The stage once the handshake is complete."""
        stage = self._stage
        if stage is None:
            return None
        try:
            stage.feed(data)
            stage.handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return None
        except ssl.SSLError:
            self._give_up("tls_handshake_failed", stage.output())
            return None
        self._timer.cancel()
        self.secure = True
        self.tls_version = stage.version
        self.alpn = stage.alpn
        return stage

    def _handshake(self, data: bytes) -> None:
        stage = self._shake_hands(data)
        if stage is None:
            return
        self._plane.metrics.handshake(self.listener, self.tls_version, "done", self.selection)
        self._enter(Phase.OPEN, self._decrypt)
        if self._session is None:
            self._session = self._make_session(self, self._plane)
        else:
            self._session.tls_established()
        if stage.may_have_more:
            self._pump()
        else:
            self._flush()
        if self._plane.is_draining and self._session is not None:
            self._session.drain()

    # Open.

    def _decrypt(self, data: bytes) -> None:
        if self._stage is not None:
            self._stage.feed(data)
            self._pump()

    def _pump(self) -> None:
        """Pass plaintext to the session, record by record, until there is none left or the session pauses.

        What the session writes meanwhile is sent in one piece at the end.
        """
        stage, session = self._stage, self._session
        if stage is None or session is None:
            return
        unsent = self._transport.get_write_buffer_size() if self._is_full else None
        self._is_corked = True
        try:
            while not self._is_paused and self._phase is not CLOSING:
                plain = stage.read()
                if not plain:
                    self._is_eof = True
                    self._receive = _discard  # OpenSSL would keep all that follows close_notify, and never look at it
                    session.eof_received()
                    break
                session.data_received(plain)
                if not stage.may_have_more:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._is_corked = False
            self._give_up("tls_broken", stage.output())
            return
        finally:
            self._is_corked = False
        self._flush()
        if unsent is not None and self._phase is not CLOSING:
            self._unread += max(0, self._transport.get_write_buffer_size() - unsent)
            if self._unread > UNREAD_LIMIT:
                self._plane.count("client_stalled")
                self.abort()

    def _flush(self) -> None:
        if self._stage is not None and (data := self._stage.output()):
            self._transport.write(data)

    # Endings.

    def _give_up(self, cause: str, alert: bytes) -> None:
        """TLS has failed: send the alert if there is one, close."""
        self._plane.count(cause)
        if not self.secure:
            self._plane.metrics.handshake(self.listener, None, cause)
        if alert:
            self._transport.write(alert)
        self._stage = None
        self.close()

    def _answer_in_clear(self, data: bytes) -> None:
        """Plain text on a TLS port: a web client gets an explanation, for others the connection just closes."""
        self._plane.count("plain_text_on_tls_port")
        self._plane.metrics.handshake(self.listener, None, "plain_text_on_tls_port")
        self._hello = None
        if self.listener.kind is ListenerKind.HTTPS and data[:1].isalpha():
            self._transport.write(PLAIN_HTTP_ANSWER)
        self.close()

    def _refuse_for_load(self) -> None:
        if self._busy_answer:
            self._transport.write(self._busy_answer)
            self.close()
        else:
            self.abort()

    def _proxy_header_timed_out(self) -> None:
        self._plane.count("proxy_header_timed_out")
        self.abort()

    def _handshake_timed_out(self) -> None:
        self._plane.count("tls_handshake_timed_out")
        self._plane.metrics.handshake(self.listener, None, "tls_handshake_timed_out")
        self._stage = None
        self.abort()

    def _wait_for_end(self) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self._timer.set(CLOSE_SECONDS if self._unsent else LINGER_SECONDS, self._linger)

    def _linger(self) -> None:
        """Wait while data is still being sent, then give the peer LINGER_SECONDS to close its side."""
        unsent = self._transport.get_write_buffer_size()
        if self._unsent and unsent < self._unsent:
            self._wait_for_end()
        else:
            self._transport.abort()  # with nothing unsent this is a plain close


def _address(name: object) -> Address:
    """The address of a peer; an IPv4 client on a dual-stack socket is given as IPv4."""
    if not isinstance(name, tuple):
        return Address("", 0)
    host = str(name[0])
    mapped = host.removeprefix("::ffff:")
    return Address(mapped if "." in mapped else host, int(name[1]))
