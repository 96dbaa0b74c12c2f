"""One handshake with one listener: implicit TLS, or STARTTLS of IMAP, POP3, SMTP and ManageSieve; what it served.

Nothing is verified against a CA here: the question is which certificates came, not whether they are trusted. Knows
nothing of stores; `verify` compares.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from certstore.model.settings.models import ListenerKind
from certstore.net.own_address import OwnListener

_LINE_LIMIT = 4096
_LINES_LIMIT = 100


class ProbeFailed(Exception):
    """No handshake; the message says what the listener did instead."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What to ask: `server_name` None sends none. `rsa_only` offers nothing that an EC certificate could serve."""

    kind: ListenerKind
    at: OwnListener
    server_name: str | None
    rsa_only: bool = False


def served_chain(probe: Probe, timeout: float) -> list[bytes]:
    """The DER certificates in the order in which the listener sent them; raises ProbeFailed."""
    try:
        with contextlib.closing(probe.at.connect(timeout)) as plain:
            if probe.kind.offers_starttls:
                _Conversation(plain).start_tls(probe.kind)
            with _context(probe).wrap_socket(plain, server_hostname=probe.server_name) as secure:
                return _unverified_chain(secure)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {timeout:g} seconds") from None
    except ssl.SSLError as error:
        raise ProbeFailed(f"the TLS handshake failed: {error.reason or error}") from None
    except OSError as error:
        raise ProbeFailed(error.strerror or str(error)) from None
    except ValueError as error:  # ssl refuses some names before anything is sent
        raise ProbeFailed(str(error)) from None


def http_status(probe: Probe, timeout: float) -> int:
    """The status that a clear-text HTTP listener gives to `GET /`; raises ProbeFailed."""
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
        raise ProbeFailed("the answer is no HTTP")
    return int(words[1])


def _context(probe: Probe) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if probe.rsa_only:
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


class _Conversation:
    """Clear text up to the go-ahead for TLS, read byte by byte so that nothing of the handshake is swallowed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def start_tls(self, kind: ListenerKind) -> None:
        _STARTTLS[kind](self)

    def line(self) -> str:
        taken = bytearray()
        while not taken.endswith(b"\n"):
            byte = self._connection.recv(1)
            if not byte:
                raise ProbeFailed("it closed the connection before TLS")
            taken += byte
            if len(taken) > _LINE_LIMIT:
                raise ProbeFailed("it sent a line without end")
        return taken.decode("utf-8", "replace").strip()

    def say(self, command: str) -> None:
        self._connection.sendall(f"{command}\r\n".encode("ascii"))

    def expect(self, start: str, doing: str, is_last: Callable[[str], bool] = lambda _: True) -> None:
        """Read lines up to the last of a reply, which has to begin with `start`, in any case."""
        for _ in range(_LINES_LIMIT):
            line = self.line()
            if is_last(line):
                if not line.upper().startswith(start):
                    raise ProbeFailed(f"{doing} was answered with {line!r:.120}")
                return
        raise ProbeFailed(f"{doing} was answered without end")

    def smtp(self) -> None:
        def is_last(line: str) -> bool:
            return line[3:4] != "-"

        self.expect("220", "the greeting", is_last)
        self.say("EHLO certedge.invalid")
        self.expect("250", "EHLO", is_last)
        self.say("STARTTLS")
        self.expect("220", "STARTTLS", is_last)

    def imap(self) -> None:
        self.expect("* OK", "the greeting")
        self.say("a STARTTLS")
        self.expect("A OK", "STARTTLS", lambda line: not line.startswith("*"))

    def pop3(self) -> None:
        self.expect("+OK", "the greeting")
        self.say("STLS")
        self.expect("+OK", "STLS")

    def sieve(self) -> None:
        def is_last(line: str) -> bool:
            return not line.startswith('"')

        self.expect("OK", "the greeting", is_last)
        self.say("STARTTLS")
        self.expect("OK", "STARTTLS", is_last)


_STARTTLS: dict[ListenerKind, Callable[[_Conversation], None]] = {
    ListenerKind.SMTP: _Conversation.smtp,
    ListenerKind.SUBMISSION: _Conversation.smtp,
    ListenerKind.IMAP: _Conversation.imap,
    ListenerKind.POP3: _Conversation.pop3,
    ListenerKind.SIEVE: _Conversation.sieve,
}
