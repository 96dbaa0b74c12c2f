import logging
import os
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import Layout
from certstore.model.record import Outcome
from certstore.model.settings.models import SiteSettings, Source
from certstore.model.snapshot import MAIN
from certstore.store.reader import Store
from certstore.store.writer import InvalidSite, UnknownSite, UnknownVersion
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.stores import (
    MAIN_HOST,
    OTHER,
    SETTLE,
    SITE,
    acquire,
    assert_live_is_whole,
    check_until_decided,
    drop,
    drop_pair,
    issue_later,
    problem_codes,
    served,
    writing,
)


def as_files(issued: Issued) -> list[DroppedFile]:
    return [DroppedFile("fullchain.pem", issued.fullchain_pem), DroppedFile("privkey.pem", issued.privkey_pem)]


# The first start


def test_first_start_serves_a_self_signed_certificate_for_the_main_host_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), writing(tmp_path / "store"):
        pass
    main = Store.open(tmp_path / "store").site(MAIN)
    assert main.certificate is not None
    assert main.certificate.is_self_signed
    assert main.certificate.dns_names == (MAIN_HOST,)
    assert_live_is_whole(tmp_path / "store", MAIN)
    assert "SELF-SIGNED" in caplog.text


def test_self_signed_main_certificate_is_replaced_by_the_first_real_drop(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with writing(tmp_path) as writer:
        # Valid from before the self-signed one was made: being newer plays no part between drops.
        issued = issue_later(ca, MAIN_HOST)
        (tmp_path / "main.pem").write_bytes(issued.combined_pem)
        check_until_decided(writer, MAIN)
        assert served(tmp_path, MAIN) == issued.fingerprint
        assert [record.doing for record in writer.records(MAIN)] == ["self_signed", "intake"]


def test_no_self_signed_certificate_where_a_main_drop_lies_there_at_the_first_start(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    issued = ca.issue("mx.install.test")
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "bm_cert.pem").write_bytes(issued.combined_pem)
    with writing(tmp_path):
        main = Store.open(tmp_path).site(MAIN)
    assert main.certificate is not None
    assert main.certificate.fingerprint == issued.fingerprint
    assert main.host == "mx.install.test"


def test_a_main_drop_that_is_refused_at_the_first_start_keeps_its_reason(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    (tmp_path / "main.pem").write_bytes(ca.issue(MAIN_HOST).fullchain_pem)
    time.sleep(SETTLE.total_seconds())  # without a key it is decided when it has been there for a while
    with writing(tmp_path) as writer:
        assert writer.site(MAIN).certificate is not None, "a self-signed one"
        assert problem_codes(writer, MAIN) == {"drop_refused"}


def test_a_restart_keeps_the_main_certificate_that_is_there(tmp_path: Path) -> None:
    with writing(tmp_path):
        before = served(tmp_path, MAIN)
    with writing(tmp_path) as writer:
        assert served(tmp_path, MAIN) == before
        assert len(writer.versions(MAIN)) == 1


# Versions


def test_uploads_become_versions_and_rollback_returns_to_the_one_before(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        first, second = ca.issue(SITE), ca.issue(SITE)
        assert writer.install_files(SITE, as_files(first), source="upload").version == 1
        assert writer.install_files(SITE, as_files(second), source="upload").version == 2
        assert served(tmp_path, SITE) == second.fingerprint

        assert writer.rollback(SITE).version == 1
        assert served(tmp_path, SITE) == first.fingerprint
        # The version that was live before is now the second: a rollback of a rollback goes forward again.
        assert writer.rollback(SITE).version == 2
        with pytest.raises(UnknownVersion, match="kept: 1, 2"):
            writer.rollback(SITE, 7)
        assert [record.doing for record in writer.records(SITE)][-2:] == ["rollback", "rollback"]


def test_a_certificate_that_is_live_already_makes_no_version(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        issued = ca.issue(SITE)
        writer.install_files(SITE, as_files(issued), source="upload")
        again = writer.install_files(SITE, as_files(issued), source="upload")
        assert (again.outcome, again.reason, again.version) == (Outcome.NOTED, "already_live", 1)
        assert len(writer.versions(SITE)) == 1


def test_a_renewed_chain_under_the_same_leaf_is_a_new_version(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        issued = ca.issue(SITE)
        without_chain = [DroppedFile("c", issued.cert_pem), DroppedFile("k", issued.privkey_pem)]
        writer.install_files(SITE, without_chain, source="upload")
        assert writer.install_files(SITE, as_files(issued), source="upload").version == 2


def test_what_is_refused_changes_nothing_and_is_on_record(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        good, other = ca.issue(SITE), ca.issue(SITE)
        writer.install_files(SITE, as_files(good), source="upload")
        mixed = [DroppedFile("c", other.fullchain_pem), DroppedFile("k", good.privkey_pem)]
        result = writer.install_files(SITE, mixed, source="upload")
        assert result.outcome is Outcome.REFUSED
        assert served(tmp_path, SITE) == good.fingerprint
        assert writer.records(SITE)[-1].reason == "key_mismatch"
        assert "PRIVATE" not in (tmp_path / "records" / f"{SITE}.json").read_text()


@pytest.mark.parametrize("force", [False, True], ids=["without force: refused", "with force: served, and noted"])
def test_force_lets_in_what_a_person_may_overrule(tmp_path: Path, ca: CertificateAuthority, force: bool) -> None:
    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        result = writer.install_files(SITE, as_files(ca.issue("elsewhere.test")), source="upload", force=force)
        assert result.outcome is (Outcome.DONE if force else Outcome.REFUSED)
        assert [str(finding.code) for finding in result.findings] == ["name_not_covered" if force else "wrong_name"]


# Modes


def modes_below(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
        if not path.is_symlink()
    }


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777], ids=oct)
def test_keys_are_0600_and_their_folders_0700_under_any_umask(
    tmp_path: Path, ca: CertificateAuthority, umask: int
) -> None:
    root = tmp_path / "store"
    root.mkdir()
    before = os.umask(umask)
    try:
        with writing(root) as writer:
            os.umask(before)
            drop_pair(writer, SITE, ca.issue(SITE))
            os.umask(umask)
            check_until_decided(writer, SITE)
    finally:
        os.umask(before)
    for name in ("live", "archive", "accounts", "admin", "state", "tmp"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o700, name
        for path, mode in modes_below(root / name).items():
            assert mode == (0o700 if (root / name / path).is_dir() else 0o600), path
    assert stat.S_IMODE((root / "records" / f"{SITE}.json").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root may give files to any group")
def test_keys_group_may_read_live_and_archive_and_nothing_else(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path):
        pass  # a version made before the group was set: it has to follow
    with writing(tmp_path, keys_group="daemon") as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
    for site in (MAIN, SITE):
        version = (tmp_path / "live" / site).resolve()
        assert stat.S_IMODE(version.stat().st_mode) == 0o750
        assert stat.S_IMODE((version / "privkey.pem").stat().st_mode) == 0o640
        assert (version / "privkey.pem").group() == "daemon"
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    with writing(tmp_path):
        pass  # and back again
    assert stat.S_IMODE((tmp_path / "live" / MAIN / "privkey.pem").stat().st_mode) == 0o600


def test_an_unknown_keys_group_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidSite, match="no group 'nobody-has-this'"):
        acquire(tmp_path / "store", keys_group="nobody-has-this")
    assert not (tmp_path / "store").exists()


# Sites


def test_added_site_is_served_its_names_and_set_changes_them(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.add_site("client-a", SiteSettings(host=SITE, additional_names=("autodiscover.client-a.test",)))
        assert Store.open(tmp_path).site("client-a").names == (SITE, "autodiscover.client-a.test")
        writer.set_site("client-a", {"additional_names": None, "inspect": True})
        entry = Store.open(tmp_path).site("client-a")
        assert (entry.names, entry.inspect) == ((SITE,), True)
        assert "inspect: true" in (tmp_path / "domains" / "client-a" / "site.yaml").read_text()
        assert writer.check("client-a").again_in is None  # what the command wrote is no news for the next check


@pytest.mark.parametrize("key", ["main", "../x", "a/b", "Client-A", "", ".hidden", "x" * 300])
def test_a_key_that_can_be_no_site_is_refused(tmp_path: Path, key: str) -> None:
    with writing(tmp_path) as writer, pytest.raises(InvalidSite):
        writer.add_site(key, SiteSettings(host=SITE))


def test_settings_that_are_not_allowed_change_nothing(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        with pytest.raises(InvalidSite, match="certificate"):
            writer.set_site(SITE, {"certificate": "from-heaven"})
        with pytest.raises(UnknownSite):
            writer.set_site("nowhere", {"inspect": True})
        assert Store.open(tmp_path).site(SITE).inspect is False


def test_an_upload_for_a_site_that_uses_main_is_refused_with_the_way_out(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE, certificate=Source.MAIN))
        with pytest.raises(InvalidSite, match="--certificate file"):
            writer.install_files(SITE, as_files(ca.issue(SITE)), source="upload")


def test_removed_site_gives_its_names_back_keeps_its_versions_and_stays_removed(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with writing(tmp_path) as writer:
        folder = drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
        writer.remove_site(SITE)
        assert SITE not in Store.open(tmp_path).sites()
        assert not (tmp_path / "live" / SITE).is_symlink()
        assert (tmp_path / "archive" / SITE / "1" / "privkey.pem").exists()
        assert folder.is_dir()

        # Neither the drop that remains nor a change of it brings the site back, nor does a restart.
        drop_pair(writer, SITE, ca.issue(SITE))
        assert writer.check(SITE).result is None
        assert writer.site_of_place(SITE, is_folder=True) is None
    with writing(tmp_path) as writer:
        assert writer.sites() == (MAIN,)
        # The command does, and then its drop is decided afresh, under a new number.
        writer.add_site(SITE, SiteSettings(host=SITE))
        assert check_until_decided(writer, SITE).result is not None
        assert assert_live_is_whole(tmp_path, SITE) == 2


def test_a_removal_that_was_cut_short_is_finished_at_the_next_start(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
    # The tombstone is the first thing that a removal writes.
    with (tmp_path / "state" / "removed.jsonl").open("a") as tombstones:
        tombstones.write(f'["{SITE}",{{}}]\n')
    with writing(tmp_path) as writer:
        assert writer.sites() == (MAIN,)
        assert not (tmp_path / "live" / SITE).is_symlink()
        assert SITE not in Store.open(tmp_path).sites()


def test_the_main_site_can_not_be_removed(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, pytest.raises(InvalidSite, match="main site"):
        writer.remove_site(MAIN)


def test_names_of_a_removed_site_go_to_the_other_one_that_declares_them(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.add_site("client-a", SiteSettings(host=SITE))
        writer.add_site("client-b", SiteSettings(host=OTHER, additional_names=(SITE,)))
        assert Store.open(tmp_path).site("client-b").names == (OTHER,)
        assert problem_codes(writer, "client-a") == problem_codes(writer, "client-b") == {"name_conflict"}
        writer.remove_site("client-a")
        assert set(Store.open(tmp_path).site("client-b").names) == {OTHER, SITE}
        assert problem_codes(writer, "client-b") == set()


def test_the_first_declaration_keeps_a_name_over_a_restart(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.add_site("zz", SiteSettings(host=SITE))
    with writing(tmp_path) as writer:
        writer.add_site("aa", SiteSettings(host=OTHER, additional_names=(SITE,)))
    with writing(tmp_path) as writer:
        assert writer.site("zz").names == (SITE,)
        assert writer.site("aa").names == (OTHER,)


# Mending at the start


def test_numbers_of_versions_that_were_archived_and_never_live_are_not_used_again(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
    layout = Layout(tmp_path)
    layout.version(SITE, 1).rename(layout.version(SITE, 5))
    layout.live(SITE).unlink()
    layout.live(SITE).symlink_to(f"../archive/{SITE}/5")
    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
        assert assert_live_is_whole(tmp_path, SITE) == 6


def test_temporary_files_are_swept_at_the_start(tmp_path: Path) -> None:
    with writing(tmp_path):
        pass
    (tmp_path / "tmp" / "half").mkdir()
    (tmp_path / "tmp" / "half" / "privkey.pem").write_text("x")
    (tmp_path / "tmp" / "file").write_text("x")
    (tmp_path / "tmp" / "link").symlink_to("/etc")
    with writing(tmp_path):
        assert list((tmp_path / "tmp").iterdir()) == []
    assert Path("/etc").is_dir()


@pytest.mark.parametrize("damage", ["lost", "torn", "garbage", "behind live"])
def test_a_journal_that_does_not_agree_with_live_is_repaired_at_the_start(
    tmp_path: Path, ca: CertificateAuthority, damage: str
) -> None:
    journal = tmp_path / "state" / "snapshot.jsonl"
    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
        before = journal.read_bytes()
        issued = ca.issue(SITE)
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
    if damage == "lost":
        journal.unlink()
    elif damage == "torn":
        journal.write_bytes(journal.read_bytes()[:-40])
    elif damage == "garbage":
        journal.write_bytes(journal.read_bytes() + b"\x00\xff not json\n")
    else:
        journal.write_bytes(before)
    with writing(tmp_path):
        assert served(tmp_path, SITE) == issued.fingerprint


def test_a_live_version_that_somebody_deleted_gives_way_to_the_newest_whole_one(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with writing(tmp_path) as writer:
        first = ca.issue(SITE)
        for issued in (first, ca.issue(SITE)):
            drop_pair(writer, SITE, issued)
            check_until_decided(writer, SITE)
    for path in (tmp_path / "archive" / SITE / "2").iterdir():
        path.unlink()
    (tmp_path / "archive" / SITE / "2").rmdir()
    with writing(tmp_path) as writer:
        assert served(tmp_path, SITE) == first.fingerprint
        assert (writer.records(SITE)[-1].doing, writer.records(SITE)[-1].version) == ("mend", 1)
        assert assert_live_is_whole(tmp_path, SITE) == 1


def test_what_stopped_between_live_and_record_gets_its_record_at_the_start(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
    (tmp_path / "records" / f"{SITE}.json").unlink()
    (tmp_path / "state" / "snapshot.jsonl").unlink()
    with writing(tmp_path) as writer:
        assert [(record.outcome, record.version) for record in writer.records(SITE)] == [(Outcome.DONE, 1)]


# Reading


def test_reading_needs_no_lock_and_sees_what_the_writer_did(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        reader = Store.open(tmp_path)
        issued = ca.issue(SITE)
        drop(writer, SITE, {"all.pem": issued.combined_pem})
        check_until_decided(writer, SITE)
        assert reader.sites() == (MAIN, SITE)
        assert reader.live_version(SITE) == reader.versions(SITE)[0]
        version = reader.versions(SITE)[0]
        assert (version.fingerprint, version.chain_length) == (issued.fingerprint, 1)
        assert version.source == str(tmp_path / "domains" / SITE)
        assert reader.records(SITE)[-1].version == 1
        with pytest.raises(UnknownSite):
            reader.site("nowhere.test")


def test_certificates_that_are_years_old_can_be_installed_with_a_clock_of_their_time(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    past = datetime(2020, 6, 1, tzinfo=UTC)
    old = ca.issue(SITE, not_before=past - timedelta(days=1), not_after=past + timedelta(days=30))
    with writing(tmp_path, clock=lambda: past) as writer:
        drop_pair(writer, SITE, old)
        result = check_until_decided(writer, SITE).result
    assert result is not None
    assert result.outcome is Outcome.DONE


# State that is not what it was


@pytest.mark.parametrize(
    "line",
    [
        f'["{SITE}",5]',
        f'["{SITE}",{{}}]',
        f'["{SITE}",{{"host":"{SITE}","settings":null,"stamp":null,"numbers":{{"{SITE}":"1"}}}}]',
        f'["{SITE}",{{"host":"{SITE}","settings":{{"no such key":1}},"stamp":null,"numbers":{{}}}}]',
        f'["{SITE}",' + "[" * 200_000,
        "null",
    ],
    ids=["number", "empty", "wrong numbers", "settings of another release", "nested without end", "nothing"],
)
def test_damaged_state_keeps_no_writer_from_starting(line: str, tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        issued = ca.issue(SITE)
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        layout = writer.layout
    for path in (layout.declarations, layout.drop_digests, layout.tombstones, layout.records(SITE)):
        if path != layout.tombstones or SITE not in line:  # any tombstone for the site counts
            with path.open("a") as file:
                file.write(line + "\n")
    with writing(tmp_path) as writer:
        check_until_decided(writer, SITE)
    assert served(tmp_path, SITE) == issued.fingerprint
    assert_live_is_whole(tmp_path, SITE)
