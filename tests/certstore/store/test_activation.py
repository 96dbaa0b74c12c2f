"""What the serving library can't serve never becomes live, whichever way it comes; `drops/test_processing` has the rest
of an activation.
"""

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from certstore.model.certificate.bundle import Refused
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import Layout
from certstore.model.record import Outcome
from certstore.model.settings.models import SiteSettings
from certstore.model.snapshot import MAIN
from certstore.model.version import Version
from certstore.store import trial as trial_module
from certstore.store.activation import CAME_LATE
from certstore.store.journal import JournalWriter
from certstore.store.trial import Trial
from certstore.store.versions import live_number, write_stamp
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.stores import (
    MAIN_HOST,
    SITE,
    assert_live_is_whole,
    check_until_decided,
    drop,
    drop_pair,
    served,
    writing,
)
from tests.odd_certificates import NAME, Odd, make, pss

DIES = "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)"
UNFIT = make(Odd(pss("sha512", 200)))
"""Only the library that serves refuses it."""


def uploads(files: dict[str, bytes]) -> list[DroppedFile]:
    return [DroppedFile(name, content) for name, content in files.items()]


def spoil(writer: StoreWriter, site: str, version: int) -> None:
    """As an older release could have left it."""
    for name in ("fullchain.pem", "privkey.pem"):
        (writer.layout.version(site, version) / name).write_bytes(UNFIT[name])


def test_a_drop_is_refused_with_the_librarys_reason(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        drop(writer, NAME, UNFIT)
        result = check_until_decided(writer, NAME).result
        assert result is not None
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "unservable")
        assert "no suitable signature algorithm" in result.message
        assert [each.code for each in writer.problems(NAME)] == ["drop_refused"]
        assert writer.versions(NAME) == (), "nothing of it was written"


def test_an_upload_is_refused_in_the_preview_and_when_it_is_forced(tmp_path: Path) -> None:
    with writing(tmp_path, main_host="elsewhere.test") as writer:
        preview = writer.preview("main", uploads(UNFIT))
        assert isinstance(preview.verdict, Refused)
        assert preview.forced is None, "nobody can overrule the library"
        before = served(tmp_path, "main")
        assert writer.install(preview, source="upload", force=True).reason == "unservable"
        assert served(tmp_path, "main") == before


def test_a_version_that_can_no_longer_be_served_does_not_come_back(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        for _ in range(2):
            drop_pair(writer, SITE, ca.issue(SITE))
            check_until_decided(writer, SITE)
        spoil(writer, SITE, 1)
        result = writer.rollback(SITE)
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "unservable")
        assert "version 1" in result.message
        assert writer.records(SITE)[-1].message == result.message
        assert assert_live_is_whole(tmp_path, SITE) == 2

        shutil.copytree(writer.layout.version(SITE, 2), writer.layout.version(SITE, 1), dirs_exist_ok=True)
        assert writer.rollback(SITE).outcome is Outcome.DONE, "it was tried anew"


def test_a_drop_that_the_machine_can_not_try_is_tried_again(
    tmp_path: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(tmp_path) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(trial_module, "PROGRAM", (sys.executable, "-c", DIES))
            patch.setattr(trial_module, "FAULT_SECONDS", 0.0)
            writer._state.trial.close()
            drop_pair(writer, SITE, ca.issue(SITE))
            check = check_until_decided(writer, SITE)
            assert check.result is not None
            assert check.result.outcome is Outcome.FAILED
            assert check.again_in is not None
        assert check_until_decided(writer, SITE).result.outcome is Outcome.DONE  # type: ignore[union-attr]


def test_each_step_is_durable_before_the_next_and_live_flips_last(
    tmp_path: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between any two of them leaves the old version live or the new one, whole."""
    steps: list[str] = []

    def noting[**P, R](act: Callable[P, R], name: Callable[P, str]) -> Callable[P, R]:
        def noted(*args: P.args, **kwargs: P.kwargs) -> R:
            steps.append(name(*args, **kwargs))
            return act(*args, **kwargs)

        return noted

    def where(path: object) -> str:
        full = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else Path(str(path))
        inside = full.relative_to(tmp_path)
        return re.sub(r"^tmp/[^/]+", "tmp/NEW", str(inside))

    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
        drop_pair(writer, SITE, ca.issue(SITE))
        monkeypatch.setattr(os, "fsync", noting(os.fsync, lambda fd: f"sync {where(fd)}"))
        for how in ("rename", "replace"):
            monkeypatch.setattr(os, how, noting(getattr(os, how), lambda _, path: f"rename to {where(path)}"))
        monkeypatch.setattr(Trial, "__call__", noting(Trial.__call__, lambda *_: "trial"))
        monkeypatch.setattr(JournalWriter, "publish", noting(JournalWriter.publish, lambda *_: "publish"))
        assert check_until_decided(writer, SITE).result.version == 2  # type: ignore[union-attr]
    files = ("cert", "chain", "combined", "fullchain", "privkey")
    synced = {f"sync tmp/NEW/{name}" for name in [*(f"{each}.pem" for each in files), "meta.json"]} | {"sync tmp/NEW"}
    begin = steps.index(f"rename to archive/{SITE}/2")
    assert steps[:2] == ["trial", "trial"], "ahead of the lock, and the gate itself"
    assert set(steps[2:begin]) == synced
    assert steps[begin + 1 : begin + 5] == [f"sync archive/{SITE}", f"rename to live/{SITE}", "sync live", "publish"]


# The stamps, which tell other programs to load the certificate again


class Killed(BaseException):
    pass


@pytest.mark.parametrize("site", [MAIN, SITE])
@pytest.mark.parametrize("killed_in", ["certstore.store.versions.write_stamp", "certstore.store.versions.os.pwrite"])
def test_a_kill_right_after_the_flip_does_not_keep_other_programs_on_the_old_certificate(
    killed_in: str, site: str, tmp_path: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with writing(tmp_path) as writer:
        drop_pair(writer, site, ca.issue(site if site != MAIN else MAIN_HOST))
        check_until_decided(writer, site)
        before = live_number(writer.layout, site)
        assert before is not None
        drop_pair(writer, site, ca.issue(site if site != MAIN else MAIN_HOST))
        with monkeypatch.context() as patch:
            patch.setattr(killed_in, die)
            with pytest.raises(Killed):
                check_until_decided(writer, site)
    with writing(tmp_path) as writer:
        assert live_number(writer.layout, site) == before + 1
        assert writer.layout.stamp(site).read_text() == f"{before + 1}\n"
        written = writer.layout.stamp(site).stat().st_mtime_ns
    with writing(tmp_path) as writer:
        assert writer.layout.stamp(site).stat().st_mtime_ns == written, "nothing has changed since"


@pytest.mark.parametrize("number", [9, 10, 11, 123])
def test_a_stamp_holds_the_number_and_needs_no_more_room_than_before(number: int, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.stamps.mkdir()
    layout.stamp(SITE).write_text("10\n")
    inode = layout.stamp(SITE).stat().st_ino
    write_stamp(layout, SITE, number)
    assert layout.stamp(SITE).read_text() == f"{number}\n"
    assert layout.stamp(SITE).stat().st_ino == inode


def test_a_version_goes_live_only_with_consent_which_is_asked_without_the_lock(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    """Of several nodes, only the one that still has the right to order may let its certificate go live."""
    first, late = ca.issue(SITE), ca.issue(SITE)
    asked: list[int] = []

    def agree(version: Version) -> None:
        asked.append(version.number)
        thread = threading.Thread(target=lambda: asked.extend(each.number for each in writer.versions(SITE)))
        thread.start()
        thread.join(10)
        assert served(tmp_path, SITE) is None

    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        done = writer.install_files(SITE, pair(first), source="acme:ca", doing="order", consent=agree)
        assert (done.outcome, done.version, asked) == (Outcome.DONE, 1, [1, 1])
        again = writer.install_files(SITE, pair(first), source="acme:ca", consent=lambda _: "never asked")
        assert again.reason == "already_live"
        result = writer.install_files(
            SITE, pair(late), source="acme:ca", doing="renew", consent=lambda _: "edge-b orders"
        )
        assert (result.outcome, result.reason, result.version) == (Outcome.REFUSED, CAME_LATE, 2)
        assert result.message == "archived as version 2, and not live: edge-b orders"
        live = writer.live_version(SITE)
        assert live is not None
        assert live.fingerprint == first.fingerprint
        assert [each.number for each in writer.versions(SITE)] == [2, 1]
        assert not writer.problems(SITE)


def pair(issued: Issued) -> list[DroppedFile]:
    return uploads({"fullchain.pem": issued.fullchain_pem, "privkey.pem": issued.privkey_pem})
