"""Entries of the audit log: every field is cut and printable, and a flood of one actor is summed up."""

import logging
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.people.audit import Audit
from certstore.people.audit_quota import REFUSED_MOST
from tests.certstore.renewal.scene import Clock

NASTY = "a\x1b[2Jb\r\nFAKE entry\u202e" + "x" * 5000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def audit(tmp_path: Path, clock: Clock) -> Audit:
    layout = Layout(tmp_path)
    layout.admin.mkdir(parents=True)
    return Audit(layout, clock)


@pytest.mark.parametrize("field", ["who", "address", "action", "site", "outcome", "detail"])
def test_every_field_is_cut_and_printable(audit: Audit, field: str) -> None:
    given = {"who": "nobody", "address": "::1", "action": "sign_in", "site": "a.test", "outcome": "refused"}
    audit.note(**(given | {"detail": ""} | {field: NASTY}))
    (entry,), _ = audit.page(None, 10)
    for value in entry.values():
        assert value is None or (value.isprintable() and len(value) <= 401)
    assert sum(map(len, audit.export())) < 4000


def test_a_flood_is_summed_up_and_hides_nothing(audit: Audit, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for number in range(REFUSED_MOST + 1000):
            audit.note("nobody", "192.0.2.1", "sign_in", None, "refused", f"try {number}")
    assert len(caplog.records) == 1
    audit.note("user anna", "192.0.2.2", "site.remove", "a.test", "done")
    clock.forward(hours=1)
    audit.note("user anna", "192.0.2.2", "sign_out", None, "done")
    entries, _ = audit.page(None, 10_000)
    assert len(entries) == REFUSED_MOST + 1 + 1 + 1 + 1
    texts = [entry["detail"] for entry in entries]
    assert sum("999 more like this one" in text for text in texts) == 1
    assert sum("too many entries" in text for text in texts) == 1
    assert [entry["action"] for entry in entries if entry["who"] == "user anna"] == ["sign_out", "site.remove"]
