"""Which offers of application protocols a listener takes, and that the offer is found in any cut into records."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.settings.models import ListenerKind
from edge_addon.transport.alpn import Validation, is_for, offered_protocols, validation_offer


def hello(*names: str) -> bytes:
    """As OpenSSL sends it."""
    context = ssl.create_default_context()
    if names:
        context.set_alpn_protocols(list(names))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="mail.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def cut(record: bytes, size: int) -> bytes:
    """The same message in records of at most `size` bytes."""
    message = record[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(record[:3] + len(piece).to_bytes(2) + piece for piece in pieces)


@pytest.mark.parametrize(
    ("kind", "names", "is_taken"),
    [
        ("imaps", (), True),
        ("imaps", ("imap",), True),
        ("imap", ("imap",), True),
        ("imaps", ("h2", "http/1.1"), False),
        ("imaps", ("pop3",), False),
        ("imaps", ("imap", "pop3"), False),
        ("imaps", ("imap", "x-private"), True),
        ("pop3s", ("pop3",), True),
        ("pop3s", ("http/1.1",), False),
        ("submission", ("smtp",), True),
        ("submissions", ("esmtp",), True),
        ("smtp", ("imap",), False),
        ("lmtp", ("lmtp",), True),
        ("lmtp", ("smtp",), False),
        ("sieve", ("managesieve",), True),
        ("sieve", ("ftp",), False),
        ("https", (), True),
        ("https", ("h2", "http/1.1"), True),
        ("https", ("http/1.0",), True),
        ("https", ("http/1.1", "imap"), True),
        ("https", ("imap",), False),
        ("https", ("ftp", "x"), False),
    ],
)
def test_a_listener_takes_offers_of_its_own_protocol(kind: str, names: tuple[str, ...], is_taken: bool) -> None:
    record = hello(*names)
    for whole in (record, cut(record, 1), cut(record, 7)):
        assert offered_protocols(whole) == [name.encode() for name in names]
    assert is_for(ListenerKind(kind), record) is is_taken
    if kind != "https":
        assert is_for(ListenerKind(kind), cut(record, 1)) is is_taken


def test_half_a_hello_and_junk_name_nothing_and_are_refused() -> None:
    record = hello("imap")
    for end in range(len(record)):
        assert offered_protocols(record[:end]) is None
        assert not is_for(ListenerKind.IMAPS, record[:end])


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_any_bytes_are_read_without_an_exception(junk: bytes, tail: bytes) -> None:
    offered_protocols(junk)
    offered_protocols(b"\x16\x03\x01\x00\x50\x01\x00\x00\x4c\x03\x03" + bytes(32) + junk + tail)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), Validation.NOT_OFFERED),
        (("h2", "http/1.1"), Validation.NOT_OFFERED),
        (("acme-tls/2",), Validation.NOT_OFFERED),
        (("acme-tls/1",), Validation.OFFERED),
        (("h2", "acme-tls/1"), Validation.OFFERED_WITH_OTHERS),
        (("acme-tls/1", "acme-tls/1x"), Validation.OFFERED_WITH_OTHERS),
    ],
)
def test_offer_of_a_validation_is_found_in_any_cut(names: tuple[str, ...], expected: Validation) -> None:
    record = hello(*names)
    for whole in (record, cut(record, 1), cut(record, 7), record + b"\x17\x03\x03\x00\x01x"):
        assert validation_offer(whole) is expected


def test_name_of_the_protocol_elsewhere_in_a_hello_is_no_offer() -> None:
    record = hello("h2")
    name = b"\x0aacme-tls/1"
    assert validation_offer(record[:11] + name + record[11 + len(name) :]) is Validation.NOT_OFFERED
    assert validation_offer(b"") is Validation.NOT_OFFERED
