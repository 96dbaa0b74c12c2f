"""The keys of a WebSocket's opening handshake (RFC 6455 §4): only the right answer proves that a server agrees.

Pure. Without that proof, a server that sends 101 for another reason would leave the client a connection into it that
nobody checks. An HTTP/2 client leaves the key to the edge (RFC 8441 §5).
"""

from __future__ import annotations

import base64
import hashlib
import secrets

from edge_addon.http.framing import RequestHead, ResponseHead

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §1.3."""


def make_key() -> bytes:
    """A new value for Sec-WebSocket-Key."""
    return base64.b64encode(secrets.token_bytes(16))


def key_of(request: RequestHead) -> bytes:
    """The request's key; empty if it has none, or several."""
    lines = [line.partition(b":") for line in request.lines[1:]]
    keys = [value.strip(b" \t") for name, _, value in lines if name.lower() == b"sec-websocket-key"]
    return keys[0] if len(keys) == 1 else b""


def is_accepted(key: bytes, head: ResponseHead) -> bool:
    """Whether the response to a request with this key carries the one Sec-WebSocket-Accept that proves agreement."""
    if not key:
        return False
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    lines = [line.partition(b":") for line in head.lines[1:]]
    accepts = [value.strip(b" \t") for name, _, value in lines if name.lower() == b"sec-websocket-accept"]
    return accepts == [base64.b64encode(digest)]
