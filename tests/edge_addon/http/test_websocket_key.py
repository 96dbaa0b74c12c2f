"""The handshake of the RFC's example, and answers that do not prove the upstream's agreement."""

import base64

import pytest

from edge_addon.http.framing import parse_response
from edge_addon.http.websocket_key import is_accepted, make_key

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""RFC 6455 §1.3."""


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        pytest.param(ACCEPT, True, id="the RFC's answer"),
        pytest.param(ACCEPT.upper().replace(ACCEPT.upper()[24:], ACCEPT[24:]), True, id="in capitals"),
        pytest.param(b"", False, id="none"),
        pytest.param(ACCEPT + ACCEPT, False, id="two"),
        pytest.param(ACCEPT + b"x", False, id="another value"),
        pytest.param(b"\r\nX-Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", False, id="under another name"),
    ],
)
def test_one_right_value_proves_agreement(fields: bytes, accepted: bool) -> None:
    head = parse_response(b"HTTP/1.1 101 Switching Protocols" + fields, is_head_request=False)
    assert is_accepted(KEY, head) is accepted


def test_each_key_is_new_and_has_sixteen_bytes() -> None:
    first, second = make_key(), make_key()
    assert first != second
    assert len(base64.b64decode(first, validate=True)) == 16
