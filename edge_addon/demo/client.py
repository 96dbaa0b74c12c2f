"""What a browser or mail program sees of the edge: handshakes, certificates, one request, STARTTLS.

Every handshake verifies the chain against the demo's CA and nothing else.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple

from certstore.model.starttls import ClientSide
from certstore.verify.probe import start_tls

SECONDS = 10.0
LOOPBACK = "127.0.0.1"


class Answer(NamedTuple):
    status: int
    body: bytes


def trusting(root_pem: Path) -> ssl.SSLContext:
    """A client's context. It does not check the name: each check decides which certificate it expects."""
    context = ssl.create_default_context(cafile=str(root_pem))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as clients do since Python 3.13
    context.check_hostname = False
    return context


def fingerprint(connection: ssl.SSLSocket) -> str:
    """The fingerprint of the certificate that the other side presented."""
    return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()


@contextmanager
def tls(
    port: int, server_name: str | None, context: ssl.SSLContext, starttls: ClientSide | None = None
) -> Iterator[ssl.SSLSocket]:
    """An open TLS connection that asked for `server_name`. Raises ProbeFailed when the edge refuses STARTTLS."""
    with socket.create_connection((LOOPBACK, port), SECONDS) as plain:
        if starttls is not None:
            start_tls(plain, starttls)
        with context.wrap_socket(plain, server_hostname=server_name) as connection:
            yield connection


def get(connection: socket.socket, host: str, target: str) -> Answer:
    """One GET on a connection that stays open. Raises OSError if the answer is not HTTP."""
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
    with socket.create_connection((LOOPBACK, port), SECONDS) as connection:
        return get(connection, host, target)


def ask(connection: socket.socket, command: str, last: bytes) -> str:
    """Send a command and return the reply, whose last line begins with `last`. Raises ConnectionError without one."""
    connection.sendall(command.encode() + b"\r\n")
    reply = []
    with connection.makefile("rb") as lines:
        for line in lines:
            reply.append(line.decode(errors="replace"))
            if line.startswith(last):
                return "".join(reply)
    raise ConnectionError(f"{command}: {reply[-1].strip() if reply else 'no reply'}")
