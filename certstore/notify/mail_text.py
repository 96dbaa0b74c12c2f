"""From a mail that is due to a message that can be sent: templates filled, text and HTML beside each other.

The words are `model.wording`'s, the form the templates', which an administrator may replace one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import jinja2

from certstore.model.notify.due_notices import Notice, NoticeKind
from certstore.model.notify.warnings import MatterKind
from certstore.model.notify.wording import describe, instant, subject_of

SHOWN_SITES = 200
"""More in one mail help nobody; the rest is counted."""
OWN_TEMPLATES = Path(__file__).parent / "templates"


class MailTexts:
    """`edge` is what this install is called in mails; `folder` may hold templates that replace ours."""

    def __init__(self, edge: str, folder: Path | None = None) -> None:
        self._edge = edge
        folders = [str(each) for each in (folder, OWN_TEMPLATES) if each is not None]
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=jinja2.select_autoescape(("html",), default=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=False,
            keep_trailing_newline=True,
        )

    def warning(self, mail: Notice, now: datetime) -> tuple[str, str, str]:
        """Subject, text, HTML. Raises jinja2.TemplateError for a template of the administrator's that is at fault."""
        if mail.kind is NoticeKind.RESOLVED:
            return self._filled("resolved", subject_of(mail, now), {"hosts": mail.resolved})
        matters = [matter for matter in mail.matters if matter.kind is not MatterKind.STALLED]
        still = next((matter for matter in mail.matters if matter.kind is MatterKind.STALLED), None)
        facts = {
            "items": [describe(matter, now) for matter in matters[:SHOWN_SITES]],
            "more": max(len(matters) - SHOWN_SITES, 0),
            "stalled": instant(still.since, now) if still is not None else "",
        }
        return self._filled("warning", subject_of(mail, now), facts)

    def test(self) -> tuple[str, str, str]:
        return self._filled("test", "Test of certificate warnings", {})

    def _filled(self, name: str, subject: str, facts: Mapping[str, Any]) -> tuple[str, str, str]:
        subject = f"[{self._edge}] {subject}"
        given = {**facts, "edge": self._edge, "subject": subject}
        text = self._templates.get_template(f"{name}.txt").render(given)
        html = self._templates.get_template(f"{name}.html").render(given)
        return subject, text, html


def build_message(
    texts: tuple[str, str, str], *, sender: str, recipient: str, message_id: str, now: datetime
) -> EmailMessage:
    """Marked as automatic (RFC 3834), so that no vacation answer comes back."""
    subject, text, html = texts
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = " ".join(subject.split())
    message["Date"] = format_datetime(now)
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message
