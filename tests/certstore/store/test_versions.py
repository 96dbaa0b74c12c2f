from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.settings.models import SiteSettings
from certstore.store.versions import select_prunable
from tests.certificates import CertificateAuthority
from tests.certstore.stores import SITE, acquire

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=30)
YOUNG = NOW - timedelta(minutes=59)


@pytest.mark.parametrize(
    ("versions", "protected", "keep", "gone"),
    [
        pytest.param({1: OLD, 2: OLD, 3: OLD}, {3}, 3, [], id="nothing goes while there are no more than are kept"),
        pytest.param({1: OLD, 2: OLD, 3: OLD, 4: OLD}, {4, 3}, 2, [1, 2], id="the oldest go first"),
        pytest.param({1: OLD, 2: OLD, 3: OLD, 4: OLD}, {1, 2}, 2, [3, 4], id="live and predecessor never go"),
        pytest.param({1: OLD, 2: YOUNG, 3: YOUNG, 4: YOUNG}, {4, 3}, 2, [1], id="the young never go"),
        pytest.param({1: YOUNG, 2: YOUNG, 3: YOUNG}, {3}, 2, [], id="more than are kept when all are young"),
        pytest.param({9: OLD, 10: OLD, 11: OLD}, {11}, 2, [9], id="numbers are numbers, not words"),
        pytest.param({1: NOW - timedelta(hours=1), 2: NOW, 3: NOW}, {3}, 2, [1], id="an hour old is old enough"),
    ],
)
def test_which_versions_are_pruned(
    versions: dict[int, datetime], protected: set[int], keep: int, gone: list[int]
) -> None:
    assert select_prunable(list(versions.items()), protected=protected, keep=keep, now=NOW) == gone


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


def test_archive_keeps_what_it_should_through_uploads_and_rollbacks(tmp_path: Path, ca: CertificateAuthority) -> None:
    clock = Clock()
    with acquire(tmp_path, keep=3, clock=clock) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))

        def upload() -> None:
            clock.now += timedelta(hours=2)
            writer.install_files(SITE, [DroppedFile("all", ca.issue(SITE).combined_pem)], source="upload")

        def kept() -> list[int]:
            return [version.number for version in writer.versions(SITE)]

        for _ in range(4):
            upload()
        assert kept() == [4, 3, 2]
        writer.rollback(SITE, 2)
        upload()
        # 2 was live before 5 and stays, though 3 is younger.
        assert kept() == [5, 4, 2]
        assert writer.rollback(SITE).version == 2
        for _ in range(3):
            upload()
        assert kept() == [8, 7, 6]


def test_versions_of_the_last_hour_stay_however_many(tmp_path: Path, ca: CertificateAuthority) -> None:
    with acquire(tmp_path, keep=2) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        for _ in range(5):
            writer.install_files(SITE, [DroppedFile("all", ca.issue(SITE).combined_pem)], source="upload")
        assert len(writer.versions(SITE)) == 5
