"""The fields that tell the web server where a request came from: X-Forwarded-*, X-Real-IP and Forwarded (RFC 7239).

Pure. What a client claims about itself is dropped unless the client is a trusted proxy: then our part is appended to
its claims, and the outermost proxy decides about scheme, host and port.

There is no Via header: RFC 9110 §7.6.3 requires it of proxies, but servers such as nginx stop compressing at the sight
of one.
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
    """Build the header lines, joined by CRLF. `claimed`: lower-case names and values that a trusted proxy sent."""
    address = plain_address(client)
    scheme = b"https" if is_secure else b"http"
    node = _node(address)
    forwarded = b"for=%b;host=%b;proto=%b" % (node, _quoted_if_needed(host), scheme)
    real = address.encode("ascii") or b"unknown"
    claims = _join(claimed)
    return b"\r\n".join(
        (
            b"X-Forwarded-For: " + _append(claims.get(b"x-forwarded-for"), real),
            b"X-Forwarded-Proto: " + _scheme(claims.get(b"x-forwarded-proto"), scheme),
            b"X-Forwarded-Host: " + (claims.get(b"x-forwarded-host") or host),
            b"X-Forwarded-Port: " + (claims.get(b"x-forwarded-port") or b"%d" % port),
            b"X-Real-IP: " + (claims.get(b"x-real-ip") or real),
            b"Forwarded: " + _append(claims.get(b"forwarded"), forwarded),
        )
    )


def claims_https(claimed: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a trusted proxy states that its client came by https: a redirect there would go round in circles."""
    return _join(claimed).get(b"x-forwarded-proto", b"").lower() == b"https"


def _join(claimed: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Several headers of one name are one list (RFC 9110 §5.3)."""
    claims: dict[bytes, bytes] = {}
    for name, value in claimed:
        if value:
            claims[name] = claims[name] + b", " + value if name in claims else value
    return claims


def _append(claim: bytes | None, ours: bytes) -> bytes:
    return claim + b", " + ours if claim else ours


def _scheme(claim: bytes | None, ours: bytes) -> bytes:
    return claim.lower() if claim is not None and claim.lower() in (b"http", b"https") else ours


def _node(address: str) -> bytes:
    if not address:
        return b"unknown"
    return b'"[%b]"' % address.encode("ascii") if ":" in address else address.encode("ascii")


def _quoted_if_needed(host: bytes) -> bytes:
    """Quote a host with a port or brackets, which is not a token. A valid host has no quote and no backslash."""
    return b'"%b"' % host if b":" in host else host
