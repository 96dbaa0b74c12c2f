"""Mail clients that connect from their own address, so that a server's log can tell them from the edge."""

from __future__ import annotations

import base64
import imaplib
import poplib
import re
import smtplib
import socket
import ssl
from typing import Any

CLIENT_ADDRESS = "127.0.0.7"
SECONDS = 20.0


def connect(port: int, context: ssl.SSLContext | None = None, server_name: str = "") -> socket.socket:
    """A connection; with a context, after the TLS handshake."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=SECONDS, source_address=(CLIENT_ADDRESS, 0))
    return context.wrap_socket(plain, server_hostname=server_name) if context is not None else plain


class Imap(imaplib.IMAP4):
    """With a context it begins with TLS. The standard library cannot set the source address of either."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None, server_name: str = "") -> None:
        self._context, self._server_name = context, server_name
        super().__init__("127.0.0.1", port)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return connect(self.port, self._context, self._server_name)

    def begin_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        self.host = server_name
        self.starttls(context)


class Pop3(poplib.POP3):
    def __init__(self, port: int, context: ssl.SSLContext | None = None, server_name: str = "") -> None:
        self._context, self._server_name = context, server_name
        super().__init__("127.0.0.1", port)

    def _create_socket(self, timeout: float) -> socket.socket:
        return connect(self.port, self._context, self._server_name)

    def begin_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        self.host = server_name
        self.stls(context)


class Smtp(smtplib.SMTP):
    def __init__(self, port: int, context: ssl.SSLContext | None = None, server_name: str = "") -> None:
        self._context, self._server_name = context, server_name
        super().__init__("127.0.0.1", port, local_hostname="client.test", timeout=SECONDS)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return connect(port, self._context, self._server_name)

    def begin_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        self._host = server_name
        code, answer = self.starttls(context=context)
        assert code == 220, answer


class Lmtp(Smtp):
    ehlo_msg = "lhlo"

    def deliver(self, text: bytes, *recipients: str) -> list[int]:
        """The reply code of each accepted recipient, in order."""
        assert self.mail("sender@elsewhere.test")[0] == 250
        accepted = [each for each in recipients if self.rcpt(each)[0] == 250]
        first, _ = self.data(text)
        return [first, *(self.getreply()[0] for _ in accepted[1:])]


class Sieve:
    """Just enough of a ManageSieve client (RFC 5804) to store a script."""

    def __init__(self, port: int) -> None:
        self._socket: socket.socket = connect(port)
        self._lines = self._socket.makefile("rb")
        self.capabilities = self._read()

    def _read(self) -> dict[str, str]:
        """One answer: each line's value by its first string, and the status line as `status`."""
        found: dict[str, str] = {}
        while line := self._lines.readline():
            if status := re.match(rb"(OK|NO|BYE)\b", line):
                found["status"] = status[1].decode()
                return found
            name, _, value = line.decode().strip().partition(" ")
            found[name.strip('"')] = value.strip('"')
        raise AssertionError(f"the connection ended: {found}")

    def ask(self, command: bytes) -> dict[str, str]:
        self._socket.sendall(command)
        return self._read()

    def begin_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        assert self.ask(b"STARTTLS\r\n")["status"] == "OK"
        self._socket = context.wrap_socket(self._socket, server_hostname=server_name)
        self._lines = self._socket.makefile("rb")
        self.capabilities = self._read()

    def login(self, user: str, password: str) -> str:
        token = base64.b64encode(f"\0{user}\0{password}".encode())
        return self.ask(b'AUTHENTICATE "PLAIN" "%b"\r\n' % token)["status"]

    def put(self, name: str, script: bytes) -> str:
        return self.ask(b'PUTSCRIPT "%b" {%d+}\r\n%b\r\n' % (name.encode(), len(script), script))["status"]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Sieve:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
