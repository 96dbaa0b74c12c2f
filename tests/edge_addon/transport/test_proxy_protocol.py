import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.transport.channel import Address
from edge_addon.transport.proxy_protocol import (
    V1_LONGEST,
    V2_LONGEST_BODY,
    V2_SIGNATURE,
    Header,
    Invalid,
    build_v1,
    build_v2,
    parse,
)

CLIENT = Address("192.0.2.7", 50123)
EDGE = Address("198.51.100.1", 993)
CLIENT6 = Address("2001:db8::7", 50123)
EDGE6 = Address("2001:db8::1", 993)

ports = st.integers(0, 65535)
addresses4 = st.builds(Address, st.ip_addresses(v=4).map(str), ports)
# No mapped addresses: those come back as IPv4.
addresses6 = st.builds(Address, st.ip_addresses(v=6, network="2001:db8::/32").map(str), ports)
pairs = st.tuples(addresses4, addresses4) | st.tuples(addresses6, addresses6)


def v2(command: int, family: int, body: bytes) -> bytes:
    return V2_SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


BODY4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 50123, 993)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (CLIENT, EDGE, b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 993\r\n"),
        (CLIENT6, EDGE6, b"PROXY TCP6 2001:db8::7 2001:db8::1 50123 993\r\n"),
        (Address("::ffff:192.0.2.7", 50123), EDGE, b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 993\r\n"),
        (Address("fe80::7%eth0", 1), Address("fe80::1%eth0", 2), b"PROXY TCP6 fe80::7 fe80::1 1 2\r\n"),
        (Address("", 0), EDGE, b"PROXY UNKNOWN\r\n"),
    ],
    ids=["ipv4", "ipv6", "a mapped address is IPv4", "a scope is left out", "a peer without address"],
)
def test_version_1_is_built_as_specified(source: Address, destination: Address, expected: bytes) -> None:
    assert build_v1(source, destination) == expected


@pytest.mark.parametrize("build", [build_v1, build_v2])
def test_addresses_of_two_families_are_sent_in_one_and_read_as_two(build: Callable[[Address, Address], bytes]) -> None:
    header = parse(build(CLIENT, EDGE6))
    assert isinstance(header, Header)
    assert (header.source, header.destination) == (CLIENT, EDGE6)


def test_version_2_carries_tls_version_and_server_name() -> None:
    header = build_v2(CLIENT, EDGE, tls_version="TLSv1.3", server_name="mail.example.com")
    authority = b"\x02\x00\x10mail.example.com"
    ssl = b"\x20\x00\x0f" + b"\x01" + b"\x00\x00\x00\x01" + b"\x21\x00\x07TLSv1.3"
    assert header == v2(0x21, 0x11, BODY4 + authority + ssl)


def test_version_2_without_tls_has_no_tls_fields() -> None:
    assert build_v2(CLIENT, EDGE) == v2(0x21, 0x11, BODY4)


@given(pairs, st.binary(max_size=40), st.sampled_from([1, 2]))
def test_built_headers_are_parsed_and_what_follows_is_not_touched(
    pair: tuple[Address, Address], rest: bytes, version: int
) -> None:
    built = build_v1(*pair) if version == 1 else build_v2(*pair, tls_version="TLSv1.2", server_name="a.test")
    assert parse(built + rest) == Header(len(built), *pair)


@given(pairs, st.sampled_from([1, 2]))
def test_every_prefix_of_a_header_needs_more(pair: tuple[Address, Address], version: int) -> None:
    built = build_v1(*pair) if version == 1 else build_v2(*pair)
    assert all(parse(built[:length]) is None for length in range(len(built)))
    assert isinstance(parse(built), Header)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: b"PROXY TCP4 " + rest))
def test_random_bytes_never_raise(data: bytes) -> None:
    outcome = parse(data)
    if isinstance(outcome, Header):
        assert outcome.consumed <= len(data)


@given(st.binary(max_size=60))
def test_random_bodies_of_version_2_never_raise(body: bytes) -> None:
    for family in (0x00, 0x11, 0x21, 0x12, 0x31):
        parse(v2(0x21, family, body))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"PROXY UNKNOWN\r\n", id="version 1 unknown"),
        pytest.param(b"PROXY UNKNOWN whatever it says here\r\n", id="version 1 unknown with a tail to be ignored"),
        pytest.param(v2(0x20, 0x00, b""), id="version 2 local"),
        pytest.param(v2(0x20, 0x11, BODY4), id="version 2 local with addresses to be ignored"),
        pytest.param(v2(0x21, 0x00, b""), id="version 2 of no family"),
    ],
)
def test_a_header_without_addresses_leaves_those_of_the_connection(data: bytes) -> None:
    header = parse(data)
    assert isinstance(header, Header)
    assert header.source is None
    assert header.consumed == len(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
        pytest.param(b"\x16\x03\x01\x02\x00", id="a ClientHello"),
        pytest.param(b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n", id="lower case"),
        pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n", id="a field missing"),
        pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n", id="a field too many"),
        pytest.param(b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n", id="two spaces"),
        pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", id="a port with a leading zero"),
        pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n", id="a port out of range"),
        pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n", id="a negative port"),
        pytest.param(b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", id="IPv6 in an IPv4 header"),
        pytest.param(b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n", id="IPv4 in an IPv6 header"),
        pytest.param(b"PROXY TCP6 fe80::7%eth0 fe80::1 1 2\r\n", id="a scope"),
        pytest.param(b"PROXY TCP4 192.0.2.007 198.51.100.1 1 2\r\n", id="an octet with leading zeros"),
        pytest.param(b"PROXY TCP4 mail.example.com 198.51.100.1 1 2\r\n", id="a name instead of an address"),
        pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n" + b"x" * V1_LONGEST, id="a bare line feed"),
        pytest.param(b"PROXY UNKNOWN " + b"x" * V1_LONGEST, id="a line that does not end"),
        pytest.param(v2(0x22, 0x11, BODY4), id="an unknown command"),
        pytest.param(v2(0x11, 0x11, BODY4), id="an unknown version"),
        pytest.param(v2(0x21, 0x12, BODY4), id="UDP"),
        pytest.param(v2(0x21, 0x31, bytes(216)), id="a Unix socket"),
        pytest.param(v2(0x21, 0x21, BODY4), id="IPv6 with a body for IPv4"),
        pytest.param(v2(0x21, 0x11, BODY4[:-1]), id="a body one byte too short"),
        pytest.param(
            v2(0x21, 0x11, bytes(V2_LONGEST_BODY + 1))[:20], id="a length beyond the bound, before it is read"
        ),
    ],
)
def test_anything_else_is_invalid(data: bytes) -> None:
    assert isinstance(parse(data), Invalid)
