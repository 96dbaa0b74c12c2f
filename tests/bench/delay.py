"""A line with a round trip of its own: relays TCP to a port of this machine and delivers everything later.

    with DelayingRelay(port, seconds=0.06) as line:
        line.port

In user space, in a thread of this process. It has no bandwidth limit and holds what is on its way, so a client that may
send much at once is as fast over it as without it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Self, cast


class _Direction(asyncio.Protocol):
    """What one side sends, written to the other `seconds` later."""

    def __init__(self, seconds: float, all_open: set[_Direction]) -> None:
        self._seconds = seconds
        self._all_open = all_open
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.other: _Direction | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._all_open.add(self)
        if self.other is not None:
            self.other._deliver()

    def data_received(self, data: bytes) -> None:
        self._waiting.append((self._loop.time() + self._seconds, data))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end arrives as late as the bytes before it."""
        self._all_open.discard(self)
        self._loop.call_later(self._seconds, self.end)

    def _wait(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._due)

    def _due(self) -> None:
        self._timer = None
        self._deliver()

    def _deliver(self) -> None:
        other = None if self.other is None else self.other.transport
        if other is None:
            return  # not connected yet
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            other.write(self._waiting.popleft()[1])
        self._wait()

    def end(self) -> None:
        self._deliver()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()
        self.other = None


class DelayingRelay:
    """Runs inside the `with`; `seconds` is the round trip that it adds."""

    def __init__(self, target: int, *, seconds: float) -> None:
        self._target = target
        self._seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._connecting: set[asyncio.Task[None]] = set()
        self._directions: set[_Direction] = set()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_listening.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await self._loop.create_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_listening.set()
        await self._stop.wait()
        server.close()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for direction in list(self._directions):
            if direction.transport is not None:
                direction.transport.abort()

    def _accept(self) -> _Direction:
        near, far = (_Direction(self._seconds / 2, self._directions) for _ in range(2))
        near.other, far.other = far, near
        task = self._loop.create_task(self._connect(far))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return near

    async def _connect(self, far: _Direction) -> None:
        try:
            await self._loop.create_connection(lambda: far, "127.0.0.1", self._target)
        except OSError:
            far.end()
