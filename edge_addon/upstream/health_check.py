"""Active health checks (`health: /path`): an upstream that fails its check gets no requests.

They run only where a site has several upstreams. A 2xx or 3xx status within the limit means healthy; with any other
answer, or none, the server gets no requests until a later check succeeds. Each worker checks for itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from certstore.model.settings.models import Upstream
from edge_addon.http.framing import ResponseHead
from edge_addon.http.limits import HEALTH_SECONDS
from edge_addon.upstream.connection import UpstreamConnection

logger = logging.getLogger(__name__)


class CheckedServer(Protocol):
    """What a health check needs of its server."""

    name: str
    upstream: Upstream
    is_unhealthy: bool
    """Set by the check."""

    async def connect(self) -> UpstreamConnection:
        """A new connection; raises OSError."""


class HealthCheck:
    """The repeated check of one server; the `ResponseReceiver` of each answer."""

    def __init__(self, server: CheckedServer, path: str) -> None:
        self._server = server
        host = str(server.upstream.address) if server.upstream.unix_path is None else "localhost"
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii")
        self._status: asyncio.Future[int] | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            problem = await self._probe()
            if problem is not None and not self._server.is_unhealthy:
                logger.warning(
                    "upstream %s fails its health check: %s; it gets no requests", self._server.name, problem
                )
            elif problem is None and self._server.is_unhealthy:
                logger.warning("upstream %s passes its health check again", self._server.name)
            self._server.is_unhealthy = problem is not None
            await asyncio.sleep(HEALTH_SECONDS)

    async def _probe(self) -> str | None:
        """What is wrong, in a few words; None when the server is healthy."""
        connection: UpstreamConnection | None = None
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                connection = await self._server.connect()
                self._status = asyncio.get_running_loop().create_future()
                connection.begin(self, self._request, is_head=False, asks_upgrade=False, is_complete=True)
                status = await self._status
        except TimeoutError:
            return f"no answer within {HEALTH_SECONDS:g} s"
        except OSError as error:
            return str(error)
        finally:
            if connection is not None:
                connection.abandon()
        if status == 0:
            return "no valid answer"
        return None if 200 <= status < 400 else f"status {status}"

    # Called by the connection. Only the status counts; the check does not wait for the rest of the response.

    def response_started(self, head: ResponseHead, body: bytes, *, is_complete: bool) -> None:
        self._set_status(head.status)

    def upstream_failed(self, cause: str, *, is_lost: bool) -> None:
        self._set_status(0)

    def _set_status(self, status: int) -> None:
        if self._status is not None and not self._status.done():
            self._status.set_result(status)

    def _ignore(self, *_: object, **__: object) -> None: ...

    login_seen = informational = response_data = response_ended = upgraded = pause_body = resume_body = _ignore
