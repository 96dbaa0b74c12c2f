"""What becomes of a request: the edge answers it, relays it to its site's servers, or hands it over to inspection.

One admission per client connection, the same for HTTP/1 and HTTP/2. It asks the plane (challenge, certificate choice,
pool) and remembers the answers for the last host, because most connections carry requests for one host.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from certstore.model.names import normalise_server_name
from certstore.model.settings.models import ListenerKind, Settings
from certstore.model.snapshot import Snapshot
from edge_addon.http import forwarded, responses
from edge_addon.http.fields import Field, FieldTable, response_fields
from edge_addon.http.framing import RequestHead
from edge_addon.http.http01 import CHALLENGE_PATH_BYTES, answer_challenge
from edge_addon.http.responses import Answer
from edge_addon.http.target import parse_host
from edge_addon.relay.exchange import Exchange
from edge_addon.transport.channel import Channel
from edge_addon.upstream.interfaces import ExchangeMaker, InspectedClient
from edge_addon.upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from edge_addon.plane.data_plane import DataPlane


REFUSED_METHODS = frozenset((b"CONNECT", b"TRACE"))
"""A reverse proxy opens no tunnels to targets of the client's choice; TRACE would show clients what the edge adds."""


@dataclass(slots=True, eq=False, repr=False)
class Admission:
    """Decides about the requests of one connection."""

    _channel: Channel
    _plane: DataPlane
    _: KW_ONLY
    own_fields: tuple[Field, ...] = ()
    """Set on every answer of this connection; empty in clear text."""
    response_fields: FieldTable = field(init=False)
    exchange: ExchangeMaker = Exchange
    """What relays a request that `admit` let through."""
    _forwarded: bytes = b""
    _host: bytes | None = None
    _inspected: InspectedClient | None = None
    _is_trusted: bool = field(init=False)
    _needs_inspection: bool = False
    _pool: UpstreamPool | None = None
    _site: str = ""
    _snapshot: Snapshot | None = None

    def __post_init__(self) -> None:
        channel, plane = self._channel, self._plane
        self._is_trusted = plane.is_trusted_proxy(channel.client.host)
        self.own_fields = plane.own_fields if channel.secure else ()
        self.response_fields = plane.response_fields if channel.secure else response_fields

    def admit(self, head: RequestHead) -> Answer | UpstreamPool:
        """Return the edge's own answer or the pool to relay to; raises BadMessage for an invalid host.

        A head without a host (HTTP/1.0) gets the host that the connection stands for.
        """
        if head.target.startswith(CHALLENGE_PATH_BYTES):
            answer = self._challenge(head)
            if answer is not None:
                return answer
        elif head.method in REFUSED_METHODS:
            return responses.page(405, "method_refused")
        if head.host is None:
            self._give_host(head)
        if head.host != self._host or self._plane.snapshot is not self._snapshot:
            self._enter_host(head.host)
        head.site = self._site
        if self._pool is None:
            return responses.page(421, "misdirected")
        if not self._channel.secure and self._redirects(head):
            return self._redirect(head)
        if self._needs_inspection:
            return self._inspect(self._pool)
        return self._pool

    def forwarded(self, head: RequestHead) -> bytes:
        """Return the header lines that state where a request came from. Only for a request that `admit` let through."""
        if head.forwarded and self._is_trusted:
            return self._build_forwarded(head)
        return self._forwarded

    def _challenge(self, head: RequestHead) -> Answer | None:
        """Answer a challenge; None: it belongs to an ACME client behind the edge (`unknown_challenge: upstream`)."""
        answer = answer_challenge(head.method.decode("ascii"), head.target.decode("ascii"), self._plane.challenge)
        if answer is None:
            return None
        if answer.may_pass and self._plane.settings.http.unknown_challenge == "upstream":
            return None
        return responses.challenge(answer)

    def _inspect(self, pool: UpstreamPool) -> Answer | UpstreamPool:
        """Make sure that no request bypasses the inspection of its site."""
        if self._inspected is None:
            if self._plane.inspector is None:
                return responses.page(503, "inspection_unavailable")
            self._inspected = self._plane.inspector.client(self._channel)
        self.exchange = self._inspected.exchange
        return pool

    def gone(self) -> None:
        """Tell the inspection that the connection has ended."""
        if self._inspected is not None:
            self._inspected.gone()

    def _give_host(self, head: RequestHead) -> None:
        name = self._channel.server_name or self._plane.snapshot.main.host
        head.host = name.encode("ascii")
        head.lines.append(b"Host: " + head.host)

    def _enter_host(self, host: bytes | None) -> None:
        """Look up the host's site, and whether the host would have been given this connection's certificate."""
        assert host is not None  # noqa: S101
        channel, plane = self._channel, self._plane
        name = parse_host(host).name
        snapshot = plane.snapshot
        choice = plane.select(name, channel.listener)
        mine = channel.selection
        is_misdirected = (
            mine is not None  # in clear text there is no certificate to be wrong
            and (channel.server_name is None or normalise_server_name(name) != channel.server_name)
            and choice.certificate.site != mine.certificate.site
        )
        self._pool = None if is_misdirected else plane.upstream_pool(choice.entry.site)
        self._site = choice.entry.site
        self._needs_inspection = choice.entry.inspect
        self.exchange = Exchange
        self._host = host
        self._snapshot = snapshot
        self._forwarded = forwarded.build_forwarded(
            channel.client.host, channel.local.port, host, is_secure=channel.secure
        )

    def _build_forwarded(self, head: RequestHead) -> bytes:
        assert head.host is not None  # noqa: S101
        return forwarded.build_forwarded(
            self._channel.client.host,
            self._channel.local.port,
            head.host,
            is_secure=self._channel.secure,
            claimed=head.forwarded,
        )

    def _redirects(self, head: RequestHead) -> bool:
        if self._channel.listener.kind is not ListenerKind.HTTP or not self._plane.settings.http.redirect_to_https:
            return False
        if head.target.startswith(CHALLENGE_PATH_BYTES):
            return False  # for an ACME client behind the edge
        return not (self._is_trusted and forwarded.claims_https(head.forwarded))

    def _redirect(self, head: RequestHead) -> Answer:
        """Redirect to the host that the client asked for, never anywhere else; `*` becomes the root."""
        assert head.host is not None  # noqa: S101
        port = https_port(self._plane.settings)
        host = parse_host(head.host).name.encode("ascii")
        authority = host if port == 443 else b"%b:%d" % (host, port)
        target = b"/" if head.target == b"*" else head.target
        return responses.redirect(b"https://" + authority + target, is_safe=head.method in (b"GET", b"HEAD"))


def https_port(settings: Settings) -> int:
    """Return the port of the first https listener; 443 if there is none or the system chose its port."""
    ports = [each.listen.port for each in settings.listeners if each.kind is ListenerKind.HTTPS]
    return (443 if 443 in ports else ports[0]) or 443 if ports else 443
