"""A client channel as the pair of streams that mitmproxy's connection handler reads from and writes to.

Knows nothing of HTTP. Back-pressure is real in both directions: a full reader stops the channel, a full channel makes
`drain` wait.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from edge_addon.transport.channel import Channel

READ_LIMIT = 65536
"""Plaintext that waits for mitmproxy; at twice as much the channel is not read from."""


class _Reading(asyncio.Transport):
    """What a StreamReader asks of its transport."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def pause_reading(self) -> None:
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        self._channel.resume_reading()


def plain_reader(channel: Channel, loop: asyncio.AbstractEventLoop) -> asyncio.StreamReader:
    """To be fed with what the channel's session receives."""
    reader = asyncio.StreamReader(READ_LIMIT, loop)
    # asyncio calls it deprecated for subclasses outside; it is the one way to have the reader's own flow control.
    reader.set_transport(_Reading(channel))
    return reader


class PlainWriter:
    """The part of asyncio.StreamWriter that mitmproxy uses."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._is_closing = self._is_lost = False
        self._may_write = asyncio.Event()
        self._may_write.set()

    def as_stream_writer(self) -> asyncio.StreamWriter:
        """The same object under the type that mitmproxy's signatures ask for."""
        return cast(asyncio.StreamWriter, self)

    def write(self, data: bytes) -> None:
        if not self._is_closing:
            self._channel.write(data)

    def write_eof(self) -> None:
        """TLS and HTTP know no half-closed server: the end of what we send is the end."""
        self.close()

    def close(self) -> None:
        self._is_closing = True
        self._may_write.set()
        self._channel.close()

    def is_closing(self) -> bool:
        return self._is_closing

    async def drain(self) -> None:
        """Wait until the client takes more; raises ConnectionResetError when it has gone."""
        await self._may_write.wait()
        if self._is_lost:
            raise ConnectionResetError("the client has gone")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peername":
            return tuple(self._channel.client)
        if name == "sockname":
            return tuple(self._channel.local)
        return default

    # Called by the session.

    @property
    def is_full(self) -> bool:
        return not self._may_write.is_set()

    def pause(self) -> None:
        if not self._is_closing:
            self._may_write.clear()

    def resume(self) -> None:
        self._may_write.set()

    def lost(self) -> None:
        self._is_closing = self._is_lost = True
        self._may_write.set()
