"""HTTP/1.1 and 1.0 towards the client: requests in, responses out, strictly one after the other.

A request is passed on only after its whole head has been read and found unambiguous; bytes that a client sends ahead
wait until the answer before them is complete. After a refusal the connection is not read as HTTP again. Bodies are
framed anew and move only as fast as the slower side. A request creates no task, future or stream.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from certstore.model.settings.models import Limits
from edge_addon.http import responses
from edge_addon.http.body_rate import BodyRate
from edge_addon.http.framing import RequestHead, ResponseHead
from edge_addon.http.head_reader import HeadReader
from edge_addon.http.limits import FRESH_SECONDS, HALF_CLOSED_SECONDS, PIPELINED_BYTES, STALL_SECONDS, UPGRADE_SECONDS
from edge_addon.http.reframing import bare_head, request_bytes
from edge_addon.http.refusal import BadMessage
from edge_addon.http.request_body import RequestBody
from edge_addon.http.websocket_key import is_accepted, key_of
from edge_addon.relay.admission import Admission
from edge_addon.relay.http1_responses import Http1Responses, Phase
from edge_addon.relay.read_pause import ReadPause, Reason
from edge_addon.relay.report import Report
from edge_addon.relay.tunnel import Tunnel
from edge_addon.transport.timers import Timer
from edge_addon.upstream.bounds import AddressUsage
from edge_addon.upstream.connection import UpgradedConnection
from edge_addon.upstream.login import ClientLogins


@dataclass(slots=True, eq=False, repr=False)
class Http1Session(Http1Responses):
    """HTTP/1 on one client connection: the channel's `Session`, the `ExchangeClient` of the current exchange."""

    _: KW_ONLY
    logins: ClientLogins = field(init=False)
    usage: AddressUsage = field(init=False)
    _body: RequestBody | None = None
    _heads: HeadReader = field(init=False)
    _limits: Limits = field(init=False)
    _rate: BodyRate = field(init=False)
    _read_pause: ReadPause = field(init=False)
    _timer: Timer = field(init=False)
    _tunnel: Tunnel | None = None

    def __post_init__(self) -> None:
        channel, plane = self._channel, self._plane
        self._limits = plane.settings.limits
        self.logins = ClientLogins(self)
        self._admission = Admission(channel, plane)
        self.usage = plane.usage_of(channel.client.host)
        self._heads = HeadReader(self._limits.header_bytes)
        self._read_pause = ReadPause(channel)
        self._report = Report(channel, plane)
        self._timer = plane.timers.timer()
        # A connection without a request is worth less than one that was in use.
        self._timer.set(self._limits.head_seconds, self._close)

    @property
    def is_idle(self) -> bool:
        is_between = self._phase is Phase.HEAD and not self._buffer and not self._heads.is_partial
        return is_between or self._phase is Phase.CLOSED

    @property
    def idle_since(self) -> float | None:
        if not self.is_idle or self._phase is Phase.CLOSED or self._is_write_paused:
            return None
        return self._timer.due - (self._limits.idle_seconds if self._report.status else self._limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase is Phase.HEAD:
            if not self._buffer:
                self._read_requests(data)
            elif self._is_write_paused:
                self._keep(_joined(self._buffer, data))
            else:
                self._read_requests(bytes(self._buffer) + data)
        elif phase is Phase.BODY:
            self._read_more_body(data)
        elif phase is Phase.WAIT:
            self._keep(_joined(self._buffer, data) if self._buffer else data)
        elif self._tunnel is not None:
            self._tunnel.client_data(data)

    def eof_received(self) -> None:
        """Answer a half-closed client, but soon: nearly always it has gone."""
        self._is_eof = True
        if self._phase is Phase.HEAD and not self._is_write_paused:
            self._close()
        elif self._phase is Phase.BODY:
            self._end_early("client_gone")
        elif self._phase is Phase.WAIT:
            self._progress()
        elif self._tunnel is not None:
            self._tunnel.client_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        if self._tunnel is not None:
            self._tunnel.client_lost()
        elif self._exchange is not None:
            self._exchange.cancel()
            self._plane.count("client_gone")
            self._log("client_gone")
        self._phase = Phase.CLOSED
        self._exchange = None
        self.logins.close()
        self._admission.gone()

    def pause_writing(self) -> None:
        self._is_write_paused = True
        if self._tunnel is not None:
            self._tunnel.client_full()
            return
        if self._exchange is not None:
            self._exchange.pause_reading()
        if self._phase is not Phase.CLOSED:
            self._progress()

    def resume_writing(self) -> None:
        self._is_write_paused = False
        if self._tunnel is not None:
            self._tunnel.client_drained()
            return
        if self._exchange is not None:
            self._exchange.resume_reading()
        if self._phase is not Phase.CLOSED:
            self._progress()
        if self._phase is Phase.HEAD:
            self._next()

    def tls_established(self) -> None:
        """Never called: HTTP has no STARTTLS."""

    def drain(self) -> None:
        """Make the answer under way, or the next one, the last; a tunnel goes on until the limit of the drain."""
        self._is_draining = True
        if self.is_idle and self._report.head is not None:
            self._close()
        elif self.is_idle:
            # A fresh connection: its first request may be on its way, and a client would not dare to resend it.
            self._timer.set(min(FRESH_SECONDS, self._limits.head_seconds), self._close)

    def login_ended(self) -> None:
        """End with the upstream connection that the client's login belonged to (`upstream.login`)."""
        self._is_draining = True
        if self._phase is Phase.HEAD and not self._is_write_paused:
            self._close()

    def _read_requests(self, data: bytes) -> None:
        """Read requests until one is under way or the rest is incomplete."""
        has_begun = self._heads.is_partial or bool(self._buffer)
        while data and self._phase is Phase.HEAD and not self._is_write_paused:  # answers of our own would pile up
            try:
                head, data = self._heads.read(data)
                if head is not None:
                    data, has_begun = self._begin(head, data), False
                    continue
            except BadMessage as error:
                self._refuse(error)
                return
            if not has_begun and (data or self._heads.is_partial):
                # A head has this long from its first byte, even if it trickles in.
                self._timer.set(self._limits.head_seconds, self._request_timed_out)
            break
        if self._phase is not Phase.CLOSED:
            self._keep(data)

    def _begin(self, head: RequestHead, rest: bytes) -> bytes:
        """Answer or send on the request; return what of `rest` is not part of it. Raises BadMessage."""
        self._report.begin(head)
        self._body = None
        self._is_chunked = False
        verdict = self._admission.admit(head)
        if isinstance(verdict, responses.Answer):
            return self._answer(verdict, head, rest)
        body, is_complete = b"", True
        if head.length:
            # Read first: if the body is refused, nothing of the request reaches the upstream.
            self._body, self._rate = RequestBody(head.length), BodyRate(head.method)
            body, left = self._body.read(rest)
            rest, is_complete = left or b"", left is not None
        self._phase = Phase.WAIT if is_complete else Phase.BODY
        self._exchange = exchange = self._admission.exchange(
            self, verdict, head.method, self._admission.response_fields, asks_upgrade=head.is_upgrade
        )
        data = request_bytes(head, self._admission.forwarded(head), body)
        exchange.start(data, length=head.length, is_complete=is_complete, is_login=head.is_login)
        self._progress()
        if head.is_upgrade:
            self._timer.set(min(UPGRADE_SECONDS, self._limits.idle_seconds), self._upstream_timed_out)
        return rest

    def _read_more_body(self, data: bytes) -> None:
        assert self._body is not None  # noqa: S101  phase BODY is entered with it
        try:
            body, rest = self._body.read(data)
        except BadMessage as error:
            self._refuse(error)
            return
        exchange = self._exchange
        assert exchange is not None  # noqa: S101  phase BODY is left with the exchange
        if body:
            exchange.send(body)
        if rest is not None:
            self._phase = Phase.WAIT
            exchange.finish()
            self._keep(rest)
        elif not (self._read_pause.is_paused or self._has_answered or self._rate.has_stepped(self._body.size)):
            return
        self._progress()

    def _keep(self, data: bytes | bytearray) -> None:
        """Keep bytes that can't be read yet; stop reading from a client that sends too far ahead."""
        self._buffer = data
        if len(data) > PIPELINED_BYTES and (self._phase is Phase.WAIT or self._is_write_paused):
            self._read_pause.add(Reason.PIPELINE)

    # Answers of the edge itself.

    def _answer(self, answer: responses.Answer, head: RequestHead, rest: bytes) -> bytes:
        """Answer a request that is not relayed. Its body is not read: the connection ends instead."""
        if answer.is_refusal:
            self._plane.count(answer.cause)
        is_last = not head.keep_alive or head.length != 0 or self._is_draining
        self._write_answer(answer, is_last=is_last)
        self._log(answer.cause)
        if is_last:
            self._close()
            return b""
        self._progress()
        return rest

    def _refuse(self, error: BadMessage) -> None:
        """Send a short page, unless the answer has begun, and read nothing more."""
        self._plane.count(f"request_{error.cause}")
        if self._exchange is not None:
            self._exchange.cancel()
        if not self._has_answered:
            if self._report.head is None:
                self._report.begin(None)
            self._write_answer(responses.page(error.status, error.cause), is_last=True)
        self._log(error.cause)
        self._close()

    # Called by the exchange; the rest of it by `Http1Responses`.

    def upgraded(self, head: ResponseHead, rest: bytes, connection: UpgradedConnection) -> None:
        request = self._report.head
        assert request is not None  # noqa: S101
        if not is_accepted(key_of(request), head):
            connection.transport.abort()
            connection.tunnel_ended()
            self.exchange_failed(502, "upstream_bad_upgrade")
            return
        self._phase = Phase.TUNNEL
        self._report.answered(head.status)
        self._has_answered = True
        own = [field.line for field in self._admission.own_fields]
        self._channel.write(bare_head(head, *own, b"Connection: Upgrade", b"Upgrade: websocket"))
        early, self._buffer = bytes(self._buffer), b""
        self._read_pause.clear()
        self._tunnel = Tunnel(self._channel, connection, self._timer, self._limits.idle_seconds, self._tunnel_ended)
        self._tunnel.start(rest, early)
        if self._is_write_paused:
            self._tunnel.client_full()
        if self._is_eof:
            self._tunnel.client_ended()

    def exchange_failed(self, status: int, cause: str) -> None:
        """Answer for an upstream that gave no response, or end one that broke off."""
        self._plane.count(cause if cause.startswith(("upstream_", "inspection_")) else f"upstream_{cause}")
        if self._has_answered or not status:
            # A client that counts bytes or chunks sees that some are missing; one that reads to the end needs a reset.
            self._end_early(cause, is_cut=not status or (self._is_closing and not self._is_chunked))
            return
        request = self._report.head
        assert request is not None  # noqa: S101
        self._is_closing = not request.keep_alive or self._phase is Phase.BODY or self._is_draining
        self._write_answer(responses.page(status, cause), is_last=self._is_closing)
        self._finish(cause)

    def pause_body(self) -> None:
        self._read_pause.add(Reason.UPSTREAM)
        if self._phase is Phase.BODY:
            self._progress()  # from now on it is the upstream that is late

    def resume_body(self) -> None:
        self._read_pause.remove(Reason.UPSTREAM)
        if self._phase is Phase.BODY:
            self._progress()

    def _finish(self, outcome: str | None = None) -> None:
        """Close after a complete response, or go on with what the client has sent meanwhile."""
        self._log(outcome)
        self._exchange = None
        if self._is_closing or (self._is_draining and not self._buffer):
            self._close()
            return
        self._phase = Phase.HEAD
        self._read_pause.remove(Reason.UPSTREAM)
        self._progress()
        if self._buffer or self._read_pause.is_paused or self._is_eof:
            self._next()

    def _next(self) -> None:
        """Go on with the bytes that wait, to their end even if the client has closed its side."""
        data, self._buffer = bytes(self._buffer), b""
        self._read_requests(data)
        if self._phase is Phase.HEAD and self._is_eof and not self._is_write_paused:
            self._close()
        elif len(self._buffer) <= PIPELINED_BYTES:
            self._read_pause.remove(Reason.PIPELINE)

    def _end_early(self, outcome: str, *, is_cut: bool = False) -> None:
        """End the connection in the middle of an exchange."""
        if self._exchange is not None:
            self._exchange.cancel()
        self._log(outcome)
        self._close(is_cut=is_cut)

    def _close(self, *, is_cut: bool = False) -> None:
        self._phase = Phase.CLOSED
        self._exchange = None
        self._buffer = b""
        self._heads.drop()
        self._timer.cancel()
        (self._channel.abort if is_cut else self._channel.close)()

    def _tunnel_ended(self, outcome: str) -> None:
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            self._report.bytes_in, self._report.bytes_out = tunnel.bytes_in, tunnel.bytes_out
        self._log(None if outcome == "done" else outcome)
        self._phase = Phase.CLOSED
        self._exchange = None

    def _log(self, outcome: str | None) -> None:
        if self._body is not None:
            self._report.bytes_in = self._body.size
        self._report.write(outcome, None if self._exchange is None else self._exchange.upstream)
        self._report.head, self._has_answered = None, False

    def _progress(self) -> None:
        """Set the deadline for the next step, after something has moved."""
        if self._is_write_paused:
            self._timer.set(STALL_SECONDS, self._client_stalled)
        elif self._phase is Phase.HEAD:
            self._timer.set(self._limits.idle_seconds, self._close)
        elif self._phase is Phase.BODY:
            # While the upstream takes no body, the client is not read from, and the edge can't notice that it has gone.
            late = (
                self._upstream_timed_out
                if self._read_pause.is_paused or self._has_answered
                else self._request_timed_out
            )
            idle = self._limits.idle_seconds
            self._timer.set(idle if self._rate.is_channel else min(STALL_SECONDS, idle), late)
        else:
            seconds = HALF_CLOSED_SECONDS if self._is_eof else self._limits.idle_seconds
            self._timer.set(seconds, self._upstream_timed_out)

    def _request_timed_out(self) -> None:
        """End a connection whose client is too slow with a head or a body."""
        cause = "request_head_timed_out" if self._phase is Phase.HEAD else "request_body_timed_out"
        if self._phase is Phase.HEAD:
            self._report.begin(None)
        self._plane.count(cause)
        self._write_answer(responses.page(408, cause), is_last=True)
        self._end_early(cause)

    def _upstream_timed_out(self) -> None:
        if self._exchange is not None:
            self._exchange.cancel()
            self.exchange_failed(504, "upstream_timed_out")

    def _client_stalled(self) -> None:
        self._plane.count("client_stalled")
        if self._phase is Phase.HEAD:
            self._close(is_cut=True)  # everything has been answered and logged
        else:
            self._end_early("client_stalled", is_cut=True)


def _joined(waiting: bytes | bytearray, data: bytes) -> bytearray:
    """Add to the bytes that wait; a copy of all for each piece would cost a client nothing and the edge a second."""
    joined = waiting if isinstance(waiting, bytearray) else bytearray(waiting)
    joined += data
    return joined
