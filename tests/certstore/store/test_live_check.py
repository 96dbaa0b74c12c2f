"""Live versions that were not tried yet: which are tried, what the site's problem says, and when it is solved."""

import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import Layout
from certstore.store import live_check
from certstore.store import trial as trial_module
from certstore.store.trial import Trial
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.stores import SITE, check_until_decided, drop_pair, problem_codes, served, writing
from tests.deadlines import wait_for
from tests.odd_certificates import Odd, make

WEAK = make(Odd(digest="sha3-256"))


def spoil(layout: Layout, site: str, version: int) -> dict[str, bytes]:
    """As an older release could have left it; returns what was there."""
    folder = layout.version(site, version)
    before = {name: (folder / name).read_bytes() for name in ("fullchain.pem", "privkey.pem")}
    for name in before:
        (folder / name).write_bytes(WEAK[name])
    return before


@pytest.fixture
def root(tmp_path: Path, ca: CertificateAuthority) -> Path:
    """A site with two versions."""
    with writing(tmp_path) as writer:
        for _ in range(2):
            drop_pair(writer, SITE, ca.issue(SITE))
            check_until_decided(writer, SITE)
    return tmp_path


def problem_of(writer: StoreWriter, site: str) -> str:
    return next(each.message for each in writer.problems(site) if each.code == "live_unloadable")


def test_what_was_tried_is_not_tried_again_after_a_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Mapping[str, bytes]] = []

    def note(trial: Trial, files: Mapping[str, bytes]) -> None:
        asked.append(files)

    monkeypatch.setattr(Trial, "__call__", note)
    with writing(root) as writer:
        writer.check(SITE)
        writer.check("main")
    assert asked == []
    monkeypatch.setattr(live_check, "library_in_force", lambda: "OpenSSL 9")
    with writing(root) as writer:
        writer.check(SITE)
        assert len(asked) == 2, "main at the start and this site: another library may say something else"
        writer.check(SITE)
    assert len(asked) == 2


def test_an_unloadable_live_version_is_a_problem_until_it_is_mended(root: Path) -> None:
    before = spoil(Layout(root), SITE, 2)
    with writing(root) as writer:
        check = writer.check(SITE)
        assert check.again_in is not None, "somebody may mend it"
        message = problem_of(writer, SITE)
        assert message.startswith(
            f"version 2 of {SITE}, which is live, can't be loaded (ca md too weak): version 1 is served in its place; "
        )
        assert f"certedge cert rollback {SITE}" in message
        assert served(root, SITE) == writer.versions(SITE)[0].fingerprint, "it says what is live"
        for name, content in before.items():
            (writer.layout.version(SITE, 2) / name).write_bytes(content)
        assert writer.check(SITE).again_in is None
        assert "live_unloadable" not in problem_codes(writer, SITE)


def test_a_drop_of_which_this_release_makes_what_can_be_loaded_is_served(root: Path) -> None:
    """An older release may have stored the same certificate with a key in another form."""
    key = Layout(root).version(SITE, 2) / "privkey.pem"
    key.write_bytes(WEAK["privkey.pem"])
    with writing(root) as writer:
        taken = check_until_decided(writer, SITE).result
        assert taken is not None
        assert taken.version == 3
        versions = writer.versions(SITE)
        assert versions[0].fingerprint == versions[1].fingerprint
        assert problem_codes(writer, SITE) == set()


def test_a_drop_does_not_take_the_place_of_another_certificate_that_can_not_be_loaded(
    root: Path, ca: CertificateAuthority
) -> None:
    with writing(root) as writer:
        writer.install_files(SITE, [DroppedFile("all", ca.issue(SITE).combined_pem)], source="upload")
    spoil(Layout(root), SITE, 3)
    with writing(root) as writer:
        assert writer.check(SITE).again_in == timedelta()
        check = writer.check(SITE)
        assert check.result is None
        assert check.again_in is not None
        assert check.again_in > timedelta(seconds=1)
        assert problem_codes(writer, SITE) == {"live_unloadable"}


def test_without_a_drop_there_is_one_second_look(root: Path) -> None:
    spoil(Layout(root), SITE, 2)
    shutil.rmtree(Layout(root).drop_folder(SITE))
    with writing(root) as writer:
        wait_for(lambda: (writer.check(SITE).again_in or timedelta()) > timedelta(seconds=1), "an end of the looks")
        assert "live_unloadable" in problem_codes(writer, SITE)


def test_going_back_solves_it(root: Path) -> None:
    spoil(Layout(root), SITE, 2)
    with writing(root) as writer:
        writer.check(SITE)
        assert "live_unloadable" in problem_codes(writer, SITE)
        assert writer.rollback(SITE).version == 1
        assert "live_unloadable" not in problem_codes(writer, SITE)


def test_without_any_version_that_can_be_loaded_the_problem_says_so(root: Path) -> None:
    for version in (1, 2):
        spoil(Layout(root), SITE, version)
    with writing(root) as writer:
        writer.check(SITE)
        assert "the main certificate is served in its place" in problem_of(writer, SITE)


def test_a_main_site_that_lost_every_version_gets_a_self_signed_one(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        files = [DroppedFile("all.pem", ca.issue("mail.install.test").combined_pem)]
        writer.install_files("main", files, source="upload")
    for version in (1, 2):
        spoil(Layout(tmp_path), "main", version)
    with writing(tmp_path) as writer:
        live = writer.live_version("main")
        assert live is not None
        assert live.number == 3
        assert live.is_self_signed
        assert problem_codes(writer, "main") == {"live_unusable"}
        writer.install_files("main", files, source="upload")
        assert problem_codes(writer, "main") == set()


def test_a_machine_that_can_not_try_says_nothing_about_the_site(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(Layout(root), SITE, 2)
    with writing(root) as writer:
        monkeypatch.setattr(trial_module, "PROGRAM", ("sh", "-c", "read line; kill -9 $$", "sh"))
        writer._state.trial.close()
        writer.check(SITE)
        assert "live_unloadable" not in problem_codes(writer, SITE)
