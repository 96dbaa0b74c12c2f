"""The facts behind `/readyz`, taken from a real store."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from certstore.model.layout import Layout
from certstore.model.readiness import Unreadiness
from certstore.model.settings.models import Settings
from certstore.monitoring.readiness import current_readiness
from certstore.monitoring.worker_reports import WorkerReport
from tests.certstore.stores import acquire

LISTENING = Settings.model_validate({"listeners": [{"kind": "https", "listen": "127.0.0.1:0"}]})


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


def test_a_store_without_anything_is_not_ready(tmp_path: Path) -> None:
    found = current_readiness(LISTENING, Layout(tmp_path), None, [], datetime.now(UTC), is_maintenance_stalled=True)
    assert {code for code, _ in found.problems} == {
        Unreadiness.NO_MAIN,
        Unreadiness.NO_WORKERS,
        Unreadiness.MAINTENANCE_STALLED,
    }
