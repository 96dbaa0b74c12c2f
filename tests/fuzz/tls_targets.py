"""ClientHello against OpenSSL, PROXY headers."""

from __future__ import annotations

import ssl
from functools import cache

from certstore.model.settings.models import ListenerKind
from edge_addon.transport import proxy_protocol
from edge_addon.transport.alpn import Validation, is_for, offered_protocols, validation_offer
from edge_addon.transport.channel import Address
from edge_addon.transport.client_hello import plain_server_name
from edge_addon.transport.tls_stage import Hello, HelloContext, HelloReader, NotTls
from tests.edge_addon.transport.test_client_hello import HELLOS
from tests.fuzz.target import Target, pieces


@cache
def _context(*, reads_plain: bool) -> HelloContext:
    context = HelloContext(ssl.TLSVersion.TLSv1_2)
    context.reads_plain = reads_plain
    return context


def _fixed(data: bytes) -> bytes:
    """With the lengths of record and message as they are: else nearly every change would end there."""
    if len(data) < 9 or len(data) % 3 == 0:
        return data
    return data[:3] + (len(data) - 5).to_bytes(2) + data[5:6] + (len(data) - 9).to_bytes(3) + data[9:]


def check_hello(data: bytes) -> None:
    """A name that is read here is the one that OpenSSL reads, if it takes the hello at all."""
    data = _fixed(data)
    if not data:
        return
    has_offer = b"acme-tls/1" in (offered_protocols(data) or ())
    assert (validation_offer(data) is not Validation.NOT_OFFERED) is has_offer
    is_for(ListenerKind.IMAPS, data)
    ours = plain_server_name(data)
    theirs = HelloReader(_context(reads_plain=False)).feed(data)
    if isinstance(theirs, Hello):
        assert offered_protocols(data) is not None, "a hello that OpenSSL takes has a readable offer"
        assert ours is None or (ours.decode("ascii") or None) == theirs.server_name
    elif theirs is None:
        assert ours is None, "OpenSSL waits for more"
    _check_cut(data, theirs)


def _check_cut(data: bytes, theirs: Hello | NotTls | None) -> None:
    reader, answer = HelloReader(_context(reads_plain=True)), None
    for piece in pieces(data):
        answer = reader.feed(piece)
        if answer is not None:
            break
    if isinstance(theirs, Hello) and isinstance(answer, Hello):
        assert answer.server_name == theirs.server_name


def check_proxy_header(data: bytes) -> None:
    """The verdict holds whatever follows, and no beginning of a header is taken for a whole one."""
    found = proxy_protocol.parse(data)
    if found is None:
        return
    assert type(proxy_protocol.parse(data + b"x")) is type(found)
    if isinstance(found, proxy_protocol.Header):
        assert proxy_protocol.parse(data + b"GET / HTTP/1.1\r\n") == found
        assert 0 < found.consumed <= len(data)
        assert all(proxy_protocol.parse(data[:end]) is None for end in range(1, found.consumed))
        if found.source is not None and found.destination is not None:
            built = proxy_protocol.parse(proxy_protocol.build_v2(found.source, found.destination))
            assert isinstance(built, proxy_protocol.Header)
            assert (built.source, built.destination) == (found.source, found.destination)


_FOUR, _SIX = (
    (Address("192.0.2.7", 50123), Address("198.51.100.1", 443)),
    (Address("2001:db8::7", 1), Address("::1", 2)),
)
TARGETS = {
    "client-hello": Target(
        check_hello,
        tuple(HELLOS.values()),
        (
            b"\x00\x00\x00\x0b\x00\x09\x00\x00\x06a.test",
            b"\x00\x10\x00\x07\x00\x05\x04imap",
            b"\x00\x10\x00\x05\x00\x03\x02h2",
            b"\x00\x10\x00\x0d\x00\x0b\x0aacme-tls/1",
            b"\x16\x03\x01",
            b"\x03\x03",
            b"\x03\x04",
            b"\x00\x2b\x00\x03\x02\x03\x04",
            b"\x00\x00",
            b"a.test",
            b"\x00\x29",
            b"\xe4",
        ),
        1200,
    ),
    "proxy-header": Target(
        check_proxy_header,
        (
            proxy_protocol.build_v1(*_FOUR) + b"x",
            proxy_protocol.build_v1(*_SIX),
            b"PROXY UNKNOWN x\r\n",
            proxy_protocol.build_v2(*_FOUR, tls_version="TLSv1.3", server_name="a.test"),
            proxy_protocol.build_v2(*_SIX),
            proxy_protocol.V2_SIGNATURE + b"\x20\x00\x00\x00",
        ),
        (
            b"PROXY ",
            b"TCP4",
            b"TCP6",
            b"UNKNOWN",
            b" ",
            b"\r\n",
            b"192.0.2.1",
            b"::ffff:192.0.2.1",
            b"fe80::1%eth0",
            b"65536",
            b"00",
            b"+1",
            proxy_protocol.V2_SIGNATURE,
            b"\x21\x11\x00\x0c",
            b"\x21\x21\x00\x24",
            b"\x20\x00",
            b"\xff\xff",
        ),
        300,
    ),
}
