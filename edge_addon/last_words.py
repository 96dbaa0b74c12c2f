"""What a peer sent before it broke the connection: it still lies in the socket, and the loop won't read it any more.

An event loop that fails to write gives a connection up at once; an upstream that answers early (413, 401, …) and closes
while a body is on its way to it looks just so. Knows nothing of protocols.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

LAST_READS = 16
"""Reads of 64 KB at most."""


def last_words(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """For `connection_lost`, where the descriptor is still open. Under TLS that transport has read them already."""
    if transport.get_extra_info("sslcontext") is not None:
        return
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        for _ in range(LAST_READS):
            if not (data := os.read(descriptor, 65536)):
                return
            yield data
    except OSError:
        return  # nothing there, or the reset itself
