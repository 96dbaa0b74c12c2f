"""Whether a request may be sent again after its connection was lost without an answer, and what TCP knows about it.

RFC 9110 §9.2.2 allows it for idempotent requests, and for others with "some means to detect that the original request
was never applied". TCP gives such means: a FIN acknowledges everything that its sender has received, so a FIN that
acknowledges nothing of a request was sent before the request arrived. (A reset acknowledges nothing, whatever its
sender has read.) A server that closes on purpose after reading a request does not get the same request twice, unless
other servers share its work.
"""

from __future__ import annotations

import asyncio
import socket
import struct

_ACKED = struct.Struct("120xQ72xQQ")
"""tcpi_bytes_acked, tcpi_bytes_sent and tcpi_bytes_retrans of Linux's struct tcp_info (since 4.19)."""


def may_send_again(*, is_repeatable: bool, is_reused: bool, has_others: bool, has_arrived: bool) -> bool:
    """`is_reused`: the connection has answered before, so its server may have closed it between two requests."""
    return not has_arrived or (is_repeatable and (is_reused or has_others))


def has_arrived(transport: asyncio.BaseTransport, size: int) -> bool:
    """Whether the peer may have received all of the last `size` bytes before it closed the connection with a FIN.

    True when that is unknown.
    """
    bound = transport.get_extra_info("socket")
    if bound is None or bound.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    try:
        acked, sent, again = _ACKED.unpack(bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size))
    except (OSError, struct.error):
        return True
    # The SYN counts as one acknowledged byte. Under TLS more than `size` bytes were sent, in records that are useless
    # unless they are complete.
    return bool(sent - again - (acked - 1) < size)
