"""Mails as templates fill them. Templates of an administrator that fail are tested in `test_notifier`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.notify.due_notices import Notice, NoticeKind, Told
from certstore.model.notify.warnings import Matter, MatterKind, stalled
from certstore.notify.mail_text import MailTexts

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
EXPIRING = Matter(
    "a", MatterKind.EXPIRING, "x", NOW - timedelta(days=1), ("a.test",), not_after=NOW + timedelta(days=4)
)
WARNING = Notice("you@example.org", NoticeKind.DAILY, NOW.date(), (EXPIRING,), (), Told.nothing())
RESOLVED = replace(WARNING, kind=NoticeKind.RESOLVED, matters=(), resolved=("a.test", "b.test"))
STALLED = replace(WARNING, matters=(stalled(NOW - timedelta(hours=1)),))


@pytest.mark.parametrize(
    ("notice", "subject", "words"),
    [
        pytest.param(WARNING, "expires in", ("a.test", "certedge status"), id="a warning"),
        pytest.param(RESOLVED, "resolved", ("a.test", "b.test", "You don't need to do anything"), id="resolved"),
        pytest.param(STALLED, "has stopped", ("has not completed a round since",), id="the loop has stopped"),
    ],
)
def test_text_and_html_say_the_same(notice: Notice, subject: str, words: tuple[str, ...]) -> None:
    title, *texts = MailTexts("edge.test").warning(notice, NOW)
    assert title.startswith("[edge.test] ")
    assert subject in title
    for text in texts:
        for each in ("edge.test", *words):
            assert each in text.replace("&#39;", "'")


@pytest.mark.parametrize("notice", [WARNING, RESOLVED], ids=["a warning", "resolved"])
def test_mail_says_who_asked_for_it(notice: Notice) -> None:
    for each in MailTexts("edge.test").warning(notice, NOW)[1:]:
        assert "whoever manages a.test" in each
        assert "named your address as a contact" in each
    for each in MailTexts("edge.test", administrators=["you@example.org"]).warning(notice, NOW)[1:]:
        assert "notify.to in its settings names your address" in each
        assert "whoever" not in each
    assert all("an administrator there asked" in each for each in MailTexts("edge.test").test()[1:])


def test_what_strangers_name_stays_within_its_line() -> None:
    nasty = "a\x1b[2J\r\nBcc: x@y.test\u202e" + "z" * 9000
    for each in MailTexts("edge.test").warning(replace(RESOLVED, resolved=(nasty,)), NOW):
        assert not [letter for letter in each if not letter.isprintable() and letter != "\n"]
        assert not any(line.startswith("Bcc:") for line in each.splitlines())
        assert len(each) < 9000


def test_only_html_is_escaped() -> None:
    _, text, html = MailTexts("edge.test").warning(replace(RESOLVED, resolved=("<b>",)), NOW)
    assert "<b>" in text
    assert "<b>" not in html
    assert "&lt;b&gt;" in html


def test_test_mail_names_the_server() -> None:
    assert all("edge.test" in each for each in MailTexts("edge.test").test())


def test_template_in_the_folder_replaces_one_and_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("{{ edge }}: call the help desk\n")
    subject, text, html = MailTexts("edge.test", tmp_path).test()
    assert text == "edge.test: call the help desk\n"
    assert (subject, html) == MailTexts("edge.test").test()[::2]
