"""Every parser that reads a stranger's bytes, as something to feed: for tests that hold for all of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy.connection import Server
from mitmproxy.proxy.layers.websocket import WebsocketConnection
from wsproto import ConnectionType
from wsproto.events import CloseConnection
from wsproto.extensions import PerMessageDeflate

from edge_addon.http.chunks import ChunkDecoder
from edge_addon.http.partial_head import PartialHead, PartialResponse
from edge_addon.http.refusal import BadMessage
from edge_addon.inspection.body_budget import BodyBudget
from edge_addon.inspection.websocket import WebSocketSide
from edge_addon.mail.dialogue import Action, Dialogue, Ended, Step, ToUpstream
from edge_addon.mail.message_text import MessageText, Verdict
from edge_addon.mail.opening import Opening
from edge_addon.mail.protocols import IMAP, LMTP, POP3, SIEVE, SMTP, SUBMISSION, MailProtocol
from edge_addon.mail.starttls import BeforeTls
from edge_addon.relay.http2.budget import Costly
from edge_addon.relay.http2.framer import Framer
from edge_addon.relay.http2.frames import PREFACE
from edge_addon.relay.http2.hpack import BadBlock, Decoder, Fields
from edge_addon.transport import proxy_protocol
from edge_addon.transport.tls_stage import HelloContext, HelloReader
from tests.edge_addon.relay.http2 import raw

HEADER_BYTES = 65536
MESSAGE_BYTES = 1 << 20
PEER = Server(address=None)

Feed = Callable[[bytes], bool]
"""Takes the next bytes. False: it is over, and the product would read nothing more."""


@dataclass(frozen=True, slots=True)
class Reader:
    """`make` gives one for a new connection. `words` are the bytes that mean something to it."""

    make: Callable[[], Feed]
    words: bytes
    before: bytes = b""
    """Brings it where the bytes are of interest."""


def _head(kind: type[PartialHead]) -> Callable[[], Feed]:
    def make() -> Feed:
        partial = kind(HEADER_BYTES)

        def feed(data: bytes) -> bool:
            try:
                return partial.feed(data) is None
            except BadMessage:
                return False

        return feed

    return make


def _chunks() -> Feed:
    decoder = ChunkDecoder()

    def feed(data: bytes) -> bool:
        try:
            return decoder.feed(data)[1] is None
        except BadMessage:
            return False

    return feed


def _mail(steps_of: Callable[[bytes], list[Step]]) -> Feed:
    def feed(data: bytes) -> bool:
        ends = (Action.CLOSE, Action.START_TLS, Action.TUNNEL)
        return not any(isinstance(step, Ended) or step in ends for step in steps_of(data))

    return feed


def before_tls(protocol: MailProtocol) -> Callable[[], Feed]:
    script = protocol.before_tls
    assert script is not None
    return lambda: _mail(BeforeTls(script, "edge.test").from_client)


def dialogue(protocol: MailProtocol, *, is_secure: bool = True) -> Callable[[], Feed]:
    """The client's side; the mail server refuses each command that reaches it."""

    def make() -> Feed:
        talk = protocol.dialogue(is_secure)
        talk.upstream_ready(b"")
        return _mail(lambda data: refusing_server(protocol, talk, talk.from_client(data)))

    return make


def refusing_server(protocol: MailProtocol, talk: Dialogue, steps: list[Step]) -> list[Step]:
    seen = list(steps)
    while steps and isinstance(steps[-1], ToUpstream):
        tag = steps[-1].data.partition(b" ")[0]
        answer = {IMAP: tag[:99] + b" NO\r\n", POP3: b"-ERR\r\n", SIEVE: b'NO "x"\r\n'}.get(protocol, b"500 x\r\n")
        steps = talk.from_upstream(answer)
        seen += steps
    return seen


def from_server(protocol: MailProtocol) -> Callable[[], Feed]:
    return lambda: _mail(protocol_ready(protocol).from_upstream)


def protocol_ready(protocol: MailProtocol) -> Dialogue:
    talk = protocol.dialogue(True)
    talk.upstream_ready(b"")
    return talk


def opening(protocol: MailProtocol) -> Callable[[], Feed]:
    def make() -> Feed:
        talk = Opening(protocol.opening, "edge.test", needs_starttls=True, client_awaits_greeting=True)
        return _mail(talk.from_upstream)

    return make


def _message_text() -> Feed:
    text = MessageText()
    return lambda data: text.feed(data).verdict is Verdict.MORE


def _proxy_header() -> Feed:
    received = b""

    def feed(data: bytes) -> bool:
        nonlocal received
        received += data  # as a connection does: at most 4 KB
        return proxy_protocol.parse(received) is None

    return feed


_HELLOS = HelloContext(ssl.TLSVersion.TLSv1_2)


def _hello() -> Feed:
    reader = HelloReader(_HELLOS)
    return lambda data: reader.feed(data) is None


class _Requests:
    """Takes requests and answers nothing."""

    def __init__(self) -> None:
        self.framer = Framer(self, HEADER_BYTES, 100)

    def request(self, stream_id: int, fields: Fields, *, is_end: bool) -> None: ...

    def trailers(self, stream_id: int, fields: Fields, *, is_end: bool) -> None: ...

    def body(self, stream_id: int, data: bytes, flow_size: int, *, is_end: bool) -> None:
        self.framer.acknowledge(stream_id, flow_size)

    def stream_over(self, stream_id: int, cause: str | None = None) -> None:
        self.framer.forget(stream_id)

    def window_opened(self, stream_id: int) -> None: ...

    def client_leaves(self) -> None: ...

    def affords(self, kind: Costly) -> bool:
        return True


def _frames() -> Feed:
    framer = _Requests().framer

    def feed(data: bytes) -> bool:
        fault = framer.receive(data)
        framer.data_to_send()
        return fault is None

    return feed


def _header_block() -> Feed:
    decoder = Decoder(HEADER_BYTES)

    def feed(data: bytes) -> bool:
        try:
            decoder.decode(data)
        except BadBlock:
            return False
        return True

    return feed


def websocket_side(kind: ConnectionType, *, deflates: bool) -> WebSocketSide:
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate")
    side = WebsocketConnection(kind, [extension] if deflates else [], conn=PEER)
    return WebSocketSide(side, MESSAGE_BYTES, BodyBudget())


def messages(kind: ConnectionType, *, deflates: bool) -> Callable[[], Feed]:
    """The frames of a WebSocket on an inspected site."""

    def make() -> Feed:
        reader = websocket_side(kind, deflates=deflates)

        def feed(data: bytes) -> bool:
            reader.receive_data(data)
            return not any(isinstance(event, CloseConnection) for event in reader.events())

        return feed

    return make


LINE = b" \n\r\t"
KINDS = {"imap": IMAP, "pop3": POP3, "sieve": SIEVE, "smtp": SMTP, "lmtp": LMTP, "submission": SUBMISSION}
READERS: dict[str, Reader] = {
    "request head": Reader(_head(PartialHead), LINE + b"G/:h", b"GET / HTTP/1.1\r\nHost: a\r\n"),
    "request line": Reader(_head(PartialHead), LINE + b"G/:h"),
    "response head": Reader(_head(PartialResponse), LINE + b"H:1", b"HTTP/1.1 200 OK\r\n"),
    "chunk size": Reader(_chunks, LINE + b"01f;\x00"),
    "chunk extensions": Reader(_chunks, LINE + b"1;x", b"1;"),
    "chunk data": Reader(_chunks, LINE + b"1x", b"ffffff\r\n"),
    "trailers": Reader(_chunks, LINE + b"a:", b"0\r\nx: 1\r\n"),
    "http2 frames": Reader(_frames, b"\x00\x01\x03\x04\x05\x08\xff", PREFACE + raw.settings()),
    "http2 preface": Reader(_frames, b"PRI\r\n\x00"),
    "http2 DATA": Reader(_frames, b"\x00\x01\xff", PREFACE + raw.settings() + raw.post(1) + raw.frame(0, length=16384)),
    "http2 header block": Reader(_header_block, b"\x00\x0f\x10\x1f\x20\x3f\x40\x7f\x80\x82\xbe\xff"),
    "PROXY header": Reader(_proxy_header, LINE + b"P1\x00\xff"),
    "PROXY header 1": Reader(_proxy_header, LINE + b"T1.", b"PROXY "),
    "PROXY header 2": Reader(_proxy_header, b"\x00\x01\x10\x21\xff", proxy_protocol.V2_SIGNATURE),
    "ClientHello": Reader(_hello, b"\x00\x01\x03\x16\xff"),
    "ClientHello in records": Reader(_hello, b"\x00\x01\x03\x16\xff", b"\x16\x03\x01\x40\x00\x01\x00\x7f\xf0\x03\x03"),
    "WebSocket of a client": Reader(messages(ConnectionType.SERVER, deflates=False), b"\x00\x01\x80\x81\x82\x89\xff"),
    "WebSocket of a server": Reader(messages(ConnectionType.CLIENT, deflates=False), b"\x00\x01\x7e\x81\x82\x89\xff"),
    "WebSocket, deflated": Reader(messages(ConnectionType.CLIENT, deflates=True), b"\x00\x01\x7e\xc1\x82\xc2\xff"),
    "WebSocket frame": Reader(
        messages(ConnectionType.SERVER, deflates=False), b"\x00a\xff", b"\x82\xff" + (1 << 18).to_bytes(8) + b"1234"
    ),
    "mail text": Reader(_message_text, LINE + b".a"),
    **{
        f"{name} before TLS": Reader(before_tls(protocol), LINE + b'aN"{}+0', start)
        for name, protocol, start in (
            ("imap", IMAP, b"a NOOP "), ("pop3", POP3, b"NOOP "), ("sieve", SIEVE, b"NOOP "),
            ("submission", SUBMISSION, b"NOOP "),
        )
    },
    **{
        f"{name} after TLS": Reader(dialogue(protocol), LINE + b'aN"{}\\+0', start)
        for name, protocol, start in (
            ("imap", IMAP, b"a LOGIN "), ("pop3", POP3, b"USER "), ("sieve", SIEVE, b"AUTHENTICATE "),
            ("submission", SUBMISSION, b"MAIL "), ("smtp", SMTP, b"BDAT "), ("lmtp", LMTP, b"LHLO "),
        )
    },
    "smtp in the clear": Reader(dialogue(SMTP, is_secure=False), LINE + b"aN", b"MAIL "),
    **{f"{kind} lines": Reader(dialogue(protocol), LINE + b"aN{0}") for kind, protocol in KINDS.items()},
    **{f"{kind} server": Reader(from_server(protocol), LINE + b'a+2"{0}') for kind, protocol in KINDS.items()},
    "imap server's list": Reader(from_server(IMAP), LINE + b"S[]", b"* CAPABILITY "),
    "sieve server's list": Reader(from_server(SIEVE), LINE + b'S"', b'"STARTTLS" '),
    **{f"{kind} greeting": Reader(opening(protocol), LINE + b'a+2"{0}') for kind, protocol in KINDS.items()},
}  # fmt: skip
