"""What a browser or a mail program sees of the edge: handshakes, certificates, one request, STARTTLS.

Every handshake verifies the chain against the demo's CA alone; nothing is taken on trust.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

SECONDS = 10.0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    body: bytes


def trusting(root_pem: Path) -> ssl.SSLContext:
    """A client's context. Whether the name is covered is each check's own question, so it is not asked here."""
    context = ssl.create_default_context(cafile=str(root_pem))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # what clients are from Python 3.13 on
    context.check_hostname = False
    return context


def fingerprint(connection: ssl.SSLSocket) -> str:
    """Of the leaf that the other side showed."""
    return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()


@contextmanager
def tls(port: int, server_name: str | None, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """An open TLS connection that asked for `server_name`."""
    with (
        socket.create_connection((LOOPBACK, port), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as connection,
    ):
        yield connection


def get(connection: socket.socket, host: str, target: str) -> Answer:
    """One GET on a connection that stays open. Raises OSError when what comes back is no HTTP answer."""
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    response = HTTPResponse(connection, method="GET")
    try:
        response.begin()
        return Answer(response.status, response.read())
    except HTTPException as error:
        raise ConnectionError(f"no HTTP answer to GET {target}: {type(error).__name__}") from error
    finally:
        response.close()


def get_plain(port: int, host: str, target: str) -> Answer:
    """One GET without TLS."""
    with socket.create_connection((LOOPBACK, port), SECONDS) as connection:
        return get(connection, host, target)


@contextmanager
def imap_starttls(port: int, server_name: str | None, context: ssl.SSLContext) -> Iterator[tuple[ssl.SSLSocket, str]]:
    """RFC 9051 §6.2.1. Gives the connection and what the server says under TLS when asked for its capabilities."""
    with socket.create_connection((LOOPBACK, port), SECONDS) as plain:
        _read_line(plain)
        _say(plain, "a STARTTLS", until=b"a ", expected=b"a OK")
        with context.wrap_socket(plain, server_hostname=server_name) as connection:
            yield connection, _say(connection, "b CAPABILITY", until=b"b ", expected=b"b OK")


@contextmanager
def smtp_starttls(port: int, server_name: str | None, context: ssl.SSLContext) -> Iterator[tuple[ssl.SSLSocket, str]]:
    """RFC 3207. Gives the connection and the answer to the EHLO under TLS."""
    with socket.create_connection((LOOPBACK, port), SECONDS) as plain:
        _read_line(plain)
        _say(plain, "EHLO client.demo.test", until=b"250 ", expected=b"250")
        _say(plain, "STARTTLS", until=b"220", expected=b"220")
        with context.wrap_socket(plain, server_hostname=server_name) as connection:
            yield connection, _say(connection, "EHLO client.demo.test", until=b"250 ", expected=b"250")


def _say(connection: socket.socket, command: str, *, until: bytes, expected: bytes) -> str:
    """Send a line and read lines up to the one that begins with `until`; raises ConnectionError on another ending."""
    connection.sendall(command.encode() + b"\r\n")
    lines = []
    while True:
        lines.append(_read_line(connection))
        is_refusal = lines[-1][:1] in (b"4", b"5") or lines[-1].startswith((b"* BAD", b"* BYE"))
        if lines[-1].startswith(until) or is_refusal:
            break
    if not lines[-1].startswith(expected):
        raise ConnectionError(f"{command}: {lines[-1].decode(errors='replace').strip()}")
    return b"".join(lines).decode(errors="replace")


def _read_line(connection: socket.socket) -> bytes:
    """Byte by byte, because what follows the go-ahead of STARTTLS belongs to the handshake."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError(f"the connection ended after {bytes(line)!r}")
        line += byte
    return bytes(line)
