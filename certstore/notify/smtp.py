"""Delivers messages to the mail server of the settings: over verified STARTTLS or TLS, with a login if one is set.

Keeps no state: `deliver` reports for each message whether the server accepted it. The password is read from its file
when needed and never shown.
"""

from __future__ import annotations

import contextlib
import os
import smtplib
import socket
import threading
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from certstore.model.settings.models import SmtpSettings
from certstore.net.tls_client import verifying_context
from certstore.notify.channel import ChannelFailed, Refused, read_secret

TIMEOUT_SECONDS = 30.0
CONVERSATION_SECONDS = 600.0
"""For one connection. The timeout above is for each read: a server that sends a byte now and then, or endless lines,
could block all mails. The remaining messages go over the next connection."""
LOST_AT_MOST = 3
"""Messages that may break a connection before the rest waits: by then the server is at fault, and each may time out."""

_ONE_MESSAGE = (
    smtplib.SMTPRecipientsRefused,
    smtplib.SMTPSenderRefused,
    smtplib.SMTPDataError,
    smtplib.SMTPNotSupportedError,
)
"""Errors that concern one message only; the last one is raised for an address that needs SMTPUTF8."""


def deliver(
    smtp: SmtpSettings,
    base: Path,
    messages: Sequence[EmailMessage],
    *,
    accepted: Callable[[EmailMessage], None] = lambda message: None,
) -> list[Refused]:
    """Send each message; `accepted` is called as soon as the server has answered 250, before anything else.

    A message that breaks the connection does not hold back later ones: they go over a new connection. Raises
    ChannelFailed if there was such a message, or if no connection can be made.
    """
    place = f"the mail server {smtp.host}:{smtp.port}"
    refused: list[Refused] = []
    lost: list[Refused] = []
    server: smtplib.SMTP | None = None
    try:
        for message in messages:
            if len(lost) == LOST_AT_MOST:
                break
            if server is None:
                server = _open(smtp, base, place)
            reason = _offer(server, message)
            if reason is None:
                accepted(message)
                continue
            is_lost = server.sock is None
            (lost if is_lost else refused).append(Refused(str(message["To"]), reason))
            if is_lost or not _is_reset(server):
                _leave(server)
                server = None
    except ChannelFailed as failed:
        raise _with(failed, lost, refused) from None
    finally:
        if server is not None:
            _leave(server)
    if lost:
        raise _with(ChannelFailed(f"{place}: {lost[-1].reason}"), lost, refused)
    return refused


def _with(failed: ChannelFailed, lost: Sequence[Refused], refused: Sequence[Refused]) -> ChannelFailed:
    failed.lost, failed.refused = tuple(each.recipient for each in lost), tuple(refused)
    return failed


def _open(smtp: SmtpSettings, base: Path, place: str) -> smtplib.SMTP:
    server: smtplib.SMTP | None = None
    try:
        server = _connect(smtp)
        _prepare(server, smtp, base, place)
    except BaseException as error:
        if server is not None:
            _leave(server)
        if isinstance(error, (OSError, smtplib.SMTPException)):
            raise ChannelFailed(f"{place}: {_words(error)}") from None
        raise
    return server


def _offer(server: smtplib.SMTP, message: EmailMessage) -> str | None:
    """Why the message was not accepted; None if it was. The connection is closed if the message broke it."""
    try:
        server.send_message(message)
    except _ONE_MESSAGE as error:
        return _words(error)  # after 421 the library has closed the connection (RFC 5321 §3.8)
    except (OSError, smtplib.SMTPException) as error:
        server.close()
        return _words(error)
    return None


def _leave(server: smtplib.SMTP) -> None:
    """Accepted messages stay accepted, even if the server does not answer QUIT."""
    with contextlib.suppress(OSError, smtplib.SMTPException):
        server.quit()
    server.close()


def _connect(smtp: SmtpSettings) -> smtplib.SMTP:
    if smtp.security == "tls":
        return _BoundedTls(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS, context=verifying_context())
    return _Bounded(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS)


class _Bounded(smtplib.SMTP):
    """Shuts its connection down after CONVERSATION_SECONDS; a blocked read then returns."""

    _end: threading.Timer | None = None

    def connect(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        try:
            return super().connect(*args, **kwargs)
        except BaseException:
            self._stop()
            raise

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # The library's name: it allows overriding, and reads the greeting right afterwards.
        connected: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        # A second descriptor of the same connection, because STARTTLS replaces the first socket object.
        self._own = socket.socket(fileno=os.dup(connected.fileno()))
        self._end = threading.Timer(CONVERSATION_SECONDS, _shut_down, (self._own,))
        self._end.name, self._end.daemon = "mail-deadline", True
        self._end.start()
        return connected

    def close(self) -> None:
        super().close()
        self._stop()

    def _stop(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end.join()
            self._own.close()
            self._end = None


class _BoundedTls(smtplib.SMTP_SSL, _Bounded):
    pass


def _shut_down(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _prepare(server: smtplib.SMTP, smtp: SmtpSettings, base: Path, place: str) -> None:
    server.ehlo_or_helo_if_needed()
    if smtp.security == "starttls":
        if not server.has_extn("starttls"):
            raise ChannelFailed(f"{place} does not offer STARTTLS, which notify.smtp.security requires")
        server.starttls(context=verifying_context())
        server.ehlo()
    if smtp.username is None:
        return
    if smtp.security == "none" and smtp.host not in ("localhost", "127.0.0.1", "::1"):
        raise ChannelFailed(f"{place}: certedge does not send a password without TLS; set notify.smtp.security")
    server.login(smtp.username, _password(smtp, base))


def _password(smtp: SmtpSettings, base: Path) -> str:
    if smtp.password_file is None:
        raise ChannelFailed("notify.smtp.username is set, but notify.smtp.password_file is not")
    lines = read_secret("notify.smtp.password_file", base / smtp.password_file).splitlines()
    return lines[0] if lines else ""


def _is_reset(server: smtplib.SMTP) -> bool:
    """Whether the connection can be used for another message."""
    try:
        return server.rset()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def _words(error: Exception) -> str:
    """The server's answer, bounded; the library's exceptions hold it as bytes."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            codes = [f"{code} {_text(answer)}" for code, answer in error.recipients.values()]
            return "; ".join(codes)[:300]
        case smtplib.SMTPAuthenticationError():
            return f"the server refused the login ({error.smtp_code})"
        case smtplib.SMTPResponseException():
            return f"{error.smtp_code} {_text(error.smtp_error)}"[:300]
        case OSError() if error.strerror:
            return error.strerror
    return (str(error) or type(error).__name__)[:300]


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return " ".join(text.split())
