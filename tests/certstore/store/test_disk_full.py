"""A full disk: nothing that is served changes, it is reported, and when there is space again the drop is installed.

As root on a small tmpfs of its own, else under a limit on file sizes; both are the kernel's own refusals.
"""

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.record import Outcome
from certstore.model.settings.models import SiteSettings
from certstore.model.snapshot import MAIN
from certstore.store.reader import Store
from tests.certificates import CertificateAuthority
from tests.certstore.stores import OTHER, SITE, acquire, assert_live_is_whole, check_until_decided, drop_pair, served

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=2000,mode=0755", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Until nothing more fits, then give `leave` bytes back."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    size = ballast.stat().st_size
    os.truncate(ballast, max(size - leave, 0))
    return ballast


@needs_root
# Each amount of free space stops the intake at another step: the folder, the keys, meta.json, the link, the journal.
@pytest.mark.parametrize("pages", [0, 1, 2, 3, 4, 5, 6, 7, 8], ids=lambda pages: f"{pages} pages free")
def test_on_a_full_disk_the_old_version_or_the_new_one_is_served_whole(
    small_disk: Path, ca: CertificateAuthority, pages: int
) -> None:
    old, new, other = ca.issue(SITE), ca.issue(SITE), ca.issue(OTHER)
    with acquire(small_disk) as writer:
        for site, issued in ((SITE, old), (OTHER, other)):
            drop_pair(writer, site, issued)
            check_until_decided(writer, site)
        drop_pair(writer, SITE, new)
        ballast = fill(small_disk, leave=pages * 4096)
        result = writer.check(SITE).result
        assert result is not None
        is_new = result.outcome is Outcome.DONE
        assert served(small_disk, SITE) == (new if is_new else old).fingerprint
        assert assert_live_is_whole(small_disk, SITE) == (2 if is_new else 1)
        if not is_new:
            assert (result.outcome, result.reason) == (Outcome.FAILED, "disk")
            assert "No space left on device" in result.message
            assert writer.records(SITE)[-1].outcome is Outcome.FAILED  # in memory, where the disk took no record
            assert list((small_disk / "tmp").iterdir()) == []
        assert served(small_disk, OTHER) == other.fingerprint
        assert_live_is_whole(small_disk, MAIN)

        ballast.unlink()
        check_until_decided(writer, SITE)
        assert served(small_disk, SITE) == new.fingerprint
    with acquire(small_disk):
        assert served(small_disk, SITE) == new.fingerprint
        assert_live_is_whole(small_disk, SITE)


@needs_root
def test_a_site_that_can_not_be_written_down_is_not_half_there(small_disk: Path) -> None:
    with acquire(small_disk) as writer:
        ballast = fill(small_disk)
        with pytest.raises(Exception, match="No space left on device"):
            writer.add_site(SITE, SiteSettings(host=SITE))
        assert writer.sites() == (MAIN,)
        ballast.unlink()
        writer.add_site(SITE, SiteSettings(host=SITE))
        assert Store.open(small_disk).sites() == (MAIN, SITE)


def test_a_file_that_may_not_grow_fails_the_upload_and_changes_nothing(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with acquire(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        before = served(tmp_path, MAIN)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # Python ignores SIGXFSZ, so the write itself fails, with EFBIG.
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
        try:
            result = writer.install_files(SITE, [DroppedFile("all", ca.issue(SITE).combined_pem)], source="upload")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert result.outcome is Outcome.FAILED
        assert "File too large" in result.message
        assert writer.versions(SITE) == ()
        assert list((tmp_path / "tmp").iterdir()) == []
        assert (served(tmp_path, SITE), served(tmp_path, MAIN)) == (None, before)


@pytest.mark.parametrize("had_one", [True, False], ids=["a version before it", "the first version"])
def test_a_version_that_can_not_be_published_is_not_live_either(
    tmp_path: Path, ca: CertificateAuthority, had_one: bool
) -> None:
    with acquire(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        old, new = ca.issue(SITE), ca.issue(SITE)
        if had_one:
            writer.install_files(SITE, [DroppedFile("all", old.combined_pem)], source="upload")
        # Longer than any file of a version, so that a limit lets those through and the journal's next line not.
        number = 0
        while (size := (tmp_path / "state" / "snapshot.jsonl").stat().st_size) < 10_000:
            number += 1
            writer.add_site(f"client-{number}", SiteSettings(host=f"{'x' * 60}.{number}.test"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            result = writer.install_files(SITE, [DroppedFile("all", new.combined_pem)], source="upload")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert result.outcome is Outcome.FAILED
        assert served(tmp_path, SITE) == (old.fingerprint if had_one else None)
        assert (tmp_path / "live" / SITE).is_symlink() is had_one
        assert (tmp_path / "archive" / SITE / ("2" if had_one else "1") / "privkey.pem").exists()
        result = writer.install_files(SITE, [DroppedFile("all", new.combined_pem)], source="upload")
        assert (result.outcome, result.version) == (Outcome.DONE, 3 if had_one else 2)
        assert served(tmp_path, SITE) == new.fingerprint
