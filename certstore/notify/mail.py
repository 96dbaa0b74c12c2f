"""The mail channel: turns notices into messages, which `smtp` delivers to the mail server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from pathlib import Path

from certstore.model.notify.due_notices import Notice
from certstore.model.settings.models import NotifySettings, SmtpSettings
from certstore.notify.channel import ChannelFailed, Refused
from certstore.notify.mail_text import MailTexts, Texts
from certstore.notify.smtp import deliver

logger = logging.getLogger(__name__)


class MailChannel:
    """Mails to everybody in notify.to and to the contacts of each site."""

    name = "mail"

    def __init__(self, smtp: SmtpSettings, settings: NotifySettings, base: Path, edge: str) -> None:
        self._smtp = smtp
        self._settings = settings
        self._base = base
        self._edge = edge
        self._sender = settings.sender or f"certedge@{edge}"
        self._domain = parseaddr(self._sender)[1].rpartition("@")[2] or edge
        self._texts = MailTexts(
            edge, base / settings.templates if settings.templates is not None else None, settings.to
        )

    def recipients(self, contacts: Collection[str]) -> Collection[str]:
        return dict.fromkeys((*self._settings.to, *contacts))

    def serves(self, recipient: str) -> bool:
        return "@" in recipient

    def deliver(
        self, notices: Sequence[Notice], now: datetime, delivered: Callable[[Notice], None]
    ) -> Sequence[Refused]:
        by_id = {f"<{notice.id_of(self._edge)}@{self._domain}>": notice for notice in notices}
        messages = [
            self._message(self._texts_of(notice, now), notice.recipient, id_, now) for id_, notice in by_id.items()
        ]
        return deliver(
            self._smtp, self._base, messages, accepted=lambda message: delivered(by_id[message["Message-ID"]])
        )

    def test(self, recipients: Sequence[str], now: datetime) -> Sequence[Refused]:
        try:
            texts = self._texts.test()
        except Exception as error:
            if self._settings.templates is None:
                raise
            # Warnings fall back to the built-in templates; a test must show the fault.
            found = f"a template in notify.templates {self._settings.templates} can't be used"
            raise ChannelFailed(f"{found}: {type(error).__name__}: {error}") from error
        messages = [self._message(texts, recipient, make_msgid(domain=self._domain), now) for recipient in recipients]
        return deliver(self._smtp, self._base, messages)

    def _message(self, texts: Texts, recipient: str, message_id: str, now: datetime) -> EmailMessage:
        """Marked as automatic (RFC 3834), so that no vacation reply comes back."""
        subject, text, html = texts
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = " ".join(subject.split())
        message["Date"] = format_datetime(now)
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        return message

    def _texts_of(self, notice: Notice, now: datetime) -> Texts:
        try:
            return self._texts.warning(notice, now)
        except Exception:
            # A template is a program: it can raise anything, and it may not even be UTF-8. A warning in our words is
            # better than no warning.
            logger.exception("can't use a template in %s; using the built-in ones", self._settings.templates)
            return MailTexts(self._edge, administrators=self._settings.to).warning(notice, now)
