"""Whether a request may be sent again after its connection was lost without an answer, and what TCP knows about that.

RFC 9110 §9.2.2 allows it for requests that may be done twice, and for others with "some means to detect that the
original request was never applied": a FIN acknowledges all that its sender had got, so one that acknowledges nothing of
a request was sent before that came. (A reset acknowledges nothing, whatever was read before it.) A server that hung up
on purpose after reading a request gets no second one like it, unless others share its work.
"""

from __future__ import annotations

import asyncio
import socket
import struct

_ACKED = struct.Struct("120xQ72xQQ")
"""tcpi_bytes_acked, tcpi_bytes_sent and tcpi_bytes_retrans of Linux's struct tcp_info (since 4.19)."""


def may_send_again(*, is_repeatable: bool, is_reused: bool, has_others: bool, has_arrived: bool) -> bool:
    """`is_reused`: the connection had answered before, so that its server may have closed it between two requests."""
    return not has_arrived or (is_repeatable and (is_reused or has_others))


def has_arrived(transport: asyncio.BaseTransport, size: int) -> bool:
    """Whether the peer may have got the whole of the last `size` bytes before it ended the connection with a FIN.

    True where nobody can tell.
    """
    bound = transport.get_extra_info("socket")
    if bound is None or bound.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    try:
        acked, sent, again = _ACKED.unpack(bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size))
    except (OSError, struct.error):
        return True
    # The SYN counts as one byte acknowledged. Under TLS more bytes than these were sent, in records that are of no use
    # unless they are whole.
    return bool(sent - again - (acked - 1) < size)
