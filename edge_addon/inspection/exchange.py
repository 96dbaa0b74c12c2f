"""What the edge does for one inspected request: judge it, aim it at an upstream, keep the books of it.

Called by its stream at the right moments; knows mitmproxy's flows but none of its layers or commands.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from mitmproxy import http
from mitmproxy.proxy.layers.http._events import RequestHeaders

from edge_addon.http import responses
from edge_addon.http.body_rate import BodyRate
from edge_addon.http.framing import RequestHead
from edge_addon.http.limits import STALL_SECONDS
from edge_addon.http.refusal import BadMessage
from edge_addon.http.responses import Answer
from edge_addon.inspection.rewriting import build_response, clean_response, request_fields_of, rewrite_request
from edge_addon.plane.metrics import NO_UPSTREAM
from edge_addon.relay.admission import HandOver
from edge_addon.relay.http2.heads import read_request
from edge_addon.relay.report import build_entry
from edge_addon.upstream.pool import Server, UpstreamPool

if TYPE_CHECKING:
    from edge_addon.inspection.session import InspectedSession


class InspectedExchange:
    """Of one stream."""

    def __init__(self, session: InspectedSession, stream_id: int) -> None:
        self.bytes_in = self.bytes_out = 0
        self.is_request_complete = False
        self._session = session
        self._stream_id = stream_id
        self._head: RequestHead | None = None
        self._pool: UpstreamPool | None = None
        self._server: Server | None = None
        self._tried: set[Server] = set()
        self._refusal: str | None = None
        self._is_malformed = False
        self._started = perf_counter()
        self._responded = 0.0
        self._status = 0
        self._is_over = False
        self._rate = BodyRate()
        self._body_timer = session.plane.timers.timer()

    @property
    def is_head(self) -> bool:
        return self._head is not None and self._head.method == b"HEAD"

    # The request.

    def begin(self, event: RequestHeaders) -> None:
        """A request's head is there."""
        self._started = perf_counter()
        self.is_request_complete = event.end_stream
        self._head = self._session.heads.pop(self._stream_id, None)
        self._session.request_begun()
        if not self.is_request_complete:
            self._rate = BodyRate(event.request.data.method)
            self._session.bodies.add(self)
            self._await_body()

    def body_received(self, size: int) -> None:
        """Some of the request's body has come."""
        self.bytes_in += size
        if self._rate.has_stepped(self.bytes_in):
            self._await_body()

    def body_ended(self) -> None:
        """The request is complete, or its client has gone."""
        self.is_request_complete = True
        self._body_timer.cancel()
        self._session.bodies.discard(self)

    def _await_body(self) -> None:
        idle = self._session.plane.settings.limits.idle_seconds
        self._body_timer.set(idle if self._rate.is_channel else min(STALL_SECONDS, idle), self._body_late)

    def _body_late(self) -> None:
        if self._session.is_held or (self._responded and not self._is_over):
            self._await_body()  # nobody but the upstream is waited for: mitmproxy's own limit holds
        else:
            self._session.body_timed_out(has_answered=bool(self._responded))

    def admit(self, flow: http.HTTPFlow) -> None:
        """The gate's word, before any addon: an answer of the edge's own, or the request as it goes on."""
        try:
            if self._head is None:
                self._head = read_request(
                    request_fields_of(flow.request), _no_key, is_end=self.is_request_complete
                ).head
            verdict = self._session.admission.admit(self._head)
        except BadMessage as error:
            self._session.plane.count(f"request_{error.cause}")
            self._is_malformed = True
            self._answer(flow, responses.page(error.status, error.cause))
            return
        assert not isinstance(verdict, HandOver)  # noqa: S101  this connection is inspected
        if isinstance(verdict, Answer):
            if verdict.is_refusal:
                self._session.plane.count(verdict.cause)
            self._answer(flow, verdict)
            return
        self._pool = verdict
        rewrite_request(flow.request, self._head, self._session.admission.forwarded(self._head))
        flow.request.stream = True
        self._aim(flow.request)
        if self._server is not None and self._server.upstream.unix_path is not None:
            self._session.plane.count("inspection_unix_upstream")
            self._answer(flow, responses.page(502, "inspection_unix_upstream"))

    def _answer(self, flow: http.HTTPFlow, answer: Answer) -> None:
        self._refusal = answer.cause
        flow.request.headers.pop("expect", None)
        flow.response = build_response(answer, self._session.plane.clock())

    # The upstream.

    def _aim(self, request: http.Request) -> None:
        assert self._pool is not None  # noqa: S101
        self._leave_server()
        server = self._server = self._pool.best(self._tried)
        server.active += 1
        self._tried.add(server)
        upstream = server.upstream
        if upstream.unix_path is None:
            host, port = upstream.address
            # Not through the properties: those change the Host header too.
            request.data.host, request.data.port = host, port
            request.data.scheme = b"https" if upstream.is_tls else b"http"
            self._session.upstreams[host, port] = upstream

    def connected(self) -> None:
        if self._server is not None:
            self._server.failed_until = 0.0

    def has_next_upstream(self, request: http.Request, error: str) -> bool:
        """After a failed connect: whether the request is now aimed at another upstream of the site."""
        server, pool = self._server, self._pool
        if server is None or pool is None or (request.host, request.port) != tuple(server.upstream.address):
            return False  # an addon sent it elsewhere
        self._session.plane.count("upstream_connect_failed")
        server.mark_failed(ConnectionError(error))
        if len(self._tried) == len(pool.servers):
            return False
        self._aim(request)
        return True

    def _leave_server(self) -> None:
        if self._server is not None:
            self._server.active -= 1
            self._server = None

    # The response.

    def clean(self, response: http.Response) -> None:
        head, session = self._head, self._session
        clean_response(
            response,
            is_http2=session.is_http2,
            minor=1 if head is None else head.minor,
            keeps_alive=head is not None and head.keep_alive,
            is_last=session.is_draining or self._is_malformed,
            own_fields=session.admission.own_fields,
        )

    def page(self, status: int) -> http.Response:
        """Where mitmproxy gives up: no proper answer from the upstream, or no proper request."""
        cause = "upstream_failed" if status >= 500 else "request_refused"
        self._session.plane.count(cause)
        self._refusal = cause
        response = build_response(responses.page(status, cause), self._session.plane.clock())
        response.headers["Connection"] = "close"
        self.clean(response)
        if not self._session.is_http2:
            response.headers["Connection"] = "close"
        return response

    def responded(self, status: int) -> None:
        self._status = status
        self._responded = perf_counter()

    def forget_messages(self, flow: http.HTTPFlow) -> None:
        """A WebSocket may last for days: only the last message is kept, unless somebody looks at flows."""
        if flow.websocket is not None and not self._session.keeps_messages:
            del flow.websocket.messages[:-1]

    # The end.

    def finish(self, flow: http.HTTPFlow, outcome: str | None) -> None:
        """The response is there, or none will be: the line in the access log."""
        if self._is_over:
            return
        self._is_over = True
        upstream = None if self._server is None else self._server.name
        self._leave_server()
        self._session.request_finished()
        plane, head = self._session.plane, self._head
        status = self._status or (flow.response.status_code if flow.response is not None else 0)
        now = perf_counter()
        seconds = NO_UPSTREAM if upstream is None else (self._responded or now) - self._started
        plane.metrics.request("" if head is None else head.site, status, seconds, self.bytes_in, self.bytes_out)
        if not plane.access_log.is_enabled:
            return
        entry = build_entry(self._session.channel, self._head, status, self._refusal or outcome)
        entry.bytes_in, entry.bytes_out = self.bytes_in, self.bytes_out
        entry.duration = now - self._started
        if upstream is not None:
            entry.upstream = upstream
            entry.upstream_duration = seconds
        plane.access_log.write(entry)


def _no_key() -> bytes:
    """mitmproxy offers no WebSockets over HTTP/2: a CONNECT that asks for one is refused before."""
    return b""
