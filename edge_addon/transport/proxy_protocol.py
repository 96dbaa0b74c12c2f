"""The PROXY protocol, versions 1 and 2: tells a server behind a relay who the client really is. Pure.

Builds the header for an upstream and parses the one that a trusted load balancer sends. Whether a peer is trusted, and
what happens to its connection, is decided elsewhere.
Specification: https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from edge_addon.transport.channel import Address

V1_PREFIX = b"PROXY "
V1_LONGEST = 107
"""Bytes of the longest version 1 line, CRLF included (section 2.1)."""
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2_FIXED = 16
V2_LONGEST_BODY = 4096
"""Bytes of addresses and TLVs. The format allows 65,535; a balancer that forwards a client certificate needs 2,000."""

_V2_LOCAL = 0x20
_V2_PROXY = 0x21
_FAMILY_UNSPEC = 0x00
_FAMILY_TCP4 = 0x11
_FAMILY_TCP6 = 0x21

_TLV_AUTHORITY = 0x02
_TLV_SSL = 0x20
_TLV_SSL_VERSION = 0x21
_CLIENT_SSL = 0x01
_NO_CLIENT_CERTIFICATE = 1
"""Not zero: no client certificate was verified, because none is requested."""

_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Invalid:
    """The data is not a header, whatever follows."""

    why: str


@dataclass(frozen=True, slots=True)
class Header:
    """A complete header. Without addresses (`LOCAL`, `UNKNOWN`) those of the connection itself apply.

    IPv4 addresses mapped into IPv6 are given as IPv4, so that limits, trust and logs see the same client whatever its
    balancer listens on.
    """

    consumed: int
    source: Address | None
    destination: Address | None


def build_v1(source: Address, destination: Address) -> bytes:
    """The text header, which carries only addresses."""
    pair = _address_pair(source, destination)
    if pair is None:
        return b"PROXY UNKNOWN\r\n"
    family = f"TCP{pair[0].version}"
    return f"PROXY {family} {pair[0]} {pair[1]} {source.port} {destination.port}\r\n".encode("ascii")


def build_v2(
    source: Address, destination: Address, *, tls_version: str | None = None, server_name: str | None = None
) -> bytes:
    """The binary header. `tls_version` is as in `ssl`, such as `TLSv1.3`; None when the client did not use TLS."""
    tlvs = b""
    if server_name is not None:
        tlvs += _tlv(_TLV_AUTHORITY, server_name.encode("ascii", "replace"))
    if tls_version is not None:
        version = _tlv(_TLV_SSL_VERSION, tls_version.encode("ascii", "replace"))
        tlvs += _tlv(_TLV_SSL, struct.pack("!BI", _CLIENT_SSL, _NO_CLIENT_CERTIFICATE) + version)
    pair = _address_pair(source, destination)
    if pair is None:
        family, addresses = _FAMILY_UNSPEC, b""
    else:
        family = _FAMILY_TCP4 if pair[0].version == 4 else _FAMILY_TCP6
        addresses = pair[0].packed + pair[1].packed + struct.pack("!HH", source.port, destination.port)
    body = addresses + tlvs
    return V2_SIGNATURE + struct.pack("!BBH", _V2_PROXY, family, len(body)) + body


def parse(data: bytes) -> Header | Invalid | None:
    """Parse the header at the start of a connection; `data` is everything received so far.

    None: it may become a header; call again with all of it and more. The first bytes tell the versions apart; no
    protocol in which the client speaks first starts with either.
    """
    if V2_SIGNATURE.startswith(data[: len(V2_SIGNATURE)]):
        return _parse_v2(data)
    if V1_PREFIX.startswith(data[: len(V1_PREFIX)]):
        return _parse_v1(data)
    return Invalid("the connection does not start with a PROXY header")


def _parse_v1(data: bytes) -> Header | Invalid | None:
    end = data.find(b"\r\n", 0, V1_LONGEST)
    if end < 0:
        if len(data) >= V1_LONGEST:
            return Invalid(f"no line end within {V1_LONGEST} bytes")
        return None
    fields = data[:end].split(b" ")
    if fields[1:2] == [b"UNKNOWN"]:
        return Header(end + 2, None, None)  # the rest of the line must be ignored (section 2.1)
    if len(fields) != 6 or fields[1] not in (b"TCP4", b"TCP6"):
        return Invalid("expected PROXY TCP4|TCP6 source destination port port")
    try:
        version = 4 if fields[1] == b"TCP4" else 6
        source = Address(_parse_host(fields[2], version), _parse_port(fields[4]))
        destination = Address(_parse_host(fields[3], version), _parse_port(fields[5]))
    except ValueError as error:
        return Invalid(str(error))
    return Header(end + 2, source, destination)


def _parse_host(text: bytes, version: int) -> str:
    address = ipaddress.ip_address(text.decode("ascii"))
    if address.version != version or "%" in str(address):
        raise ValueError("an address that does not match its family")
    return str(_unmapped(address))


def _parse_port(text: bytes) -> int:
    """Decimal digits without leading zeros (section 2.1)."""
    if not text.isdigit() or len(text) > 5 or (text[:1] == b"0" and text != b"0") or int(text) > 65535:
        raise ValueError("a port that is not a number from 0 to 65535")
    return int(text)


def _parse_v2(data: bytes) -> Header | Invalid | None:
    if len(data) < V2_FIXED:
        return None
    version_and_command, family, length = struct.unpack_from("!BBH", data, len(V2_SIGNATURE))
    if version_and_command not in (_V2_LOCAL, _V2_PROXY):
        return Invalid(f"version and command {version_and_command:#04x} are unknown")
    if length > V2_LONGEST_BODY:
        return Invalid(f"a header of {length} bytes; at most {V2_LONGEST_BODY} are accepted")
    end = V2_FIXED + length
    if len(data) < end:
        return None
    if version_and_command == _V2_LOCAL or family == _FAMILY_UNSPEC:
        return Header(end, None, None)
    if family not in (_FAMILY_TCP4, _FAMILY_TCP6):
        return Invalid(f"family {family:#04x} is not TCP over IP")
    size = 4 if family == _FAMILY_TCP4 else 16
    if length < 2 * size + 4:
        return Invalid("a header too short for its addresses")
    hosts = [data[V2_FIXED + at : V2_FIXED + at + size] for at in (0, size)]
    ports = struct.unpack_from("!HH", data, V2_FIXED + 2 * size)
    source, destination = (
        Address(str(_unmapped(ipaddress.ip_address(host))), port) for host, port in zip(hosts, ports, strict=True)
    )
    return Header(end, source, destination)


def _tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def _address_pair(source: Address, destination: Address) -> tuple[_IpAddress, _IpAddress] | None:
    """Both addresses in one family, as the header requires; None when one of them is not an IP address."""
    try:
        pair = _plain_address(source.host), _plain_address(destination.host)
    except ValueError:
        return None
    if pair[0].version != pair[1].version:
        return _mapped(pair[0]), _mapped(pair[1])
    return pair


def _plain_address(text: str) -> _IpAddress:
    """Without scope, and as IPv4 where a dual-stack socket reports `::ffff:192.0.2.1`."""
    return _unmapped(ipaddress.ip_address(text.partition("%")[0]))


def _unmapped(address: _IpAddress) -> _IpAddress:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _mapped(address: _IpAddress) -> ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address):
        return address
    return ipaddress.IPv6Address(b"\x00" * 10 + b"\xff\xff" + address.packed)
