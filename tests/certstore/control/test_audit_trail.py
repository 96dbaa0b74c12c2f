"""What the audit log gets of commands, and of what the service does by itself: through a real control process."""

import getpass
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certstore.control import client
from certstore.control.audit_trail import AuditTrail, Entry, entry_of_record
from certstore.control.commands.requests import (
    AddSiteRequest,
    AddTokenRequest,
    InstallRequest,
    ListUsersRequest,
    RemoveSiteRequest,
    RollbackRequest,
)
from certstore.control.protocol import RequestFailed
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.console.authorization import Scope
from certstore.model.layout import Layout
from certstore.model.record import Outcome, Record
from certstore.people.audit import Audit
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import certedge, write_edge
from tests.certstore.control.control_process import running_control
from tests.deadlines import wait_for

HOST = "webmail.client-a.test"
CA = CertificateAuthority()
WHO = f"unix {getpass.getuser()}"


def entries(store: Path) -> list[dict[str, Any]]:
    path = Layout(store).admin / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def facts(store: Path) -> list[tuple[str, str, str | None, str]]:
    return [(each["who"], each["action"], each["site"], each["outcome"]) for each in entries(store)]


def test_commands_are_on_record_with_the_unix_user_and_questions_are_not(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:

        def call(request: Any) -> Any:
            return client.call(control.settings, control.folder, request)

        call(AddSiteRequest(HOST, {"host": HOST}))
        call(InstallRequest(HOST, (DroppedFile("a.pem", CA.issue(HOST).combined_pem),)))
        call(InstallRequest(HOST, (DroppedFile("a.pem", CA.issue(HOST).privkey_pem),)))
        call(ListUsersRequest())
        with pytest.raises(RequestFailed):
            call(RollbackRequest(HOST, 7))
        token = call(AddTokenRequest("monitoring", Scope.READ))
        call(RemoveSiteRequest(HOST))
        wanted = [
            (WHO, "site.add", HOST, "done"),
            (WHO, "cert.install", HOST, "done"),
            (WHO, "cert.install", HOST, "refused"),
            (WHO, "cert.activate", HOST, "failed"),
            (WHO, "token.add", None, "done"),
            (WHO, "site.remove", HOST, "done"),
        ]
        wait_for(lambda: [each for each in facts(tmp_path / "store") if each[0] == WHO] == wanted, "all entries")
        text = json.dumps(entries(tmp_path / "store"))
        assert token.token not in text
        assert "PRIVATE KEY" not in text


def test_drops_and_changed_files_are_on_record_as_such(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with running_control(tmp_path):
        folder = Layout(store).drop_folder(HOST)
        folder.mkdir()
        (folder / "all.pem").write_bytes(CA.issue(HOST).combined_pem)
        dropped = (f"files of {HOST}", "cert.install", HOST, "done")
        wait_for(lambda: dropped in facts(store), "the drop")
        (folder / "site.yaml").write_text(f"host: {HOST}\nadditional_names: [www.{HOST}]\n")
        wait_for(lambda: (f"files of {HOST}", "site.change", HOST, "done") in facts(store), "the changed names")
    assert WHO not in {each[0] for each in facts(store)}


def test_command_where_no_control_runs_is_on_record_too(tmp_path: Path) -> None:
    write_edge(tmp_path)
    assert certedge(tmp_path, "site", "add", HOST).code == 0
    assert facts(tmp_path / "store") == [(WHO, "site.add", HOST, "done")]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act on another user's store")
def test_root_is_named_on_the_store_of_another_user(tmp_path: Path) -> None:
    write_edge(tmp_path)
    tmp_path.chmod(0o755)
    for path in (tmp_path / "store", *(tmp_path / "store").rglob("*")):
        os.chown(path, 65534, 65534)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    assert certedge(tmp_path, "site", "add", HOST).code == 0
    assert facts(tmp_path / "store") == [("unix root", "site.add", HOST, "done")]


@pytest.mark.parametrize(
    ("doing", "outcome", "reason", "who", "action"),
    [
        ("intake", Outcome.DONE, "activated", f"files of {HOST}", "cert.install"),
        ("renew", Outcome.DONE, "activated", "renewal", "cert.order"),
        ("settings", Outcome.DONE, "removed", f"files of {HOST}", "site.remove"),
        ("settings", Outcome.REFUSED, "settings_invalid", f"files of {HOST}", "site.change"),
        ("intake", Outcome.NOTED, "already_live", None, None),
        ("renew", Outcome.FAILED, "dns", None, None),
        ("prune", Outcome.DONE, "", None, None),
    ],
)
def test_each_attempt_has_its_entry(
    doing: str, outcome: Outcome, reason: str, who: str | None, action: str | None
) -> None:
    entry = entry_of_record(HOST, Record(datetime.now(UTC), doing, outcome, reason, "what happened"))
    assert (entry and entry.who, entry and entry.action) == (who, action)


def test_what_comes_before_the_log_is_open_waits_for_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.admin.mkdir()
    trail = AuditTrail()
    trail.note([Entry("renewal", "", "cert.order", HOST, "done", "early")])
    trail.attach(Audit(layout, lambda: datetime.fromtimestamp(time.time(), UTC)))
    trail.note([Entry("renewal", "", "cert.order", HOST, "done", "late")])
    trail.close()
    assert [each["detail"] for each in entries(tmp_path)] == ["early", "late"]
