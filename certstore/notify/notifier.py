"""Mails about certificates: on a thread of its own, so that a mail server that is down never holds a renewal up.

Each round plans what is due, hands it to the server, and writes down what was told the moment the server took it: a
kill in between sends a mail twice at the most, with the same Message-ID. That the maintenance loop stands still is one
of the matters: this thread does not depend on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import make_msgid, parseaddr
from pathlib import Path

from certstore.files.keyed_state import KeyedState
from certstore.model.layout import Layout
from certstore.model.notify.due_mails import Mail, Told, plan_mails
from certstore.model.notify.warnings import Matter
from certstore.model.settings.models import NotifySettings
from certstore.notify.mail_text import MailTexts, build_message
from certstore.notify.smtp import MailServerFailed, Refused, deliver

logger = logging.getLogger(__name__)

ROUND_SECONDS = 30.0
_RETRIES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=30))
_REFUSED_AGAIN = timedelta(hours=6)

Matters = Callable[[datetime], Sequence[tuple[Matter, tuple[str, ...]]]]


class Notifier:
    """`matters` says what there is to warn of, with the contacts of each site. `problem` is why mail does not go out
    now, for status and metrics."""

    def __init__(
        self,
        settings: NotifySettings,
        base: Path,
        layout: Layout,
        matters: Matters,
        *,
        edge: str,
        clock: Callable[[], datetime],
    ) -> None:
        self.problem: str | None = None
        self._settings = settings
        self._base = base
        self._matters = matters
        self._edge = edge
        self._clock = clock
        self._texts = MailTexts(edge, base / settings.templates if settings.templates is not None else None)
        self._kept = KeyedState(layout.mails, layout.temporary)
        self._told = {recipient: _told(facts) for recipient, facts in self._kept.items()}
        self._failures = 0
        self._not_before: datetime | None = None
        self._refused: dict[str, datetime] = {}
        self._lost: set[str] = set()
        """Recipients whose mails cost the connection at the last try."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    @property
    def sender(self) -> str:
        return self._settings.sender or f"certedge@{self._edge}"

    @property
    def is_possible(self) -> bool:
        return self._settings.smtp is not None

    def start(self) -> None:
        if not self.is_possible:
            logger.info("notify.smtp is not set: nobody is warned by mail before a certificate ends")
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(ROUND_SECONDS)
        self._kept.close()

    def _run(self) -> None:
        while not self._stopping.wait(ROUND_SECONDS):
            try:
                self.round()
            except Exception:
                # A fault in one mail must not end all later ones.
                logger.exception("a round of mails failed")

    def round(self) -> None:
        """Send what is due now; nothing while the server is given time to come back."""
        now = self._clock()
        # Bounded, as a clock that was set back must not keep mails waiting for a date that it showed.
        if not self.is_possible or (
            self._not_before is not None and timedelta() < self._not_before - now <= _RETRIES[-1]
        ):
            return
        matters = [(matter, {*self._settings.to, *contacts}) for matter, contacts in self._matters(now)]
        mails = [mail for mail in plan_mails(matters, self._told, now) if self._refused.get(mail.recipient, now) <= now]
        if mails:
            # Should the server not take another connection, those that cost the last one must not be the first again.
            self._send(sorted(mails, key=lambda mail: mail.recipient in self._lost), now)

    def send_test(self, recipients: Sequence[str] = ()) -> list[Refused]:
        """To everybody in notify.to, or to these. Raises MailServerFailed."""
        now = self._clock()
        try:
            texts = self._texts.test()
        except Exception as error:
            if self._settings.templates is None:
                raise
            # Warnings fall back to our own templates; a test is there to show what is at fault.
            found = f"a template in notify.templates {self._settings.templates} can't be used"
            raise MailServerFailed(f"{found}: {type(error).__name__}: {error}") from error
        messages = [
            build_message(
                texts,
                sender=self.sender,
                recipient=recipient,
                message_id=make_msgid(domain=self._domain),
                now=now,
            )
            for recipient in recipients or self._settings.to
        ]
        return self._deliver(messages, lambda message: None)

    @property
    def _domain(self) -> str:
        return parseaddr(self.sender)[1].rpartition("@")[2] or self._edge

    def _send(self, mails: Sequence[Mail], now: datetime) -> None:
        built = self._built(mails, now)
        messages = {message["Message-ID"]: (mail, message) for mail, message in built}

        def taken(message: EmailMessage) -> None:
            mail, _ = messages[message["Message-ID"]]
            self._note(mail)
            logger.info("mail to %s: %s", mail.recipient, message["Subject"])

        try:
            refused = self._deliver([message for _, message in built], taken)
        except MailServerFailed as failed:
            self._lost = set(failed.lost)
            self._note_refused(failed.refused, now)
            self._failures += 1
            wait = _RETRIES[min(self._failures, len(_RETRIES)) - 1]
            self._not_before = now + wait
            self.problem = str(failed)
            logger.error("mails wait: %s; next try in %d minutes", failed, wait // timedelta(minutes=1))
            return
        self._failures, self._not_before, self.problem = 0, None, None
        self._lost.clear()
        self._note_refused(refused, now)

    def _note_refused(self, refused: Sequence[Refused], now: datetime) -> None:
        for each in refused:
            self._refused[each.recipient] = now + _REFUSED_AGAIN
            self.problem = f"a mail to {each.recipient} is refused: {each.reason}"
            logger.error("%s", self.problem)

    def _built(self, mails: Sequence[Mail], now: datetime) -> list[tuple[Mail, EmailMessage]]:
        built = []
        for mail in mails:
            try:
                texts = self._texts.warning(mail, now)
            except Exception:
                # A template is a program: not only jinja2's own errors come out of one, nor is each one in UTF-8.
                # A warning in our words is better than none in the administrator's.
                logger.exception("a template in %s can't be used; ours is", self._settings.templates)
                texts = MailTexts(self._edge).warning(mail, now)
            message_id = mail.message_id(self._domain)
            message = build_message(texts, sender=self.sender, recipient=mail.recipient, message_id=message_id, now=now)
            built.append((mail, message))
        return built

    def _deliver(self, messages: Sequence[EmailMessage], taken: Callable[[EmailMessage], None]) -> list[Refused]:
        smtp = self._settings.smtp
        if smtp is None:
            raise MailServerFailed("notify.smtp is not set in edge.yaml")
        return deliver(smtp, self._base, messages, taken=taken)

    def _note(self, mail: Mail) -> None:
        """In memory first: even on a full disk nobody gets the same mail again while this process lives."""
        self._told[mail.recipient] = mail.told
        try:
            self._kept.put(mail.recipient, mail.told.to_json())
        except OSError as error:
            logger.error("what %s was told can't be written down: %s", mail.recipient, error.strerror)


def _told(facts: Mapping[str, object]) -> Told:
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        return Told.from_json(facts)
    return Told.nothing()
