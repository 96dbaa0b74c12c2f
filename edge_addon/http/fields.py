"""Header field names: which are valid, and what the relay does with each (RFC 9110 §7.6.1 and our own rules).

Pure. A name's treatment is worked out once (`name_memo`).

A request loses fields whose names have anything but letters, digits and `-`: CGI-style servers map `X_Forwarded_For`,
`X.Forwarded.For` and `X-Forwarded-For` to one variable, so such a name would carry a forged header past us. nginx does
the same by default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from edge_addon.http.name_memo import NameMemo
from edge_addon.http.refusal import BadMessage, Cause

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""RFC 9110 §5.6.2."""

PLAIN = b"-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What the names of fields that an upstream gets consist of."""


class Treatment(IntEnum):
    """What happens to a header line. KEEP is 0, so that the usual case takes one truth test."""

    KEEP = 0
    DROP = 1
    HOST = 2
    CONNECTION = 3
    CONTENT_LENGTH = 4
    TRANSFER_ENCODING = 5
    TE = 6
    UPGRADE = 7
    EXPECT = 8
    FORWARDED = 9
    """Where a request came from: the edge states that itself, and believes only a trusted proxy."""
    CREDENTIALS = 10
    CHALLENGE = 11
    PERSISTENT_AUTH = 12
    """Passed on; they may say that a login belongs to the connection."""
    TRIM = 13
    """A blank lies between the name and the colon of a response, and is removed (RFC 9112 §5.1)."""


_HOP_BY_HOP = {
    b"connection": Treatment.CONNECTION,
    b"content-length": Treatment.CONTENT_LENGTH,
    b"keep-alive": Treatment.DROP,
    b"proxy-connection": Treatment.DROP,
    b"transfer-encoding": Treatment.TRANSFER_ENCODING,
    b"upgrade": Treatment.UPGRADE,
}

REQUEST = _HOP_BY_HOP | {
    b"host": Treatment.HOST,
    b"te": Treatment.TE,
    b"expect": Treatment.EXPECT,
    b"authorization": Treatment.CREDENTIALS,
    b"proxy-authorization": Treatment.CREDENTIALS,
    b"forwarded": Treatment.FORWARDED,
    b"x-real-ip": Treatment.FORWARDED,
    b"proxy": Treatment.DROP,  # becomes HTTP_PROXY in CGI-style servers, which then send their requests there
    b"http2-settings": Treatment.DROP,  # only of use with `Upgrade: h2c`, which is never passed on
}

RESPONSE = _HOP_BY_HOP | {
    b"te": Treatment.DROP,
    b"www-authenticate": Treatment.CHALLENGE,
    b"proxy-authenticate": Treatment.CHALLENGE,
    b"authentication-info": Treatment.CHALLENGE,
    b"proxy-authentication-info": Treatment.CHALLENGE,
    b"persistent-auth": Treatment.PERSISTENT_AUTH,
}

# RFC 9110 §6.5.1: fields that frame, route, authenticate or describe the content come too late in a trailer, and could
# fool a server that merges trailers into its headers.
TRAILER = dict.fromkeys(
    b"connection content-encoding content-length content-range content-type host keep-alive proxy-connection te"
    b" trailer transfer-encoding upgrade expect forwarded x-real-ip proxy authorization cookie set-cookie cache-control"
    b" max-forwards range if-match if-none-match if-modified-since if-unmodified-since if-range www-authenticate"
    b" proxy-authenticate proxy-authorization age expires date location retry-after vary warning"
    b" strict-transport-security http2-settings".split(),
    Treatment.DROP,
)


class FieldTable(NameMemo[Treatment]):
    """`table[name]` is the treatment of a name in any case; raises BadMessage for what is no field name."""

    __slots__ = ("_forwarded", "_treatments", "_trims")

    def __init__(
        self, treatments: Mapping[bytes, Treatment], forwarded: Treatment | None = None, *, trims: bool = False
    ) -> None:
        """`forwarded`: the treatment of X-Forwarded-… names. None is for responses, which may have any name.

        `trims`: a blank before the colon is removed.
        """
        super().__init__()
        self._trims = trims
        self._treatments = treatments
        self._forwarded = forwarded

    def work_out(self, name: bytes) -> Treatment:
        if not name or name.translate(None, TOKEN):
            cause = _what_is_wrong(name)
            if self._trims and cause is Cause.SPACE_BEFORE_COLON:
                return Treatment.TRIM
            raise BadMessage(cause)
        lowered = name.lower()
        if self._forwarded is not None:
            if name.translate(None, PLAIN):
                return Treatment.DROP
            if lowered.startswith(b"x-forwarded"):
                return self._forwarded
        return self._treatments.get(lowered, Treatment.KEEP)


def _what_is_wrong(name: bytes) -> Cause:
    if name[:1] in (b" ", b"\t"):
        return Cause.OBS_FOLD
    if name[-1:] in (b" ", b"\t"):
        return Cause.SPACE_BEFORE_COLON
    return Cause.BAD_FIELD_NAME


request_fields = FieldTable(REQUEST, Treatment.FORWARDED)
response_fields = FieldTable(RESPONSE, trims=True)
trailer_fields = FieldTable(TRAILER, Treatment.DROP)


class Field(NamedTuple):
    """A field that the edge sets on answers: name, value, and both as a line of an HTTP/1 head."""

    name: bytes
    value: bytes
    line: bytes


def build_fields(pairs: Iterable[tuple[str, str]]) -> tuple[Field, ...]:
    """Build fields from valid ASCII names and values."""
    encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in pairs]
    return tuple(Field(name, value, b"%b: %b" % (name, value)) for name, value in encoded)


def replacing_table(own_fields: Iterable[Field]) -> FieldTable:
    """Build a table for responses that drops the fields that ours replace."""
    return FieldTable(RESPONSE | {field.name.lower(): Treatment.DROP for field in own_fields}, trims=True)
