"""An HTTP/2 client for tests: well-behaved through the h2 library, or hostile frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import Frame

from tests.edge_addon.relay.edge import CA, MAIN_HOST, Edge

SECONDS = 20
GOAWAY = 0x7
LARGE_WINDOW = 4 * 1024 * 1024


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    context.set_alpn_protocols(["h2"])
    return context


@dataclass
class Response:
    """What has come on one stream so far."""

    pairs: list[tuple[bytes, bytes]] = field(default_factory=list)
    """The head's fields in their order, those of one name included."""
    informational: list[bytes] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    is_ended: bool = False
    reset_code: int | None = None

    @property
    def fields(self) -> dict[bytes, bytes]:
        return dict(self.pairs)

    @property
    def status(self) -> int:
        return int(self.fields.get(b":status", b"0"))

    @property
    def is_over(self) -> bool:
        return self.is_ended or self.reset_code is not None


class Http2Client:
    """`async with Http2Client(edge) as client`; validates nothing that it sends, so that tests can break rules.

    `reads_body` False: the windows are not opened again, as a client does that does not read. `update_size`: each so
    many bytes that arrive open both windows again at once, as in Go's client (4,096), and the windows are large.
    """

    def __init__(
        self, edge: Edge, server_name: str = MAIN_HOST, *, reads_body: bool = True, update_size: int | None = None
    ) -> None:
        self._update_size = update_size
        self._edge = edge
        self._server_name = server_name
        self._reads_body = reads_body
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=True,
            )
        )
        self.responses: dict[int, Response] = {}
        self.goaway: int | None = None
        self.is_closed = False
        self._changed = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._edge.port, ssl=client_context(), server_hostname=self._server_name
        )
        self.h2.initiate_connection()
        if self._update_size is not None:
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: LARGE_WINDOW})
            self.h2.increment_flow_control_window(LARGE_WINDOW)
        self.flush()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self.writer.transport.abort()

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.writer.write(data)

    def fields(self, path: str = "/", *more: tuple[str, str], **pseudo: str) -> list[tuple[bytes, bytes]]:
        """Build a request's fields; `method`, `scheme`, `authority` replace the usual ones."""
        usual = {"method": "GET", "scheme": "https", "authority": self._server_name, "path": path, **pseudo}
        items = [*((f":{name}", value) for name, value in usual.items()), *more]
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in items]

    def request(self, path: str = "/", *more: tuple[str, str], body: bytes | None = b"", **pseudo: str) -> int:
        """Send a request and return its stream. A `body` of None leaves the stream open."""
        stream_id = self.h2.get_next_available_stream_id()
        self.responses[stream_id] = Response()
        self.h2.send_headers(stream_id, self.fields(path, *more, **pseudo), end_stream=body == b"")
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)
        self.flush()
        return stream_id

    def send_data(self, stream_id: int, data: bytes, *, is_end: bool = False) -> None:
        self.h2.send_data(stream_id, data, end_stream=is_end)
        self.flush()

    def send_frames(self, *frames: Frame | bytes) -> None:
        """Send frames or bytes unchanged, past the library."""
        self.writer.write(b"".join(each if isinstance(each, bytes) else each.serialize() for each in frames))

    def encode(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        return self.h2.encoder.encode(fields)

    async def response(self, stream_id: int) -> Response:
        """Return the response once it is over or the connection has ended."""
        response = self.responses[stream_id]
        await self.until(lambda: response.is_over or self.is_closed)
        return response

    async def get(self, path: str = "/", *more: tuple[str, str], **pseudo: str) -> Response:
        return await self.response(self.request(path, *more, body=b"", **pseudo))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition that depends on frames."""
        async with asyncio.timeout(SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def closed(self) -> int | None:
        """Wait for the end of the connection; return the error code of its GOAWAY."""
        await self.until(lambda: self.is_closed)
        return self.goaway

    async def _read(self) -> None:
        try:
            while True:
                frame = await self.reader.readexactly(9)
                frame += await self.reader.readexactly(int.from_bytes(frame[:3]))
                if frame[3] == GOAWAY:
                    # Kept from the library, which would then refuse the frames of unfinished streams.
                    self.goaway = int.from_bytes(frame[13:17])
                else:
                    self._receive(frame)
                self.flush()
                self._changed.set()
        except (OSError, EOFError, h2.exceptions.ProtocolError):
            pass
        self.is_closed = True
        self._changed.set()

    def _receive(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            stream = self.responses.get(getattr(event, "stream_id", None) or 0, Response())
            match event:
                case h2.events.InformationalResponseReceived():
                    stream.informational.append(dict(event.headers or ())[b":status"])
                case h2.events.ResponseReceived():
                    stream.pairs = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
                case h2.events.TrailersReceived():
                    stream.trailers = dict(event.headers or ())
                case h2.events.DataReceived():
                    stream.body += event.data or b""
                    if self._reads_body and event.flow_controlled_length:
                        self._acknowledge(event.flow_controlled_length, event.stream_id or 0)
                case h2.events.StreamEnded():
                    stream.is_ended = True
                case h2.events.StreamReset():
                    stream.reset_code = int(event.error_code or 0)

    def _acknowledge(self, size: int, stream_id: int) -> None:
        if self._update_size is None:
            self.h2.acknowledge_received_data(size, stream_id)
            return
        for start in range(0, size, self._update_size):
            part = min(self._update_size, size - start)
            self.h2.increment_flow_control_window(part)
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                self.h2.increment_flow_control_window(part, stream_id)
