"""Where files lie is an interface: people, other programs and earlier versions of the store rely on it."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from certstore.model import layout
from certstore.model.layout import Layout

ROOT = Path("/s")
HERE = Layout(ROOT)
TOKEN = "x" * 16


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (HERE.drop_folder("a.test"), "domains/a.test"),
        (HERE.drop_folder("main"), "main"),
        (HERE.drop_file("a.test"), "domains/a.test.pem"),
        (HERE.drop_file("main"), "main.pem"),
        (HERE.site_yaml("a.test"), "domains/a.test/site.yaml"),
        (HERE.site_yaml("main"), "main/site.yaml"),
        (HERE.live("a.test"), "live/a.test"),
        (HERE.stamp("a.test"), "stamps/a.test"),
        (HERE.versions("a.test"), "archive/a.test"),
        (HERE.version("a.test", 7), "archive/a.test/7"),
        (HERE.records("a.test"), "records/a.test.json"),
        (HERE.challenge(TOKEN), f"challenges/{TOKEN}"),
        (HERE.account_key("ca"), "accounts/ca/key.pem"),
        (HERE.account_facts("ca"), "accounts/ca/account.json"),
        (HERE.account_generation("ca"), "accounts/ca/generation"),
        (HERE.snapshot_journal, "state/snapshot.jsonl"),
        (HERE.drop_digests, "state/drops.jsonl"),
        (HERE.seen_places, "state/places.jsonl"),
        (HERE.declarations, "state/declarations.jsonl"),
        (HERE.tombstones, "state/removed.jsonl"),
        (HERE.renewals, "state/renewals.jsonl"),
        (HERE.ca_counters, "state/ca_counters.jsonl"),
        (HERE.mails, "state/mails.jsonl"),
        (HERE.order("a.test"), "state/orders/a.test.json"),
        (HERE.worker_report(5), "state/run/worker-5.json"),
        (HERE.ended_workers, "state/run/ended.json"),
        (HERE.users, "admin/users.jsonl"),
        (HERE.sessions, "admin/sessions.jsonl"),
        (HERE.invitations, "admin/invitations.jsonl"),
        (HERE.tokens, "admin/tokens.jsonl"),
        (HERE.temporary, "tmp"),
        (HERE.lock, ".lock"),
        (HERE.control_socket, "control.sock"),
    ],
    ids=str,
)
def test_where_it_lies(path: Path, expected: str) -> None:
    assert path == ROOT / expected


def test_live_link_leads_to_the_version_wherever_the_store_is() -> None:
    target = HERE.live_target("a.test", 7)
    assert not Path(target).is_absolute()
    assert HERE.live_folder.joinpath(target).parts == (*HERE.live_folder.parts, "..", "archive", "a.test", "7")


@pytest.mark.parametrize("text", ["../../lock", "x" * 15, "x" * 129, "", "x" * 16 + "/", "é" * 16])
def test_what_is_no_token_has_no_path(text: str) -> None:
    assert HERE.challenge(text) is None


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        pytest.param(layout.AUDIT_PARTS, layout.audit_part(0), True, id="the first part"),
        pytest.param(layout.AUDIT_PARTS, layout.audit_part(10**14), True, id="a part after 100 TB"),
        pytest.param(layout.AUDIT_PARTS, "audit-2026-11-30.jsonl", False, id="an export of a person"),
        pytest.param(layout.AUDIT_PARTS, layout.AUDIT_LOG, False, id="the log that is written"),
        pytest.param(layout.WORKER_REPORTS, HERE.worker_report(5).name, True, id="a worker's report"),
        pytest.param(layout.WORKER_REPORTS, HERE.ended_workers.name, False, id="the sum of ended workers"),
    ],
)
def test_patterns(pattern: str, name: str, matches: bool) -> None:
    assert fnmatch(name, pattern) is matches


@pytest.mark.parametrize("begins", [0, 1, 123_456_789])
def test_name_of_an_audit_part_tells_where_it_begins(begins: int) -> None:
    assert layout.audit_part_begins(ROOT / layout.audit_part(begins)) == begins


@pytest.mark.parametrize(
    ("name", "site"), [("a.test.json", "a.test"), ("main.json", "main"), ("a.test", None), ("a.json.tmp", None)]
)
def test_file_of_records_names_its_site(name: str, site: str | None) -> None:
    assert layout.site_of_records(name) == site


def test_damaged_copy_lies_beside_its_file() -> None:
    assert layout.damaged(HERE.users) == ROOT / "admin/users.jsonl.damaged"
