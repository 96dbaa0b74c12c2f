"""A connection is closed by a deadline, whether its peer reads slowly or not at all."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge_addon.transport import tcp
from edge_addon.transport.tcp import close_with_deadline
from tests.deadlines import wait_for_in_loop
from tests.loops import in_loop

SIZE = 8_000_000


class _Ending(asyncio.Protocol):
    def __init__(self) -> None:
        self.is_over = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True


@asynccontextmanager
async def written_to() -> AsyncIterator[tuple[asyncio.Transport, _Ending, socket.socket]]:
    """A transport with more data written than any socket buffer holds, and its peer, which nobody reads."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(_Ending, sock=ours)
        transport.write(b"x" * SIZE)
        assert transport.get_write_buffer_size()
        yield transport, protocol, theirs
        transport.abort()


@in_loop
async def test_peer_that_reads_nothing_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "CLOSE_SECONDS", 0.1)
    async with written_to() as (transport, protocol, _):
        close_with_deadline(transport)
        await wait_for_in_loop(lambda: protocol.is_over, "the end of a connection that nobody reads")


@in_loop
async def test_plain_close_would_wait_forever() -> None:
    async with written_to() as (transport, protocol, _):
        transport.close()
        await asyncio.sleep(0.4)  # what is shown is that nothing happens
        assert not protocol.is_over


@in_loop
async def test_slow_peer_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "CLOSE_SECONDS", 0.1)
    async with written_to() as (transport, protocol, theirs):
        close_with_deadline(transport)
        loop, got = asyncio.get_running_loop(), 0
        while data := await loop.sock_recv(theirs, 500_000):
            got += len(data)
            await asyncio.sleep(0.02)  # slow, but never idle for CLOSE_SECONDS
        assert got == SIZE
        await wait_for_in_loop(lambda: protocol.is_over, "the end")


@in_loop
async def test_connection_with_nothing_left_to_send_closes_immediately() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, protocol = await asyncio.get_running_loop().create_connection(_Ending, sock=ours)
        close_with_deadline(transport)
        await wait_for_in_loop(lambda: protocol.is_over, "the end")
