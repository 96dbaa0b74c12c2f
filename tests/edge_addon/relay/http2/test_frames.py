"""Frames as bytes: their headers, and what padding and priorities hide."""

import pytest
from h2.errors import ErrorCodes

from edge_addon.relay.http2.frames import (
    DATA,
    END_STREAM,
    PADDED,
    PRIORITY,
    WINDOW_UPDATE,
    Calm,
    Fault,
    pack,
    pack_number,
    strip,
)


def test_a_frame_begins_with_its_length_type_flags_and_stream() -> None:
    assert pack(DATA, END_STREAM, 5, b"body") == b"\x00\x00\x04\x00\x01\x00\x00\x00\x05body"
    assert pack(DATA, 0, 1, bytes(70_000))[:9] == b"\x01\x11\x70\x00\x00\x00\x00\x00\x01"
    assert pack_number(WINDOW_UPDATE, 0, 65536) == b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x01\x00\x00"


@pytest.mark.parametrize(
    ("flags", "payload", "content"),
    [
        pytest.param(0, b"body", b"body", id="neither"),
        pytest.param(PADDED, b"\x02bodyxx", b"body", id="padding"),
        pytest.param(PADDED, b"\x00body", b"body", id="padding of no bytes"),
        pytest.param(PADDED, b"\x02xx", b"", id="nothing but padding"),
        pytest.param(PRIORITY, b"\x80\x00\x00\x01\x0fbody", b"body", id="a priority"),
        pytest.param(PADDED | PRIORITY, b"\x01\x00\x00\x00\x01\x0fbodyx", b"body", id="both"),
    ],
)
def test_padding_and_priority_are_taken_off(flags: int, payload: bytes, content: bytes) -> None:
    assert strip(flags, 3, payload) == content


@pytest.mark.parametrize(
    ("flags", "payload", "code"),
    [
        pytest.param(PADDED, b"", ErrorCodes.FRAME_SIZE_ERROR, id="no length of the padding"),
        pytest.param(PADDED, b"\x02x", ErrorCodes.PROTOCOL_ERROR, id="more padding than bytes"),
        pytest.param(PRIORITY, b"\x00\x00\x00\x01", ErrorCodes.FRAME_SIZE_ERROR, id="a priority cut short"),
        pytest.param(PRIORITY, b"\x00\x00\x00\x03\x0f", ErrorCodes.PROTOCOL_ERROR, id="a stream that waits for itself"),
    ],
)
def test_a_broken_frame_is_refused_with_the_code_of_its_rule(flags: int, payload: bytes, code: ErrorCodes) -> None:
    with pytest.raises(Fault) as raised:
        strip(flags, 3, payload)
    assert raised.value.error_code == code


def test_a_client_that_exceeds_its_budget_is_told_to_be_calm() -> None:
    assert Calm("rapid_reset").error_code == ErrorCodes.ENHANCE_YOUR_CALM
