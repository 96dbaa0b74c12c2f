"""The target of a request and the host that it is for (RFC 9112 §3.2, RFC 3986 §3.2). Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from edge_addon.http.refusal import BadMessage, Cause

_ABSOLUTE = re.compile(rb"https?://([^/?]*)([/?].*)?", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,254})(?::([0-9]{1,5}))?")


class Host(NamedTuple):
    """A valid host as it was sent, and its port. An IPv6 address keeps its brackets."""

    name: str
    port: int | None


def parse_host(value: bytes) -> Host:
    """Parse a host name, IPv4 or [IPv6] address with an optional port; raises BadMessage for anything else.

    Stricter than RFC 3986's reg-name: no percent-encoding, sub-delims or user name. Real hosts have none of them, and a
    host goes into redirects and logs.
    """
    match = _HOST.fullmatch(value)
    if match is None:
        raise BadMessage(Cause.BAD_HOST)
    port = None if match[2] is None else int(match[2])
    if port is not None and port > 65535:
        raise BadMessage(Cause.BAD_HOST)
    return Host(match[1].decode("ascii"), port)


def split_absolute(target: bytes, *, is_options: bool) -> tuple[bytes, bytes]:
    """Split a target in absolute form into authority and origin form; raises BadMessage."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not match[1]:
        raise BadMessage(Cause.BAD_TARGET)
    path: bytes = match[2] or (b"*" if is_options else b"/")
    return match[1], b"/" + path if path.startswith(b"?") else path


def check_authority(authority: bytes, host: bytes | None) -> None:
    """Require that a target's authority equals Host. RFC 9112 §3.2.2 prefers the target, but servers differ."""
    parse_host(authority)
    if host is None or authority.lower() != host.lower():
        raise BadMessage(Cause.HOST_CONFLICT)
