"""A WebSocket before its upstream agrees: what comes too early is bounded over the connection and given back."""

from __future__ import annotations

from typing import Any, cast

from edge_addon.http.framing import parse_response
from edge_addon.http.limits import EARLY_BYTES
from edge_addon.relay.http2.interfaces import Frames
from edge_addon.relay.http2.session import Http2Session
from edge_addon.relay.http2.upgrade import PendingUpgrade

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
"""RFC 6455 §1.3, with its answer."""
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Connection:
    """The session's own count of early bytes, without the rest of a session."""

    _early = 0
    hold_early: Any = Http2Session.hold_early


def pending(connection: Connection) -> PendingUpgrade:
    return PendingUpgrade(KEY, cast(Frames, connection))


def test_early_bytes_of_all_streams_share_one_bound() -> None:
    connection = Connection()
    one, two = pending(connection), pending(connection)
    assert one.hold(bytes(EARLY_BYTES - 10))
    assert two.hold(b"0123456789")
    assert not two.hold(b"x")
    assert len(one.take_early()) == EARLY_BYTES - 10
    assert two.hold(b"x")
    assert two.take_early() == b"0123456789x"
    assert (two.take_early(), connection._early) == (b"", 0)


def test_the_upstream_must_know_the_key() -> None:
    def answer(accept: bytes) -> bool:
        lines = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        head = parse_response(lines + b"Sec-WebSocket-Accept: " + accept, is_head_request=False)
        return pending(Connection()).is_accepted(head)

    assert answer(ACCEPT)
    assert not answer(ACCEPT[::-1])
