"""What a request on its way asks of others, and what they ask of it: shapes only.

A session begins a request with an `ExchangeMaker` and is its `ExchangeClient`. The relay's own exchange is one, that of
the inspection is another, and neither the sessions nor the plane need to know which.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from edge_addon.http.fields import FieldTable
from edge_addon.http.framing import ResponseHead
from edge_addon.transport.channel import Channel
from edge_addon.upstream.pool import UpstreamPool


class UpgradedConnection(Protocol):
    """An upstream's connection that has become a tunnel's."""

    @property
    def transport(self) -> asyncio.Transport: ...

    def tunnel_ended(self) -> None:
        """The tunnel has closed it."""


class ExchangeClient(Protocol):
    """The session that an exchange works for. Nothing is called after the end, a failure or a cancel."""

    def informational(self, head: ResponseHead) -> None: ...

    def response_started(self, head: ResponseHead, body: bytes, *, is_complete: bool) -> None: ...

    def response_data(self, data: bytes) -> None: ...

    def response_ended(self, data: bytes, trailers: list[bytes]) -> None: ...

    def upgraded(self, head: ResponseHead, rest: bytes, connection: UpgradedConnection) -> None: ...

    def exchange_failed(self, status: int, cause: str) -> None:
        """No (more) response; `status` is what to answer where nothing has been answered yet, 0 to cut it off."""

    def pause_body(self) -> None: ...

    def resume_body(self) -> None: ...


class RequestExchange(Protocol):
    """One request on its way: `start` once, then `send` and `finish` while there is a body."""

    @property
    def upstream(self) -> str | None:
        """The URL of the upstream that got the request."""

    def start(self, data: bytes, *, length: int, is_complete: bool) -> None: ...

    def send(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def cancel(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class ExchangeMaker(Protocol):
    """What makes the exchange of a request; `fields` are what happens to each field of its response."""

    def __call__(
        self, client: ExchangeClient, pool: UpstreamPool, method: bytes, fields: FieldTable, *, asks_upgrade: bool
    ) -> RequestExchange: ...


class InspectedClient(Protocol):
    """A client connection with requests that mitmproxy's addons see."""

    exchange: ExchangeMaker

    def gone(self) -> None:
        """The connection has ended."""


class Inspection(Protocol):
    """Shows mitmproxy's addons the requests of inspected sites."""

    def client(self, channel: Channel) -> InspectedClient:
        """Begin with a connection."""
