"""What the serving library can't serve never becomes live, whichever way it comes; `drops/test_processing` has the rest
of an activation.
"""

import shutil
import sys
from pathlib import Path

import pytest

from certstore.model.certificate.bundle import Refused
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.record import Outcome
from certstore.store import trial as trial_module
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.stores import SITE, assert_live_is_whole, check_until_decided, drop, drop_pair, served, writing
from tests.odd_certificates import NAME, Odd, make

DIES = "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)"
WEAK = make(Odd(digest="sha3-256"))
"""Only the library that serves refuses it."""


def uploads(files: dict[str, bytes]) -> list[DroppedFile]:
    return [DroppedFile(name, content) for name, content in files.items()]


def spoil(writer: StoreWriter, site: str, version: int) -> None:
    """As an older release could have left it."""
    for name in ("fullchain.pem", "privkey.pem"):
        (writer.layout.version(site, version) / name).write_bytes(WEAK[name])


def test_a_drop_is_refused_with_the_librarys_reason(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        drop(writer, NAME, WEAK)
        result = check_until_decided(writer, NAME).result
        assert result is not None
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "unservable")
        assert "ca md too weak" in result.message
        assert [each.code for each in writer.problems(NAME)] == ["drop_refused"]
        assert writer.versions(NAME) == (), "nothing of it was written"


def test_an_upload_is_refused_in_the_preview_and_when_it_is_forced(tmp_path: Path) -> None:
    with writing(tmp_path, main_host="elsewhere.test") as writer:
        preview = writer.preview("main", uploads(WEAK))
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
            writer._state.trial.close()
            drop_pair(writer, SITE, ca.issue(SITE))
            check = check_until_decided(writer, SITE)
            assert check.result is not None
            assert check.result.outcome is Outcome.FAILED
            assert check.again_in is not None
        assert check_until_decided(writer, SITE).result.outcome is Outcome.DONE  # type: ignore[union-attr]
