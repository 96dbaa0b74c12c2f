"""Where a request came from, as told to the server behind: X-Forwarded-*, X-Real-IP and Forwarded (RFC 7239).

Pure. What a client says about itself is dropped, unless it is a trusted proxy: then our part is appended to its own,
and the outermost proxy keeps the say about scheme, host and port.

No Via header: RFC 9110 §7.6.3 asks it of proxies, and servers such as nginx stop compressing when they see one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_MAPPED = "::ffff:"


def plain_address(host: str) -> str:
    """An address as it is written in headers: no scope, and IPv4 as IPv4 where a dual-stack socket reports it."""
    host = host.partition("%")[0]
    if host.lower().startswith(_MAPPED) and "." in host:
        return host[len(_MAPPED) :]
    return host


def build_forwarded(
    client: str, port: int, host: bytes, *, is_secure: bool, claimed: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    """Header lines, CRLF between them. `claimed`: names in lower case and values that a trusted proxy sent."""
    address = plain_address(client)
    scheme = b"https" if is_secure else b"http"
    node = _node(address)
    forwarded = b"for=%b;host=%b;proto=%b" % (node, _quoted_if_needed(host), scheme)
    real = address.encode("ascii") or b"unknown"
    said = _join(claimed)
    return b"\r\n".join(
        (
            b"X-Forwarded-For: " + _append(said.get(b"x-forwarded-for"), real),
            b"X-Forwarded-Proto: " + _scheme(said.get(b"x-forwarded-proto"), scheme),
            b"X-Forwarded-Host: " + (said.get(b"x-forwarded-host") or host),
            b"X-Forwarded-Port: " + (said.get(b"x-forwarded-port") or b"%d" % port),
            b"X-Real-IP: " + (said.get(b"x-real-ip") or real),
            b"Forwarded: " + _append(said.get(b"forwarded"), forwarded),
        )
    )


def claims_https(claimed: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a trusted proxy says that its client came by https: then a redirect there would go round in circles."""
    return _join(claimed).get(b"x-forwarded-proto", b"").lower() == b"https"


def _join(claimed: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Several headers of one name are one list (RFC 9110 §5.3)."""
    said: dict[bytes, bytes] = {}
    for name, value in claimed:
        if value:
            said[name] = said[name] + b", " + value if name in said else value
    return said


def _append(said: bytes | None, ours: bytes) -> bytes:
    return said + b", " + ours if said else ours


def _scheme(said: bytes | None, ours: bytes) -> bytes:
    return said.lower() if said is not None and said.lower() in (b"http", b"https") else ours


def _node(address: str) -> bytes:
    if not address:
        return b"unknown"
    return b'"[%b]"' % address.encode("ascii") if ":" in address else address.encode("ascii")


def _quoted_if_needed(host: bytes) -> bytes:
    """A valid host holds no quote and no backslash; with a port or brackets it is no token any more."""
    return b'"%b"' % host if b":" in host else host
