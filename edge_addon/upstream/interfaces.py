"""Protocols between a session, the exchange of one request and the inspection.

A session starts a request with an `ExchangeMaker` and is the `ExchangeClient` of the exchange. The exchange may be the
relay's own or that of the inspection; neither the session nor the plane needs to know which.
"""

from __future__ import annotations

from typing import Protocol

from edge_addon.http.fields import FieldTable
from edge_addon.transport.channel import Channel
from edge_addon.upstream.bounds import AddressUsage
from edge_addon.upstream.connection import ResponseReader
from edge_addon.upstream.login import ClientLogins
from edge_addon.upstream.pool import UpstreamPool


class ExchangeClient(ResponseReader, Protocol):
    """The session that an exchange works for. Nothing is called after the end, a failure or a cancel."""

    @property
    def logins(self) -> ClientLogins:
        """The upstream connections that belong to the client's connection."""

    @property
    def usage(self) -> AddressUsage:
        """What the clients of its address have in use."""

    def exchange_failed(self, status: int, cause: str) -> None:
        """No (more) response; `status` is the answer if none was sent yet, 0 to drop the connection without one."""


class RequestExchange(Protocol):
    """One request to an upstream: `start` once, then `send` and `finish` while there is a body."""

    @property
    def upstream(self) -> str | None:
        """The URL of the upstream that got the request."""

    def start(self, data: bytes, *, length: int, is_complete: bool, is_login: bool = False) -> None: ...

    def send(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def cancel(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class ExchangeMaker(Protocol):
    """Makes the exchange of a request; `fields` says what happens to each field of its response."""

    def __call__(
        self, client: ExchangeClient, pool: UpstreamPool, method: bytes, fields: FieldTable, /, *, asks_upgrade: bool
    ) -> RequestExchange: ...


class InspectedClient(Protocol):
    """A client connection whose requests mitmproxy's addons see."""

    exchange: ExchangeMaker

    def gone(self) -> None:
        """The connection has ended."""


class Inspection(Protocol):
    """Shows mitmproxy's addons the requests of inspected sites."""

    def client(self, channel: Channel) -> InspectedClient:
        """Start to inspect a connection."""
