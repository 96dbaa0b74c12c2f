"""Reads the server name of an ordinary ClientHello: complete, in a single record, with a plain host name. Pure.

Nearly every ClientHello looks like that, and parsing it here costs a tenth of asking OpenSSL. Anything else is left to
OpenSSL (`tls_stage.HelloReader`). The name only selects a certificate: OpenSSL still does the handshake itself and
checks everything else in the hello.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812  it is a class

NO_NAME = b""

_PREFIX = Struct("!BHHB")
"""Record: type, version, length (RFC 8446 §5.1); then the handshake message's type (§4)."""
_EXTENSION = Struct("!HH")
_SERVER_NAME = Struct("!HHHBH")
"""An extension's type and length; then the list's length, the name's type and its length (RFC 6066 §3)."""
_RECORD_HANDSHAKE, _CLIENT_HELLO, _HOST_NAME, _TLS_1_2 = 0x16, 1, 0, b"\x03\x03"
_SESSION_ID_AT = 43
_ORDINARY = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"


def plain_server_name(data: bytes) -> bytes | None:
    """The name; `NO_NAME` when the client sends none; None when the hello is not an ordinary one."""
    try:
        size = len(data)
        kind, _, length, message = _PREFIX.unpack_from(data)
        if kind != _RECORD_HANDSHAKE or length + 5 != size or message != _CLIENT_HELLO:
            return None
        # The client_version that both TLS 1.2 and 1.3 send; OpenSSL decides about clients that send another.
        if int.from_bytes(data[6:9]) + 9 != size or data[9:11] != _TLS_1_2:
            return None
        at = _SESSION_ID_AT + 1 + data[_SESSION_ID_AT]
        at += 2 + int.from_bytes(data[at : at + 2])  # cipher suites
        at += 1 + data[at]  # compression methods
        if at + 2 + int.from_bytes(data[at : at + 2]) != size:
            return None
        at += 2
        while at < size:
            extension, length = _EXTENSION.unpack_from(data, at)
            if extension == 0:
                return _host_name(data, at)
            at += 4 + length
        return NO_NAME if at == size else None
    except (LookupError, StructError):
        return None


def _host_name(data: bytes, at: int) -> bytes | None:
    """The only name in the extension, if it fills it and contains only ordinary characters."""
    _, extension, names, kind, length = _SERVER_NAME.unpack_from(data, at)
    if kind != _HOST_NAME or names != length + 3 or extension != length + 5 or not 0 < length <= 253:
        return None
    name = data[at + 9 : at + 9 + length]
    return name if len(name) == length and not name.translate(None, _ORDINARY) else None
