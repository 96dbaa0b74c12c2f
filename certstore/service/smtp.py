"""Hands messages to the mail server of the settings: STARTTLS or TLS, verified, with a login where there is one.

`deliver` says of each message whether the server took it; nothing else is kept here. The password is read from its file
when it is needed and never shown.
"""

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from certstore.model.settings import SmtpSettings
from certstore.trust import verifying_context

TIMEOUT_SECONDS = 30.0


_ONE_MESSAGE = (
    smtplib.SMTPRecipientsRefused,
    smtplib.SMTPSenderRefused,
    smtplib.SMTPDataError,
    smtplib.SMTPNotSupportedError,
)
"""What concerns one message alone; the last one is raised for an address that needs SMTPUTF8."""


class MailServerFailed(Exception):
    """No message could be handed over; the message says what was attempted and what came back."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server took this message not; others may have gone."""

    recipient: str
    reason: str


def deliver(
    smtp: SmtpSettings, base: Path, messages: Sequence[EmailMessage], *, taken: Callable[[EmailMessage], None]
) -> list[Refused]:
    """Send each message; `taken` is called the moment the server has said 250 to it, before anything else is done.

    Raises MailServerFailed, when it never came to a message or the connection was lost in between.
    """
    place = f"the mail server {smtp.host}:{smtp.port}"
    refused = []
    try:
        server = _connect(smtp)
    except (OSError, smtplib.SMTPException) as error:
        raise MailServerFailed(f"{place}: {_words(error)}") from None
    try:
        _prepare(server, smtp, base, place)
        for message in messages:
            try:
                server.send_message(message)
            except _ONE_MESSAGE as error:
                refused.append(Refused(str(message["To"]), _words(error)))
                _reset(server)
                continue
            taken(message)
    except (OSError, smtplib.SMTPException) as error:
        raise MailServerFailed(f"{place}: {_words(error)}") from None
    finally:
        # What was taken is taken; a server that does not say goodbye changes nothing about it.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            server.quit()
        server.close()
    return refused


def _connect(smtp: SmtpSettings) -> smtplib.SMTP:
    if smtp.security == "tls":
        return smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS, context=verifying_context())
    return smtplib.SMTP(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS)


def _prepare(server: smtplib.SMTP, smtp: SmtpSettings, base: Path, place: str) -> None:
    server.ehlo_or_helo_if_needed()
    if smtp.security == "starttls":
        if not server.has_extn("starttls"):
            raise MailServerFailed(f"{place} offers no STARTTLS, and notify.smtp.security asks for it")
        server.starttls(context=verifying_context())
        server.ehlo()
    if smtp.username is None:
        return
    if smtp.security == "none" and smtp.host not in ("localhost", "127.0.0.1", "::1"):
        raise MailServerFailed(f"{place}: a password is not sent without TLS; set notify.smtp.security")
    server.login(smtp.username, _password(smtp, base))


def _password(smtp: SmtpSettings, base: Path) -> str:
    if smtp.password_file is None:
        raise MailServerFailed("notify.smtp.username is set and notify.smtp.password_file is not")
    path = base / smtp.password_file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise MailServerFailed(f"notify.smtp.password_file {path}: {reason}") from None
    return lines[0] if lines else ""


def _reset(server: smtplib.SMTP) -> None:
    with contextlib.suppress(smtplib.SMTPException):
        server.rset()


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
