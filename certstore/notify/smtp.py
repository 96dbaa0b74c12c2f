"""Hands messages to the mail server of the settings: STARTTLS or TLS, verified, with a login where there is one.

`deliver` says of each message whether the server took it; nothing else is kept here. The password is read from its file
when it is needed and never shown.
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
from certstore.notify.channel import ChannelFailed, Refused

TIMEOUT_SECONDS = 30.0
CONVERSATION_SECONDS = 600.0
"""Of one connection. The time-out above is for each read: a server that sends a byte now and then, or lines without
end, would hold up all mails for ever. Messages that are left go over the next connection."""
LOST_AT_MOST = 3
"""Messages that may cost a connection until the rest waits: it is then the server, and each may take a time-out."""


_ONE_MESSAGE = (
    smtplib.SMTPRecipientsRefused,
    smtplib.SMTPSenderRefused,
    smtplib.SMTPDataError,
    smtplib.SMTPNotSupportedError,
)
"""What concerns one message alone; the last one is raised for an address that needs SMTPUTF8."""


def deliver(
    smtp: SmtpSettings,
    base: Path,
    messages: Sequence[EmailMessage],
    *,
    accepted: Callable[[EmailMessage], None] = lambda message: None,
) -> list[Refused]:
    """Send each message; `accepted` is called the moment the server has answered 250, before anything else is done.

    A message that costs the connection does not hold back the ones behind it: they go over a new one. Raises
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
    try:
        server = _connect(smtp)
    except (OSError, smtplib.SMTPException) as error:
        raise ChannelFailed(f"{place}: {_words(error)}") from None
    try:
        _prepare(server, smtp, base, place)
    except BaseException as error:
        _leave(server)
        if isinstance(error, (OSError, smtplib.SMTPException)):
            raise ChannelFailed(f"{place}: {_words(error)}") from None
        raise
    return server


def _offer(server: smtplib.SMTP, message: EmailMessage) -> str | None:
    """Why the message was not taken; None when it was. Closed is the connection when it was lost over it."""
    try:
        server.send_message(message)
    except _ONE_MESSAGE as error:
        return _words(error)  # at 421 the library has closed the connection (RFC 5321 §3.8)
    except (OSError, smtplib.SMTPException) as error:
        server.close()
        return _words(error)
    return None


def _leave(server: smtplib.SMTP) -> None:
    """What was taken is taken; a server that does not say goodbye changes nothing about it."""
    with contextlib.suppress(OSError, smtplib.SMTPException):
        server.quit()
    server.close()


def _connect(smtp: SmtpSettings) -> smtplib.SMTP:
    if smtp.security == "tls":
        return _BoundedTls(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS, context=verifying_context())
    return _Bounded(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS)


class _Bounded(smtplib.SMTP):
    """Shuts its connection down once its time is over; a blocked read then returns."""

    _end: threading.Timer | None = None

    def connect(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        try:
            return super().connect(*args, **kwargs)
        except BaseException:
            self._stop()
            raise

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # Named so by the library, which lets it be overridden and reads the greeting right after it.
        connected: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        # A second descriptor of the same connection: STARTTLS puts another object in the first one's place.
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
            raise ChannelFailed(f"{place} offers no STARTTLS, and notify.smtp.security asks for it")
        server.starttls(context=verifying_context())
        server.ehlo()
    if smtp.username is None:
        return
    if smtp.security == "none" and smtp.host not in ("localhost", "127.0.0.1", "::1"):
        raise ChannelFailed(f"{place}: a password is not sent without TLS; set notify.smtp.security")
    server.login(smtp.username, _password(smtp, base))


def _password(smtp: SmtpSettings, base: Path) -> str:
    if smtp.password_file is None:
        raise ChannelFailed("notify.smtp.username is set and notify.smtp.password_file is not")
    path = base / smtp.password_file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ChannelFailed(f"notify.smtp.password_file {path}: {reason}") from None
    return lines[0] if lines else ""


def _is_reset(server: smtplib.SMTP) -> bool:
    """Whether the connection is good for another message."""
    try:
        return server.rset()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def _words(error: Exception) -> str:
    """The server's own words, bounded; the library's exceptions hold them as bytes."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            codes = [f"{code} {_text(answer)}" for code, answer in error.recipients.values()]
            return "; ".join(codes)[:300]
        case smtplib.SMTPAuthenticationError():
            return f"the login is refused ({error.smtp_code})"
        case smtplib.SMTPResponseException():
            return f"{error.smtp_code} {_text(error.smtp_error)}"[:300]
        case OSError() if error.strerror:
            return error.strerror
    return (str(error) or type(error).__name__)[:300]


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return " ".join(text.split())
