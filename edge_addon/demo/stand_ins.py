"""The servers behind the edge of a demo: web, IMAP and SMTP, each with just enough commands to answer.

They speak clear text on 127.0.0.1, with one thread per connection, and the edge adds TLS. They keep no mail.
"""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import ClassVar, NamedTuple

LINE_LIMIT = 8192


class WebHandler(BaseHTTPRequestHandler):
    """Answers every request with what it received, to show what the edge passed on."""

    protocol_version = "HTTP/1.1"
    server_version = "certedge-demo"

    def do_GET(self) -> None:
        shown = ("Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded")
        facts = [f"{name}: {self.headers[name]}" for name in shown if name in self.headers]
        body = "\n".join(
            ["The web server behind the edge received:", f"{self.command} {self.path}", *facts, ""]
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  the base class looks for this name

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Log nothing: the edge's access log tells more."""


class MailHandler(socketserver.StreamRequestHandler):
    """Answers line by line until an answer ends the session."""

    greeting: ClassVar[str]

    def handle(self) -> None:
        try:
            self._send(self.greeting)
            while line := self.rfile.readline(LINE_LIMIT):
                answer, is_last = self.answer(line.decode("latin-1").strip())
                self._send(answer)
                if is_last:
                    return
        except ConnectionError:
            return  # the client went away, which is normal here

    def answer(self, line: str) -> tuple[str, bool]:
        """The lines of the answer, and whether it ends the session."""
        raise NotImplementedError

    def _send(self, text: str) -> None:
        self.wfile.write(text.replace("\n", "\r\n").encode() + b"\r\n")


class ImapHandler(MailHandler):
    greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] certedge demo IMAP"

    def answer(self, line: str) -> tuple[str, bool]:
        tag, _, rest = line.partition(" ")
        match rest.partition(" ")[0].upper():
            case "CAPABILITY":
                return f"* CAPABILITY IMAP4rev1 AUTH=PLAIN\n{tag} OK done", False
            case "LOGOUT":
                return f"* BYE goodbye\n{tag} OK done", True
            case "NOOP" | "LOGIN":
                return f"{tag} OK done", False
            case _:
                return f"{tag or '*'} BAD the demo's server knows CAPABILITY, LOGIN, NOOP and LOGOUT", False


class SmtpHandler(MailHandler):
    greeting = "220 certedge demo SMTP"

    def answer(self, line: str) -> tuple[str, bool]:
        match line.partition(" ")[0].upper():
            case "EHLO":
                return "250-certedge demo\n250-AUTH PLAIN\n250 8BITMIME", False
            case "HELO" | "NOOP" | "RSET":
                return "250 done", False
            case "QUIT":
                return "221 goodbye", True
            case _:
                return "502 the demo's server knows EHLO, NOOP, RSET and QUIT", False


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False  # an open connection must not delay the end of the demo

    def handle_error(self, request: object, client_address: object) -> None:
        """Report anything but a client that went away, which is normal."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Ports(NamedTuple):
    web: int
    imap: int
    smtp: int


@contextmanager
def stand_ins() -> Iterator[Ports]:
    """Run the three servers on free ports."""
    servers = [Server(("127.0.0.1", 0), handler) for handler in (WebHandler, ImapHandler, SmtpHandler)]
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    try:
        yield Ports(*(server.socket.getsockname()[1] for server in servers))
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
