"""The facts behind `/readyz`, taken from a real store."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.cluster.standing import ClusterStanding
from certstore.model.layout import Layout
from certstore.model.readiness import Unreadiness
from certstore.model.settings.models import Settings
from certstore.monitoring.readiness import current_readiness
from certstore.monitoring.worker_reports import WorkerReport
from tests.certstore.stores import acquire

LISTENING = Settings.model_validate({"listeners": [{"kind": "https", "listen": "127.0.0.1:0"}]})


NOW = datetime.now(UTC)
STANDING = ClusterStanding("edge-a", "c" * 16, NOW, True, NOW, "2 nodes, in step")


def worker(position: tuple[int, int]) -> WorkerReport:
    return WorkerReport("1", 1, datetime.now(UTC), is_draining=False, journal=position, samples=())


def test_a_worker_that_has_read_the_journal_to_its_end_is_up_to_date(tmp_path: Path) -> None:
    later = datetime.now(UTC) + timedelta(minutes=1)
    with acquire(tmp_path) as writer:
        main = writer.site("main").certificate
        end = writer.layout.snapshot_journal.stat()
        good, half = worker((end.st_ino, end.st_size)), worker((end.st_ino, end.st_size // 2))
        for workers, expected in (([good], []), ([good, half], [Unreadiness.WORKERS_BEHIND])):
            found = current_readiness(LISTENING, writer.layout, main, workers, later, is_maintenance_stalled=False)
            assert [code for code, _ in found.problems] == expected
        sync_pool = current_readiness(
            LISTENING, writer.layout, main, [half], datetime.now(UTC), is_maintenance_stalled=False
        )
        assert sync_pool.ok


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        pytest.param(STANDING, [], id="in step"),
        pytest.param(replace(STANDING, is_attached=False), [], id="detached: it serves what it has"),
        pytest.param(replace(STANDING, is_joining=True), [Unreadiness.JOINING], id="joining"),
        pytest.param(
            replace(STANDING, behind_since=NOW - timedelta(minutes=2)), [Unreadiness.CLUSTER_BEHIND], id="behind"
        ),
    ],
)
def test_what_control_says_of_its_cluster_counts(
    standing: ClusterStanding, expected: list[Unreadiness], tmp_path: Path
) -> None:
    cluster = {"engine": ["https://127.0.0.1:2379"], "ca_file": "ca.pem", "client_cert": "client.pem"}
    with acquire(tmp_path) as writer:
        main, layout = writer.site("main").certificate, writer.layout
        layout.worker_reports.mkdir()
        layout.cluster_standing.write_text(json.dumps(standing.to_json()))
        for settings, codes in ((Settings.model_validate({"cluster": cluster}), expected), (Settings(), [])):
            found = current_readiness(settings, layout, main, [], NOW, is_maintenance_stalled=False)
            assert [code for code, _ in found.problems] == codes


def test_a_store_without_anything_is_not_ready(tmp_path: Path) -> None:
    found = current_readiness(LISTENING, Layout(tmp_path), None, [], datetime.now(UTC), is_maintenance_stalled=True)
    assert {code for code, _ in found.problems} == {
        Unreadiness.NO_MAIN,
        Unreadiness.NO_WORKERS,
        Unreadiness.MAINTENANCE_STALLED,
    }
