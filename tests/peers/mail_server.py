"""A real SMTP server in this process (aiosmtpd), with optional STARTTLS and login; it keeps the accepted messages.

with MailServer(folder) as server:
    server.settings(...), server.messages, server.refuse = {"nobody@example.org"}; server.after_data = callable
"""

from __future__ import annotations

import email
import email.policy
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.certificates import CertificateAuthority
from tests.ports import free_port

USER, PASSWORD = "warnings", "correct horse"


class MailServer:
    """`host` is `localhost`, whose certificate leads to `ca_file`. `after_data` runs before the 250 is sent."""

    def __init__(self, folder: Path, *, security: str = "starttls", login: bool = True) -> None:
        self.messages: list[EmailMessage] = []
        self.refuse: set[str] = set()
        self.drop: set[str] = set()
        """For these it answers 421 and closes the connection."""
        self.after_data: Callable[[EmailMessage], None] = lambda message: None
        self.takes_utf8 = True
        """Whether it offers SMTPUTF8, from the next start on."""
        self.security = security
        self.login = login
        self.port = free_port()
        authority = CertificateAuthority("Mail")
        self.ca_file = folder / "mail-ca.pem"
        self.ca_file.write_bytes(authority.root_pem)
        (folder / "mail.pem").write_bytes(authority.issue("localhost").combined_pem)
        self.password_file = folder / "mail-password"
        self.password_file.write_text(PASSWORD + "\n")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "mail.pem")
        self._controller: Controller | None = None

    def settings(self, **changes: Any) -> dict[str, Any]:
        """`notify` of edge.yaml."""
        smtp: dict[str, Any] = {"host": "localhost", "port": self.port, "security": self.security}
        if self.login:
            smtp |= {"username": USER, "password_file": str(self.password_file)}
        return {"smtp": smtp | changes, "from": "Edge <edge@example.org>", "to": ["admin@example.org"]}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        options: dict[str, Any] = {"hostname": "localhost", "port": self.port, "enable_SMTPUTF8": self.takes_utf8}
        if self.security == "starttls":
            options |= {"tls_context": self._context, "require_starttls": True}
        elif self.security == "tls":
            options |= {"ssl_context": self._context}
        if self.login:
            options |= {
                "authenticator": _authenticate,
                "auth_required": True,
                "auth_require_tls": self.security == "starttls",
            }
        self._controller = Controller(self, **options)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_RCPT(  # noqa: N802  aiosmtpd looks for this name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address in self.drop:
            await server.push("421 4.3.2 come back later")
            server.transport.close()
            return "421 4.3.2 gone"
        if address in self.refuse:
            return "550 5.1.1 there is nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd looks for this name
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.after_data(message)
        return "250 OK"


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=is_right)
