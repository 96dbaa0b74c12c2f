"""Fills the templates of a mail, in text and in HTML.

The words come from `model.notify.wording`, the form from the templates; an administrator may replace each template.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

from certstore.model.notify.due_notices import Notice, NoticeKind
from certstore.model.notify.wording import (
    TEST_SUBJECT,
    asked_by,
    describe_problems,
    describe_sites,
    instant,
    subject_of,
)
from certstore.model.text import shown

OWN_TEMPLATES = Path(__file__).parent / "templates"

_LONGEST = 2000
"""A site may have a hundred names."""

type Texts = tuple[str, str, str]
"""Subject, text, HTML."""


def _quoted(value: object) -> object:
    """Names and other servers' words stay within their line, whatever is in them."""
    return shown(value, _LONGEST) if isinstance(value, str) and not hasattr(value, "__html__") else value


class MailTexts:
    """`edge` is the name of this server in mails; templates in `folder` replace the built-in ones. `administrators` are
    the recipients whom the server's settings name."""

    def __init__(self, edge: str, folder: Path | None = None, administrators: Collection[str] = ()) -> None:
        self._edge = edge
        self._administrators = administrators
        folders = [str(each) for each in (folder, OWN_TEMPLATES) if each is not None]
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=jinja2.select_autoescape(("html",), default=False),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            finalize=_quoted,
        )

    def warning(self, notice: Notice, now: datetime) -> Texts:
        """Raises any exception for a faulty template of the administrator's."""
        subject, asked_for = subject_of(notice, now), asked_by(notice, self._administrators)
        if notice.node:
            subject = f"{notice.node}: {subject}"
        if notice.kind is NoticeKind.RESOLVED:
            solved = {"hosts": notice.resolved, "problems": notice.resolved_problems, "node": notice.node}
            return self._filled("resolved", subject, {**solved, "asked_by": asked_for})
        sites, more = describe_sites(notice, now)
        stalled = instant(notice.stalled_since, now)
        items = [item for _, item in sites]
        problems, more_problems = describe_problems(notice, now)
        facts = {
            "items": items,
            "more": more,
            "problems": [item for _, item in problems],
            "more_problems": more_problems,
            "node": notice.node,
            "stalled": stalled,
            "asked_by": asked_for,
        }
        return self._filled("warning", subject, facts)

    def test(self) -> Texts:
        return self._filled("test", TEST_SUBJECT, {})

    def _filled(self, name: str, subject: str, facts: Mapping[str, Any]) -> Texts:
        subject = f"[{self._edge}] {subject}"
        given = {**facts, "edge": self._edge, "subject": subject}
        text = self._templates.get_template(f"{name}.txt").render(given)
        html = self._templates.get_template(f"{name}.html").render(given)
        return subject, text, html
