"""One handshake with one listener, over implicit TLS or STARTTLS, and the certificates that it served.

Nothing is verified against a CA: what counts is which certificates were served, not whether they are trusted. A mail
server is left as its protocol wants it, or it would log a client that broke off. Knows nothing of stores; `plan`
compares.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import sys
from dataclasses import dataclass
from typing import Any

from certstore.model.settings.models import ListenerKind
from certstore.model.starttls import CLIENT_SIDES, IMPLICIT_TLS, ClientSide, Expected
from certstore.net.own_address import OwnListener

_LINE_LIMIT = 4096
_LINES_LIMIT = 100
_FAREWELL_LIMIT = 64 * 1024


class ProbeFailed(Exception):
    """No handshake came about; the message says what the listener did instead."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One question. `server_name` None sends no name; `rsa_only` offers only what an RSA certificate can serve."""

    kind: ListenerKind
    at: OwnListener
    server_name: str | None
    rsa_only: bool = False


def served_chain(probe: Probe, timeout: float) -> list[bytes]:
    """The DER certificates in the order in which the listener sent them. Raises ProbeFailed."""
    try:
        with contextlib.closing(probe.at.connect(timeout)) as plain:
            if probe.kind.offers_starttls:
                start_tls(plain, CLIENT_SIDES[probe.kind])
            with _context(rsa_only=probe.rsa_only).wrap_socket(plain, server_hostname=probe.server_name) as secure:
                chain = _unverified_chain(secure)
                # Whether the mail server behind the listener works is not the question.
                with contextlib.suppress(OSError, ProbeFailed):
                    take_leave(secure, probe.kind)
                return chain
    except TimeoutError:
        raise ProbeFailed(f"no answer within {timeout:g} seconds") from None
    except ssl.SSLError as error:
        raise ProbeFailed(f"the TLS handshake failed: {error.reason or error}") from None
    except OSError as error:
        raise ProbeFailed(error.strerror or str(error)) from None
    except ValueError as error:  # ssl refuses some names before anything is sent
        raise ProbeFailed(str(error)) from None


def http_status(probe: Probe, timeout: float) -> int:
    """The status with which a clear-text HTTP listener answers `GET /`. Raises ProbeFailed."""
    host = probe.server_name or str(probe.at.address)
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: certedge-verify\r\nConnection: close\r\n\r\n"
    try:
        with contextlib.closing(probe.at.connect(timeout)) as plain:
            plain.sendall(request.encode("ascii"))
            with plain.makefile("rb") as answer:
                line = answer.readline(_LINE_LIMIT)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {timeout:g} seconds") from None
    except OSError as error:
        raise ProbeFailed(error.strerror or str(error)) from None
    words = line.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ProbeFailed("its answer is not HTTP")
    return int(words[1])


@functools.lru_cache(maxsize=2)
def _context(*, rsa_only: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if rsa_only:
        # TLS 1.3 negotiates signatures apart from cipher suites, and `ssl` has no call to narrow them.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+aRSA")
    return context


def _unverified_chain(secure: ssl.SSLSocket) -> list[bytes]:
    if sys.version_info >= (3, 13):
        return secure.get_unverified_chain()
    # The same call, public under this name from Python 3.13 on; 3.12 has it one layer down.
    inner: Any = getattr(secure, "_sslobj")  # noqa: B009
    der = 2
    return [certificate.public_bytes(der) for certificate in inner.get_unverified_chain() or ()]


def start_tls(connection: socket.socket, side: ClientSide) -> None:
    """Speak up to the go-ahead for TLS."""
    _expect(connection, side.greeting, "the greeting")
    for template, reply in side.commands:
        command = template.format(host="certedge.invalid")
        connection.sendall(command.encode("ascii"))
        _expect(connection, reply, command.rstrip())


def take_leave(connection: socket.socket, kind: ListenerKind) -> None:
    """Over TLS: wait for a greeting that is due, say goodbye, and wait until the server has closed the connection.

    Raises OSError or ProbeFailed when the server does not play along.
    """
    side = CLIENT_SIDES.get(kind) or IMPLICIT_TLS.get(kind)
    if side is None:
        return
    if kind in IMPLICIT_TLS or kind is ListenerKind.SIEVE:  # RFC 5804 §2.2: it greets again over TLS
        _expect(connection, side.greeting, "the greeting")
    connection.sendall(side.farewell.encode("ascii"))
    heard = 0
    while heard < _FAREWELL_LIMIT and (data := connection.recv(4096)):
        heard += len(data)


def _expect(connection: socket.socket, reply: Expected, doing: str) -> None:
    for _ in range(_LINES_LIMIT):
        line = _read_line(connection)
        if reply.last_line.match(line):
            if not reply.good.match(line):
                raise ProbeFailed(f"{doing} was answered with {line.decode('utf-8', 'replace').strip()!r:.120}")
            return
    raise ProbeFailed(f"{doing} was answered without end")


def _read_line(connection: socket.socket) -> bytes:
    """Byte by byte, so that nothing of the handshake is swallowed."""
    taken = bytearray()
    while not taken.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise ProbeFailed("it closed the connection before TLS")
        taken += byte
        if len(taken) > _LINE_LIMIT:
            raise ProbeFailed("it sent a line without end")
    return bytes(taken)
