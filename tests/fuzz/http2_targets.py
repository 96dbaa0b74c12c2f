"""Frames against h2, header blocks against hpack, the frames of inspected WebSockets."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack
import hpack.exceptions
from hyperframe.exceptions import HyperframeError
from wsproto import ConnectionType
from wsproto.events import CloseConnection, Message

from edge_addon.http.refusal import BadMessage
from edge_addon.relay.http2.budget import Costly
from edge_addon.relay.http2.framer import Framer
from edge_addon.relay.http2.heads import read_request
from edge_addon.relay.http2.hpack import BadBlock, Decoder, Fields
from tests.edge_addon import readers
from tests.edge_addon.relay.http2 import raw
from tests.fuzz.target import Target, pieces

Seen = list[tuple[object, ...]]


class _Receiver:
    """Notes requests and bodies, and answers nothing."""

    def __init__(self) -> None:
        self.seen: Seen = []
        self.bodies: dict[int, bytes] = {}
        self.framer = Framer(self, 4096, 100)

    def request(self, stream_id: int, fields: Fields, *, is_end: bool) -> None:
        self.seen.append((stream_id, fields))
        try:
            read_request(fields, lambda: b"key", is_end=is_end)
        except BadMessage:
            pass

    def trailers(self, stream_id: int, fields: Fields, *, is_end: bool) -> None: ...

    def body(self, stream_id: int, data: bytes, flow_size: int, *, is_end: bool) -> None:
        self.bodies[stream_id] = self.bodies.get(stream_id, b"") + data
        self.framer.acknowledge(stream_id, flow_size)

    def stream_over(self, stream_id: int, cause: str | None = None) -> None:
        self.framer.forget(stream_id)

    def window_opened(self, stream_id: int) -> None: ...

    def client_leaves(self) -> None: ...

    def affords(self, kind: Costly) -> bool:
        return True


def _read(parts: list[bytes]) -> tuple[Seen, dict[int, bytes], object]:
    receiver = _Receiver()
    fault: object = None
    for part in parts:
        fault = receiver.framer.receive(part)
        if fault is not None:
            break
    return receiver.seen, receiver.bodies, fault


def check_frames(data: bytes) -> None:
    """Any cut reads the same, and h2 reads the same requests as long as neither finds a fault."""
    sent = raw.PREFACE + data
    whole, cut = _read([sent]), _read(pieces(sent))
    assert (cut[0], cut[2]) == (whole[0], whole[2])
    if whole[2] is None:
        assert cut[1] == whole[1]
        if len(data) % 4:
            return  # h2 takes three quarters of the time
        other = _h2(sent)
        assert other is None or other == whole[0]


def _h2(data: bytes) -> Seen | None:
    """The requests that h2 reads; None if it finds a fault that we let pass or answer otherwise."""
    server = h2.connection.H2Connection(
        h2.config.H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,  # it would join cookies
        )
    )
    server.initiate_connection()
    try:
        events = server.receive_data(data)
    except (h2.exceptions.ProtocolError, HyperframeError, hpack.exceptions.HPACKError, KeyError, ValueError):
        return None
    return [
        (event.stream_id, [(bytes(name), bytes(value)) for name, value in event.headers or ()])
        for event in events
        if isinstance(event, h2.events.RequestReceived)
    ]


def check_block(data: bytes) -> None:
    """What is accepted, the library reads alike, also with the table that earlier blocks left."""
    ours, library = Decoder(4096), hpack.Decoder(4096)
    library.max_allowed_table_size = 4096
    for part in pieces(data) or [b""]:
        try:
            fields = ours.decode(part)
        except BadBlock:
            return
        assert [tuple(field) for field in library.decode(part, raw=True)] == fields


def check_messages(data: bytes) -> None:
    """Any cut gives the same messages, or the same end."""
    for kind in (ConnectionType.SERVER, ConnectionType.CLIENT):
        for deflates in (False, True):
            assert _messages(kind, [data], deflates=deflates) == _messages(kind, pieces(data), deflates=deflates)


def _messages(kind: ConnectionType, parts: list[bytes], *, deflates: bool) -> list[object]:
    side = readers.websocket_side(kind, deflates=deflates)
    seen: list[object] = []
    message: list[Any] = []
    for part in parts:
        side.receive_data(part)
        for event in side.events():
            if isinstance(event, CloseConnection):
                return [*seen, "closed"]  # of two faults in one message, the cut decides which is found first
            if isinstance(event, Message):
                message.append(event.data)
                if event.message_finished:
                    seen.append(event.data[:0].join(message))
                    message = []
            else:
                seen.append(event)
    return seen


_SETTINGS = raw.settings()
_HEAD = raw.head()
TARGETS = {
    "http2-frames": Target(
        check_frames,
        (
            _SETTINGS + raw.get(1) + raw.get(3),
            _SETTINGS
            + raw.post(1)
            + raw.frame(raw.DATA, b"abc", stream=1)
            + raw.frame(raw.DATA, b"", stream=1, flags=1),
            raw.settings((1, 0), (4, 100)) + raw.get(1) + raw.window_update(100) + raw.window_update(9, 1) + raw.ping(),
            _SETTINGS
            + raw.frame(raw.HEADERS, _HEAD[:9], stream=1, flags=1)
            + raw.frame(raw.CONTINUATION, _HEAD[9:], stream=1, flags=4),
            _SETTINGS
            + raw.post(1)
            + raw.frame(raw.HEADERS, raw.block((b"x-t", b"1")), stream=1, flags=5)
            + raw.reset(3),
            _SETTINGS + raw.get(1) + raw.reset(1) + raw.get(3) + raw.frame(raw.GOAWAY, bytes(8)),
        ),
        (
            _SETTINGS,
            raw.get(1),
            raw.get(5),
            raw.reset(1),
            raw.ping(),
            raw.window_update(1),
            raw.settings((3, 1)),
            _HEAD,
            raw.frame(raw.DATA, b"x", stream=1),
            raw.frame(raw.PRIORITY, bytes(5), stream=1),
            raw.frame(11, b"x"),
            b"\x00\x00\x00",
            b"\x00\x00\x05",
            b"\x01",
            b"\x00\x00\x00\x01",
            b"\x80",
        ),
        600,
    ),
    "header-blocks": Target(
        check_block,
        (
            _HEAD,
            raw.head(b"/x", (b"cookie", b"a=b")),
            b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            b"\x40\x0acustom-key\x0dcustom-header",
            b"\x48\x033020\x58\x07private\xbe\xbf",
            b"\x3f\xe1\x1f\x82\xbe",
        ),
        (
            b"\x82",
            b"\xbe",
            b"\xbf",
            b"\xc0",
            b"\x20",
            b"\x3f\xe1\x1f",
            b"\x40\x01a\x01b",
            b"\x00\x01a\x81\xff",
            b"\x7f\x00",
            b"\xff\xff\x03",
            b"\x10\x06cookie\x03a=b",
            b"\x41\x8c",
        ),
        300,
    ),
    "websocket": Target(
        check_messages,
        (
            b"\x81\x05hello",
            b"\x81\x851234YWX\x58\x5b",
            b"\x01\x03abc\x80\x03def",
            b"\x89\x00\x8a\x00\x82\x01x",
            b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
            b"\xc1\x871234\xc3\x7a\xfe\xfd\xf8\x35\x33",
            b"\x88\x02\x03\xe8",
            b"\x82\x7e\x00\x80" + bytes(128),
            b"\x82\xfe\x00\x801234" + bytes(128),
        ),
        (
            b"\x81",
            b"\x82",
            b"\xc1",
            b"\xc2",
            b"\x01",
            b"\x00",
            b"\x80",
            b"\x88",
            b"\x89",
            b"\x7e\x01\x00",
            b"\x7f" + bytes(8),
            b"\xff" + bytes(8),
            b"1234",
            b"\xf2\x48\xcd\xc9\xc9\x07\x00",
            b"\xc3\xa4",
            b"\x03\xe8",
        ),
        300,
    ),
}
