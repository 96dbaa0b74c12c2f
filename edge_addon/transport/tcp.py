"""Closing a connection whose other side may have stopped reading.

`close` waits until everything written is out. A peer that hangs takes nothing any more and never ends, so its socket
would be held for as long as it hangs. Knows nothing of protocols.
"""

from __future__ import annotations

import asyncio

CLOSE_SECONDS = 30.0
"""How long a peer may take none of what is left for it."""


def close_in_time(transport: asyncio.WriteTransport) -> None:
    """Close once what was written is out; a peer that takes none of it for CLOSE_SECONDS is reset."""
    unsent = transport.get_write_buffer_size()
    transport.close()
    _wait(transport, unsent)


def _wait(transport: asyncio.WriteTransport, unsent: int) -> None:
    if unsent:
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, _look, transport, unsent)


def _look(transport: asyncio.WriteTransport, before: int) -> None:
    unsent = transport.get_write_buffer_size()
    if unsent < before:
        _wait(transport, unsent)
    else:
        transport.abort()
