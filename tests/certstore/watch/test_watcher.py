"""Drops are noticed: at once by notifications, later by a scan, and what one site does holds up no other."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import Layout
from certstore.model.record import Outcome
from certstore.model.settings.models import SiteSettings
from certstore.model.snapshot import MAIN
from certstore.store.drops.processing import DropCheck
from certstore.store.drops.reading import MAX_FILES
from certstore.store.journal import JournalReader
from certstore.store.unlocking import Effort
from certstore.store.versions import live_number
from certstore.store.writer import StoreWriter
from certstore.watch.inotify import LINK_FOLDERS_OF_PLACE, Notifications, count_watches
from certstore.watch.scan import View, take_view
from certstore.watch.watcher import DropWatcher
from tests.certificates import CertificateAuthority
from tests.certstore.stores import OTHER, SITE, acquire, drop, drop_pair, problem_codes, served
from tests.deadlines import wait_for
from tests.hostile_files import with_rounds_before_any_password

ONLY_NOTIFICATIONS = 3600.0
ONLY_SCANS = 0.1


@contextmanager
def watching(writer: StoreWriter, scan_seconds: float = ONLY_NOTIFICATIONS) -> Iterator[DropWatcher]:
    watcher = DropWatcher(writer, scan_seconds=scan_seconds)
    watcher.start()
    try:
        wait_for(lambda: watcher.is_idle, "every place of the first scan to be checked")
        yield watcher
    finally:
        watcher.stop()


def count_scans(monkeypatch: pytest.MonkeyPatch) -> list[View]:
    """Grows with every scan."""
    scans: list[View] = []

    def spy(layout: Layout, sites: Iterable[str]) -> View:
        scans.append(take_view(layout, sites))
        return scans[-1]

    monkeypatch.setattr("certstore.watch.watcher.take_view", spy)
    return scans


def wait_served(root: Path, site: str, fingerprint: str) -> None:
    reader = JournalReader(Layout(root))

    def is_served() -> bool:
        entry = reader.load().sites.get(site)
        return entry is not None and entry.certificate is not None and entry.certificate.fingerprint == fingerprint

    try:
        wait_for(is_served, f"the drop for {site} to be published", pause=0.002)
    finally:
        reader.close()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """No notification at all, as on a network mount."""
    monkeypatch.setattr(Notifications, "happened", lambda *_, **__: None)
    monkeypatch.setattr(Notifications, "happened_elsewhere", lambda *_: None)


def test_drops_that_are_there_at_the_start_are_installed(writer: StoreWriter, ca: CertificateAuthority) -> None:
    issued = ca.issue(SITE)
    drop_pair(writer, SITE, issued)
    with watching(writer):
        assert served(writer.layout.root, SITE) == issued.fingerprint


def test_a_new_folder_a_changed_file_and_a_file_beside_are_noticed(
    writer: StoreWriter, ca: CertificateAuthority
) -> None:
    root, first, second, third = writer.layout.root, ca.issue(SITE), ca.issue(SITE), ca.issue(OTHER)
    with watching(writer) as watcher:
        assert watcher.problem is None
        drop_pair(writer, SITE, first)
        wait_served(root, SITE, first.fingerprint)
        drop_pair(writer, SITE, second)
        wait_served(root, SITE, second.fingerprint)
        (root / "domains" / f"{OTHER}.pem").write_bytes(third.combined_pem)
        wait_served(root, OTHER, third.fingerprint)


def test_main_is_watched_as_folder_and_as_file(writer: StoreWriter, ca: CertificateAuthority) -> None:
    root, first, second = writer.layout.root, ca.issue("mail.install.test"), ca.issue("mail.install.test")
    with watching(writer):
        drop_pair(writer, MAIN, first)
        wait_served(root, MAIN, first.fingerprint)
        shutil.rmtree(root / "main")
        (root / "main.pem").write_bytes(second.combined_pem)
        wait_served(root, MAIN, second.fingerprint)


def test_a_file_that_is_moved_into_place_is_noticed(
    writer: StoreWriter, ca: CertificateAuthority, tmp_path: Path
) -> None:
    issued = ca.issue(SITE)
    with watching(writer):
        folder = drop(writer, SITE, {})
        (tmp_path / "outside.pem").write_bytes(issued.combined_pem)
        (tmp_path / "outside.pem").rename(folder / "all.pem")
        wait_served(writer.layout.root, SITE, issued.fingerprint)


def test_a_whole_folder_that_is_moved_into_place_is_noticed(
    writer: StoreWriter, ca: CertificateAuthority, tmp_path: Path
) -> None:
    issued = ca.issue(SITE)
    issued.write_to(tmp_path / "prepared")
    with watching(writer):
        (tmp_path / "prepared").rename(writer.layout.domains / SITE)
        wait_served(writer.layout.root, SITE, issued.fingerprint)


def test_a_turn_of_kubernetes_data_link_is_noticed(writer: StoreWriter, ca: CertificateAuthority) -> None:
    first, second = ca.issue(SITE), ca.issue(SITE)
    folder = drop(writer, SITE, {})

    def turn(number: int, pem: bytes) -> None:
        (folder / f"..{number}").mkdir()
        (folder / f"..{number}" / "tls.pem").write_bytes(pem)
        (folder / "..data_tmp").symlink_to(f"..{number}")
        (folder / "..data_tmp").rename(folder / "..data")

    turn(1, first.combined_pem)
    (folder / "tls.pem").symlink_to("..data/tls.pem")
    with watching(writer):
        assert served(writer.layout.root, SITE) == first.fingerprint
        turn(2, second.combined_pem)
        wait_served(writer.layout.root, SITE, second.fingerprint)


def test_a_turn_of_certbots_links_is_noticed_where_they_lead_to(
    writer: StoreWriter, ca: CertificateAuthority, tmp_path: Path
) -> None:
    first, second = ca.issue(SITE), ca.issue(SITE)
    live = tmp_path / "letsencrypt" / "live" / SITE
    live.mkdir(parents=True)

    def renew(number: int, pem: bytes) -> None:
        (live.parent / f"{number}.pem").write_bytes(pem)
        (live / "all.pem").unlink(missing_ok=True)
        (live / "all.pem").symlink_to(f"../{number}.pem")

    renew(1, first.combined_pem)
    drop(writer, SITE, {})
    (writer.layout.domains / SITE / "all.pem").symlink_to(live / "all.pem")
    with watching(writer):
        assert served(writer.layout.root, SITE) == first.fingerprint
        renew(2, second.combined_pem)
        wait_served(writer.layout.root, SITE, second.fingerprint)


def test_a_right_that_is_granted_later_is_noticed(writer: StoreWriter, ca: CertificateAuthority) -> None:
    """Root reads everything, so the change of mode alone has to bring about a check."""
    drop_pair(writer, SITE, ca.issue(SITE))
    checks: list[DropCheck] = []
    check = writer.check

    def spy(site: str, effort: Effort) -> DropCheck:
        checks.append(check(site, effort))
        return checks[-1]

    with pytest.MonkeyPatch.context() as patch, watching(writer):
        patch.setattr(writer, "check", spy)
        (writer.layout.domains / SITE / "privkey.pem").chmod(0o640)
        wait_for(lambda: SITE in {each.site for each in checks}, "a check after chmod")


@pytest.mark.usefixtures("deaf")
def test_a_scan_finds_what_no_notification_reported(
    writer: StoreWriter, ca: CertificateAuthority, tmp_path: Path
) -> None:
    root, issued = writer.layout.root, ca.issue(SITE)
    with watching(writer, ONLY_SCANS):
        folder = drop_pair(writer, SITE, issued)
        wait_served(root, SITE, issued.fingerprint)
        folder.rename(tmp_path / "away")
        wait_for(lambda: problem_codes(writer, SITE) == {"source_missing"}, "the missing source to be reported")
        (tmp_path / "away").rename(folder)
        wait_for(lambda: problem_codes(writer, SITE) == set(), "the source to be back")
        again = ca.issue(SITE)
        drop_pair(writer, SITE, again)
        wait_served(root, SITE, again.fingerprint)


@pytest.mark.usefixtures("deaf")
def test_a_scan_of_unchanged_places_checks_nothing(
    writer: StoreWriter, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_pair(writer, SITE, ca.issue(SITE))
    with watching(writer, ONLY_SCANS) as watcher:
        checks: list[str] = []
        monkeypatch.setattr(writer, "check", lambda site, effort: checks.append(site))
        scans = count_scans(monkeypatch)
        wait_for(lambda: len(scans) > 3 and watcher.is_idle, "three more scans")
        assert checks == []


def test_a_site_whose_place_is_gone_at_the_start_is_reported_to_be_without_source(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    root = tmp_path / "store"
    with acquire(root) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        with watching(writer):
            pass
        shutil.rmtree(writer.layout.domains / SITE)
    with acquire(root) as writer, watching(writer):
        wait_for(lambda: problem_codes(writer, SITE) == {"source_missing"}, "the missing source to be reported")


def test_a_drop_that_is_rewritten_without_end_holds_up_no_other_site_and_is_installed_now_and_then(
    writer: StoreWriter, ca: CertificateAuthority
) -> None:
    root, restless, calm = writer.layout.root, ca.issue(SITE), ca.issue(OTHER)
    stop = threading.Event()

    def rewrite() -> None:
        place = writer.layout.drop_file(SITE)
        while not stop.wait(0.005):
            place.with_suffix(".tmp").write_bytes(restless.combined_pem)
            place.with_suffix(".tmp").rename(place)

    with watching(writer):
        rewriter = threading.Thread(target=rewrite)
        rewriter.start()
        try:
            wait_served(root, SITE, restless.fingerprint)
            drop_pair(writer, OTHER, calm)
            wait_served(root, OTHER, calm.fingerprint)
        finally:
            stop.set()
            rewriter.join()


def test_without_enough_watches_that_is_logged_once_and_scans_go_on(
    writer: StoreWriter, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("certstore.watch.inotify.count_watches", lambda: 1)
    for number in range(5):
        drop(writer, f"client-{number}.test", {})
    scans = count_scans(monkeypatch)
    with caplog.at_level(logging.WARNING), watching(writer, ONLY_SCANS) as watcher:
        assert watcher.problem is not None
        assert "4 of 5 folders can't be watched" in watcher.problem
        issued = ca.issue(SITE)
        drop_pair(writer, SITE, issued)
        wait_served(writer.layout.root, SITE, issued.fingerprint)
        seen = len(scans)
        wait_for(lambda: len(scans) > seen + 3, "three more scans")
    assert caplog.text.count("4 of 5 folders") == 1


def test_without_any_inotify_that_is_reported_and_scans_go_on(
    writer: StoreWriter, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr("certstore.watch.inotify.Observer", none_left)
    with watching(writer, ONLY_SCANS) as watcher:
        assert watcher.problem is not None
        assert "instance limit" in watcher.problem
        issued = ca.issue(SITE)
        drop_pair(writer, SITE, issued)
        wait_served(writer.layout.root, SITE, issued.fingerprint)


def test_the_kernels_count_of_watches_is_the_number_of_folders(writer: StoreWriter) -> None:
    before = count_watches()
    assert before is not None
    for number in range(7):
        drop(writer, f"client-{number}.test", {})
    with watching(writer):
        # The root, main/, domains/ and what is below it.
        assert count_watches() == before + 3 + 7
    assert count_watches() == before


def test_one_sites_trouble_does_not_end_the_watching(
    writer: StoreWriter, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check = writer.check

    def troubled(site: str, effort: Effort) -> DropCheck:
        if site == SITE:
            raise OSError(5, "Input/output error")
        return check(site, effort)

    monkeypatch.setattr(writer, "check", troubled)
    issued = ca.issue(OTHER)
    with watching(writer):
        drop_pair(writer, SITE, ca.issue(SITE))
        wait_for(lambda: f"checking {SITE} failed" in caplog.text, "the trouble to be logged")
        drop_pair(writer, OTHER, issued)
        wait_served(writer.layout.root, OTHER, issued.fingerprint)


@pytest.mark.parametrize("name", ["loop.test", "loop.test.pem"])
def test_a_link_that_leads_nowhere_ends_the_scan_for_nobody(
    writer: StoreWriter, ca: CertificateAuthority, name: str
) -> None:
    (writer.layout.domains / name).symlink_to(name)
    issued = ca.issue(OTHER)
    # By a path that inotify does not see: only a scan that gets to its end finds it.
    elsewhere = writer.layout.root / "elsewhere"
    elsewhere.mkdir()
    (writer.layout.domains / f"{OTHER}.pem").symlink_to(elsewhere / "other.pem")
    with watching(writer, ONLY_SCANS):
        (elsewhere / "other.pem").write_bytes(issued.combined_pem)
        wait_served(writer.layout.root, OTHER, issued.fingerprint)


LOOK_AS_NOBODY = """
import os, sys, time
from pathlib import Path
from certstore.model.names import is_public_suffix
from certstore.store.writer import StoreWriter
from certstore.watch.watcher import DropWatcher
is_public_suffix("example.com")
os.setgid(65534); os.setuid(65534)
with StoreWriter.acquire(Path(sys.argv[1]), main_host="mail.install.test") as writer:
    watcher = DropWatcher(writer, scan_seconds=3600)
    watcher.start()
    deadline = time.monotonic() + 20
    while not watcher.is_idle and time.monotonic() < deadline:
        time.sleep(0.02)
    for site in writer.sites():
        print(site, *(problem.code for problem in writer.problems(site)))
    watcher.stop()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_links_to_where_the_service_may_not_read_concern_their_own_sites_alone() -> None:
    with tempfile.TemporaryDirectory(prefix="store-", dir="/tmp") as name:
        root, shut = Path(name) / "store", Path(name) / "shut"
        (root / "domains" / "mail.fine.test").mkdir(parents=True)
        (shut / "folder").mkdir(parents=True)
        (root / "main").symlink_to(shut / "folder")
        (root / "domains" / "file.test.pem").symlink_to(shut / "bm_cert.pem")
        (root / "domains" / "folder.test").symlink_to(shut / "folder")
        (root / "domains" / "inside.test").mkdir()
        (root / "domains" / "inside.test" / "fullchain.pem").symlink_to(shut / "fullchain.pem")
        for folder in (Path(name), root, root / "domains"):
            os.chown(folder, 65534, 65534)
        shut.chmod(0o700)
        command = [sys.executable, "-c", LOOK_AS_NOBODY, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    problems = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert problems == {
        "main": "settings_invalid drop_refused",
        "file.test": "drop_refused",
        "inside.test": "drop_refused",
        "mail.fine.test": "",
    }
    assert "folder.test/site.yaml: permission denied. As root: setfacl" in done.stderr
    assert "Traceback" not in done.stderr


def test_reading_a_drop_does_not_set_off_another_check(writer: StoreWriter, ca: CertificateAuthority) -> None:
    checks: list[float] = []
    check = writer.check

    def count(site: str, effort: Effort) -> DropCheck:
        checks.append(time.monotonic())
        return check(site, effort)

    with pytest.MonkeyPatch.context() as patch, watching(writer):
        patch.setattr(writer, "check", count)
        issued = ca.issue(SITE)
        drop_pair(writer, SITE, issued)
        wait_served(writer.layout.root, SITE, issued.fingerprint)
        settled = len(checks)
        other = ca.issue(OTHER)
        drop_pair(writer, OTHER, other)
        wait_served(writer.layout.root, OTHER, other.fingerprint)
        # A check that set off checks would have made dozens by now.
        assert len(checks) - settled <= 4


def test_stopping_is_quick_and_may_be_done_twice(writer: StoreWriter) -> None:
    watcher = DropWatcher(writer, scan_seconds=3600)
    watcher.start()
    began = time.monotonic()
    watcher.stop()
    watcher.stop()
    assert time.monotonic() - began < 10


def test_results_go_to_the_caller(writer: StoreWriter, ca: CertificateAuthority) -> None:
    results: list[DropCheck] = []
    watcher = DropWatcher(writer, scan_seconds=3600, on_check=results.append)
    watcher.start()
    try:
        drop_pair(writer, SITE, ca.issue(SITE))
        wait_for(lambda: results, "the result of the drop")
    finally:
        watcher.stop()
    assert results[0].result is not None
    assert (results[0].site, results[0].result.outcome) == (SITE, Outcome.DONE)


def checked_at_next_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sites that a start checks, in order."""
    checked: list[str] = []
    check = StoreWriter.check

    def spy(writer: StoreWriter, site: str, effort: Effort) -> DropCheck:
        checked.append(site)
        return check(writer, site, effort)

    with monkeypatch.context() as patch, acquire(root) as writer:
        patch.setattr(StoreWriter, "check", spy)
        with watching(writer):
            pass
    return checked


def age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was just dropped count as having lain there for long."""
    monkeypatch.setattr("certstore.watch.scan._COARSE", 0)


def test_a_start_checks_only_what_changed_while_nobody_looked(
    tmp_path: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    age(monkeypatch)
    with acquire(root) as writer:
        for site in (SITE, OTHER, "gone.test"):
            drop_pair(writer, site, ca.issue(site))
        (writer.layout.domains / "beside.test.pem").write_bytes(ca.issue("beside.test").combined_pem)
        with watching(writer):
            pass
    assert checked_at_next_start(root, monkeypatch) == []
    drop_pair(writer, OTHER, ca.issue(OTHER))
    shutil.rmtree(writer.layout.domains / "gone.test")
    assert sorted(set(checked_at_next_start(root, monkeypatch))) == ["gone.test", OTHER]
    assert "gone.test" in checked_at_next_start(root, monkeypatch), "its source is missing, which may have a remedy"


def test_a_site_with_a_problem_is_checked_at_every_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "store"
    age(monkeypatch)
    with acquire(root) as writer:
        drop(writer, SITE, {"fullchain.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"})
        with watching(writer):
            wait_for(lambda: problem_codes(writer, SITE), "the drop to be refused")
    assert checked_at_next_start(root, monkeypatch) == [SITE]
    assert checked_at_next_start(root, monkeypatch) == [SITE]


def another_library(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("certstore.store.live_check.library_in_force", lambda: "OpenSSL 9")


def another_key(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "privkey.pem").write_bytes(CertificateAuthority().issue(SITE).privkey_pem)


def a_file_gone(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "privkey.pem").unlink()


@pytest.mark.parametrize("change", [another_library, another_key, a_file_gone], ids=lambda change: change.__name__)
@pytest.mark.parametrize("place", ["folder", "file", "none"])
def test_a_start_looks_at_a_live_version_that_was_not_tried_as_it_is(
    place: str,
    change: Callable[[Path, pytest.MonkeyPatch], None],
    tmp_path: Path,
    ca: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However its drop place looks: nobody may have touched that for months."""
    root, issued = tmp_path / "store", ca.issue(SITE)
    age(monkeypatch)
    with acquire(root) as writer:
        if place == "folder":
            drop_pair(writer, SITE, issued)
        elif place == "file":
            (writer.layout.domains / f"{SITE}.pem").write_bytes(issued.combined_pem)
        else:
            writer.add_site(SITE, SiteSettings(host=SITE))
            shutil.rmtree(writer.layout.drop_folder(SITE))
            writer.install_files(SITE, [DroppedFile("all.pem", issued.combined_pem)], source="upload")
        with watching(writer):
            pass
    with monkeypatch.context() as patch:
        change(root / "archive" / SITE / "1", patch)
        checked = checked_at_next_start(root, monkeypatch)
        assert SITE in checked
        if change is not another_library:
            with acquire(root) as writer:
                # The drop of the same certificate, where there is one, puts right what can be read but not served.
                is_mended = change is another_key and place != "none"
                assert ("live_unloadable" in problem_codes(writer, SITE)) is not is_mended
                assert live_number(writer.layout, SITE) == (2 if is_mended else 1)


@pytest.mark.parametrize("is_link_left", [True, False])
def test_a_start_takes_the_drop_again_where_no_version_is_left(
    is_link_left: bool, tmp_path: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, issued = tmp_path / "store", ca.issue(SITE)
    age(monkeypatch)
    with acquire(root) as writer:
        drop_pair(writer, SITE, issued)
        with watching(writer):
            pass
    shutil.rmtree(root / "archive" / SITE)
    if not is_link_left:
        (root / "live" / SITE).unlink()
    with acquire(root) as writer:
        assert problem_codes(writer, SITE) == {"live_unusable"}
        with watching(writer):
            wait_served(root, SITE, issued.fingerprint)
        assert problem_codes(writer, SITE) == set()


def test_what_changed_just_now_is_checked_again_at_the_next_start(
    tmp_path: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certstore.watch.scan._COARSE", 3600 * 10**9)
    with acquire(tmp_path / "store") as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        with watching(writer):
            pass
    assert SITE in checked_at_next_start(tmp_path / "store", monkeypatch)


# Links that lead out of the store: nothing but notifications finds what changes behind them here.


def renewed_by_certbot(letsencrypt: Path, number: int, pem: bytes) -> None:
    """As certbot: a file in archive/, and a link in live/ that is made anew."""
    live, archive = letsencrypt / "live" / SITE, letsencrypt / "archive" / SITE
    for folder in (live, archive):
        folder.mkdir(parents=True, exist_ok=True)
    (archive / f"all{number}.pem").write_bytes(pem)
    (live / "new").symlink_to(f"../../archive/{SITE}/all{number}.pem")
    (live / "new").rename(live / "all.pem")


def overwritten_behind_the_link(letsencrypt: Path, number: int, pem: bytes) -> None:
    live, archive = letsencrypt / "live" / SITE, letsencrypt / "archive" / SITE
    for folder in (live, archive):
        folder.mkdir(parents=True, exist_ok=True)
    (archive / "all.pem").write_bytes(pem)
    if not (live / "all.pem").is_symlink():
        (live / "all.pem").symlink_to(f"../../archive/{SITE}/all.pem")


def replaced_behind_the_link(letsencrypt: Path, number: int, pem: bytes) -> None:
    live, archive = letsencrypt / "live" / SITE, letsencrypt / "archive" / SITE
    for folder in (live, archive):
        folder.mkdir(parents=True, exist_ok=True)
    (archive / "new").write_bytes(pem)
    (archive / "new").rename(archive / "all.pem")
    if not (live / "all.pem").is_symlink():
        (live / "all.pem").symlink_to(f"../../archive/{SITE}/all.pem")


def turned_by_a_link_to_a_folder(letsencrypt: Path, number: int, pem: bytes) -> None:
    """As deployment tools: live/ is a link to a release."""
    release = letsencrypt / f"releases/{number}" / SITE
    release.mkdir(parents=True)
    (release / "all.pem").write_bytes(pem)
    (letsencrypt / "next").symlink_to(f"releases/{number}")
    (letsencrypt / "next").rename(letsencrypt / "live")


@pytest.mark.parametrize("is_early", [True, False], ids=["a link from before the start", "a link of just now"])
@pytest.mark.parametrize(
    "renew",
    [renewed_by_certbot, overwritten_behind_the_link, replaced_behind_the_link, turned_by_a_link_to_a_folder],
    ids=lambda renew: renew.__name__,
)
def test_what_is_replaced_behind_a_link_is_seen_at_once(
    writer: StoreWriter,
    ca: CertificateAuthority,
    tmp_path: Path,
    renew: Callable[[Path, int, bytes], None],
    is_early: bool,
) -> None:
    letsencrypt, certificates = tmp_path / "letsencrypt", [ca.issue(SITE) for _ in range(4)]
    renew(letsencrypt, 0, certificates[0].combined_pem)

    def link() -> None:
        (drop(writer, SITE, {}) / "all.pem").symlink_to(letsencrypt / "live" / SITE / "all.pem")

    if is_early:
        link()
    with watching(writer):
        if not is_early:
            link()
        wait_served(writer.layout.root, SITE, certificates[0].fingerprint)
        for number, issued in enumerate(certificates[1:], 1):
            renew(letsencrypt, number, issued.combined_pem)
            wait_served(writer.layout.root, SITE, issued.fingerprint)


def test_a_whole_folder_elsewhere_is_watched_as_well(
    writer: StoreWriter, ca: CertificateAuthority, tmp_path: Path
) -> None:
    first, second = ca.issue(SITE), ca.issue(SITE)
    first.write_to(tmp_path / "certificates")
    with watching(writer):
        (writer.layout.domains / SITE).symlink_to(tmp_path / "certificates")
        wait_served(writer.layout.root, SITE, first.fingerprint)
        second.write_to(tmp_path / "certificates")
        wait_served(writer.layout.root, SITE, second.fingerprint)


def test_links_of_one_place_do_not_use_up_the_watches(writer: StoreWriter, tmp_path: Path) -> None:
    folder = drop(writer, SITE, {})
    for number in range(MAX_FILES):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.pem").write_bytes(b"x")
        (folder / f"{number}.pem").symlink_to(tmp_path / str(number) / "a.pem")
    before = count_watches()
    assert before is not None
    with watching(writer) as watcher:
        wait_for(lambda: watcher.is_idle, "the links to be followed")
        assert (count_watches() or 0) - before <= 3 + 1 + LINK_FOLDERS_OF_PLACE


# Hostile drops


def drop_hostile(writer: StoreWriter, number: int, user: int) -> str:
    site = f"hostile-{number}.client-a.test"
    folder = drop(writer, site, {})
    os.chown(folder, user, user)
    drop(writer, site, {"a.p12": with_rounds_before_any_password(2**31 - 1)})
    return site


@pytest.mark.slow
@pytest.mark.parametrize(
    "user",
    [pytest.param(7, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")), os.geteuid()],
    ids=["of one user", "of nobody in particular"],
)
def test_ten_drops_that_never_open_hold_up_no_other(writer: StoreWriter, ca: CertificateAuthority, user: int) -> None:
    """The sum of what they take is in no other drop's time: that is the order of the results, at any pace."""
    root, plain, locked = writer.layout.root, ca.issue(SITE), ca.issue(OTHER)
    with watching(writer):
        sites = [drop_hostile(writer, number, user) for number in range(10)]
        wait_for(lambda: set(sites) <= set(writer.sites()), "the hostile drops to be seen")
        drop_pair(writer, SITE, plain)
        wait_served(root, SITE, plain.fingerprint)
        assert not any(writer.records(site) for site in sites), "the plain drop passed them all"
        drop(writer, OTHER, {"a.p12": locked.pkcs12(None)})
        wait_served(root, OTHER, locked.fingerprint)
        decided = [site for site in sites if writer.records(site)]
        assert len(decided) <= 3, "the drop that opens passed those that need all effort"


def test_drops_of_one_tenant_are_checked_one_at_a_time(
    writer: StoreWriter, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One folder of the tenant's is being read, for as long as it takes: another tenant's drop does not wait for it."""
    check, is_released, tenants = writer.check, threading.Event(), {SITE: 7, "b.client-a.test": 7, "c.client-a.test": 7}
    held: list[str] = []

    def hold(site: str, effort: Effort) -> DropCheck:
        if site in tenants:
            held.append(site)
            assert is_released.wait(60)
        return check(site, effort)

    monkeypatch.setattr(writer, "check", hold)
    with watching(writer):
        for site, user in tenants.items():
            os.chown(drop(writer, site, {}), user, user)
            drop_pair(writer, site, ca.issue(site))
        wait_for(lambda: held, "a drop of the tenant to be read")
        issued = ca.issue(OTHER)
        drop_pair(writer, OTHER, issued)
        wait_served(writer.layout.root, OTHER, issued.fingerprint)
        assert len(held) == 1
        is_released.set()
        wait_for(lambda: set(held) == set(tenants), "the other drops of the tenant to be read")
