"""What becomes of a request: answered by the edge itself, or relayed, and to which site's servers.

One gate per client connection, the same for HTTP/1.1 and HTTP/2. It asks the plane (challenge, choice for the host,
pool) and remembers the last host's answers, as nearly every request of a connection is for one host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certstore.model.names import normalise_server_name
from certstore.model.settings.models import ListenerKind, Settings
from certstore.model.snapshot import Snapshot
from edge_addon.http import forwarded, responses
from edge_addon.http.framing import RequestHead
from edge_addon.http.http01 import CHALLENGE_PATH_BYTES, answer_challenge
from edge_addon.http.responses import Answer
from edge_addon.http.target import parse_host
from edge_addon.transport.channel import Channel
from edge_addon.upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from edge_addon.inspection.inspector import Inspector
    from edge_addon.plane.data_plane import DataPlane


class HandOver(Exception):
    """The request's site is inspected and this connection is not: it becomes mitmproxy's from this request on."""

    def __init__(self, inspector: Inspector) -> None:
        super().__init__()
        self._inspector = inspector

    def follow(self, channel: Channel, data: bytes) -> None:
        """`data`: what has come from the beginning of the request on."""
        channel.hand_over(self._inspector.session(channel), data)


REFUSED_METHODS = frozenset((b"CONNECT", b"TRACE"))
"""A reverse proxy opens no tunnels to where a client says; TRACE would show clients what is added for the upstream."""


class Admission:
    """Decides for the requests of one connection."""

    __slots__ = (
        "_channel",
        "_forwarded",
        "_host",
        "_is_inspecting",
        "_is_trusted",
        "_needs_inspection",
        "_plane",
        "_pool",
        "_site",
        "_snapshot",
        "hsts",
    )

    def __init__(self, channel: Channel, plane: DataPlane, *, is_inspecting: bool = False) -> None:
        """`is_inspecting`: the connection is mitmproxy's already."""
        self._channel = channel
        self._plane = plane
        self._host: bytes | None = None
        self._snapshot: Snapshot | None = None
        self._pool: UpstreamPool | None = None
        self._forwarded = b""
        self._is_inspecting = is_inspecting
        self._needs_inspection = False
        self._site = ""
        trusted = plane.settings.trusted_proxies
        self._is_trusted = bool(trusted) and forwarded.is_trusted(channel.client.host, trusted)
        hsts = plane.settings.http.hsts
        self.hsts = b"Strict-Transport-Security: " + hsts.encode("ascii") if hsts and channel.secure else None

    def admit(self, head: RequestHead) -> Answer | UpstreamPool:
        """The edge's own answer, or the pool to relay to; raises BadMessage for a host that is none, or HandOver.

        A head without a host (HTTP/1.0) gets the one that the connection stands for.
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
            return self._hand_over()
        return self._pool

    def forwarded(self, head: RequestHead) -> bytes:
        """The header lines that say where this request came from. Only for a request that `admit` let through."""
        if head.forwarded and self._is_trusted:
            return self._build_forwarded(head)
        return self._forwarded

    def _challenge(self, head: RequestHead) -> Answer | None:
        """None: not ours, relay it to whoever proves names behind us (`unknown_challenge: upstream`)."""
        answer = answer_challenge(head.method.decode("ascii"), head.target.decode("ascii"), self._plane.challenge)
        if answer is None:
            return None
        if not answer.is_known and self._plane.settings.http.unknown_challenge == "upstream":
            return None
        return responses.challenge(answer)

    def _hand_over(self) -> Answer:
        """No request gets round the inspection of its site.

        HTTP/1 goes on as an inspected connection. One of HTTP/2 can't be split: the client comes again by that name.
        """
        if self._plane.inspector is None:
            return responses.page(503, "inspection_unavailable")
        if self._channel.alpn == "h2":
            return responses.page(421, "inspected_elsewhere")
        raise HandOver(self._plane.inspector)

    def _give_host(self, head: RequestHead) -> None:
        name = self._channel.server_name or self._plane.snapshot.main.host
        head.host = name.encode("ascii")
        head.lines.append(b"Host: " + head.host)

    def _enter_host(self, host: bytes | None) -> None:
        """Look the host up, and whether this connection's certificate is the one that its own choice would give."""
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
        self._needs_inspection = choice.entry.inspect and not self._is_inspecting
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
            return False  # relayed to whoever proves names behind us
        return not (self._is_trusted and forwarded.claims_https(head.forwarded))

    def _redirect(self, head: RequestHead) -> Answer:
        """To the host that the client itself asked for, never anywhere else; `*` becomes the root."""
        assert head.host is not None  # noqa: S101
        port = https_port(self._plane.settings)
        host = parse_host(head.host).name.encode("ascii")
        authority = host if port == 443 else b"%b:%d" % (host, port)
        target = b"/" if head.target == b"*" else head.target
        return responses.redirect(b"https://" + authority + target, is_safe=head.method in (b"GET", b"HEAD"))


def https_port(settings: Settings) -> int:
    """The port of the first https listener; 443 when there is none, or when the system chose its port."""
    ports = [each.listen.port for each in settings.listeners if each.kind is ListenerKind.HTTPS]
    return (443 if 443 in ports else ports[0]) or 443 if ports else 443
