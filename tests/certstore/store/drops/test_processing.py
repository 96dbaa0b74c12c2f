"""What becomes of drops: the served certificate, the record, the problems, and that no other site is touched."""

import errno
import itertools
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.record import Outcome
from certstore.model.settings.models import SiteSettings, Source
from certstore.model.snapshot import MAIN
from certstore.store import site_settings
from certstore.store.reader import Store
from certstore.store.site_yaml import FoundSettings, read_site_file
from certstore.store.unlocking import Effort
from certstore.store.versions import read_live
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.stores import (
    OTHER,
    SITE,
    assert_live_is_whole,
    check_until_decided,
    drop,
    drop_pair,
    problem_codes,
    served,
    writing,
)
from tests.deadlines import wait_for

# Good drops


def as_separate_files(folder: Path, issued: Issued) -> None:
    folder.mkdir()
    (folder / "the key").write_bytes(issued.privkey_pem)
    (folder / "leaf").write_bytes(issued.cert_pem)
    (folder / "ca-bundle").write_bytes(issued.chain_pem)


def as_one_file_in_the_folder(folder: Path, issued: Issued) -> None:
    folder.mkdir()
    (folder / "bm_cert.pem").write_bytes(issued.combined_pem)


def as_one_file_beside_the_folders(folder: Path, issued: Issued) -> None:
    folder.with_name(f"{folder.name}.pem").write_bytes(issued.combined_pem)


def in_both_places(folder: Path, issued: Issued) -> None:
    folder.mkdir()
    (folder / "key.pem").write_bytes(issued.privkey_pem)
    folder.with_name(f"{folder.name}.pem").write_bytes(issued.fullchain_pem)


def as_certbot_links(folder: Path, issued: Issued) -> None:
    folder.mkdir()
    elsewhere = folder.parent.parent.parent / "letsencrypt"
    issued.write_to(elsewhere)
    for name in ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem"):
        (folder / name).symlink_to(elsewhere / name)


def as_kubernetes_mounts_it(folder: Path, issued: Issued) -> None:
    (folder / "..1").mkdir(parents=True)
    (folder / "..1" / "tls.crt").write_bytes(issued.fullchain_pem)
    (folder / "..1" / "tls.key").write_bytes(issued.privkey_pem)
    (folder / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key"):
        (folder / name).symlink_to(f"..data/{name}")


@pytest.mark.parametrize(
    "lay_down",
    [
        as_separate_files,
        as_one_file_in_the_folder,
        as_one_file_beside_the_folders,
        in_both_places,
        as_certbot_links,
        as_kubernetes_mounts_it,
    ],
    ids=lambda function: function.__name__,
)
def test_a_drop_is_installed_in_whatever_form_it_comes(
    tmp_path: Path, ca: CertificateAuthority, lay_down: Callable[[Path, Issued], None]
) -> None:
    root, issued = tmp_path / "store", ca.issue(SITE)
    with writing(root) as writer:
        lay_down(root / "domains" / SITE, issued)
        before = sorted(path.lstat().st_mtime_ns for path in (root / "domains").rglob("*"))
        check_until_decided(writer, SITE)
        assert served(root, SITE) == issued.fingerprint
        assert assert_live_is_whole(root, SITE) == 1
        assert (root / "live" / SITE / "chain.pem").read_bytes() == issued.chain_pem
        assert sorted(path.lstat().st_mtime_ns for path in (root / "domains").rglob("*")) == before


def test_one_file_named_after_a_sites_host_is_that_sites_drop(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        writer.add_site("client-a", SiteSettings(host=SITE))
        issued = ca.issue(SITE)
        (tmp_path / "domains" / f"{SITE}.pem").write_bytes(issued.combined_pem)
        assert writer.site_of_place(f"{SITE}.pem", is_folder=False) == "client-a"
        check_until_decided(writer, "client-a")
        assert served(tmp_path, "client-a") == issued.fingerprint
        assert writer.sites() == (MAIN, "client-a")


@pytest.mark.parametrize(
    ("name", "is_folder", "site"),
    [
        (SITE, True, SITE),
        (f"{SITE}.pem", False, SITE),
        ("client-a", True, "client-a"),
        ("client-a.pem", False, None),
        ("Mail.Client-A.test", True, None),
        ("Mail.Client-A.test.pem", False, None),
        ("main", True, None),
        ("notes.txt", False, None),
        (".hidden", True, None),
        ("..", True, None),
        ("192.0.2.1.pem", False, None),
    ],
)
def test_which_names_in_the_drop_place_can_be_a_site(
    tmp_path: Path, name: str, is_folder: bool, site: str | None
) -> None:
    with writing(tmp_path) as writer:
        assert writer.site_of_place(name, is_folder=is_folder) == site


def test_the_newest_pair_of_several_in_one_drop_wins(tmp_path: Path, ca: CertificateAuthority) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    old = ca.issue(SITE, not_before=now - timedelta(days=60), not_after=now + timedelta(days=30))
    new = ca.issue(SITE, not_before=now - timedelta(days=1), not_after=now + timedelta(days=89))
    with writing(tmp_path) as writer:
        drop(writer, SITE, {"a.pem": new.combined_pem, "z.pem": old.combined_pem})
        check_until_decided(writer, SITE)
        assert served(tmp_path, SITE) == new.fingerprint


def test_a_name_that_can_be_no_site_writes_one_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with writing(tmp_path) as writer:
        caplog.clear()
        for name in ("x\n2026-01-01T00:00:00+0000 control INFO all is well\x1b[2J.pem", "\udcff.pem"):
            assert writer.site_of_place(name, is_folder=False) is None
    assert len(caplog.messages) == 2
    assert all(message.isprintable() for message in caplog.messages)


def test_an_ec_and_an_rsa_pair_with_the_same_names_are_one_version(tmp_path: Path, ca: CertificateAuthority) -> None:
    ec, rsa = ca.issue(SITE), ca.issue(SITE, key_type="rsa2048")
    with writing(tmp_path) as writer:
        drop(writer, SITE, {"ec.pem": ec.combined_pem, "rsa.pem": rsa.combined_pem})
        check_until_decided(writer, SITE)
        live = tmp_path / "live" / SITE
        assert served(tmp_path, SITE) == ec.fingerprint
        assert (live / "fullchain-rsa.pem").read_bytes() == rsa.fullchain_pem
        certificate = Store.open(tmp_path).site(SITE).certificate
        assert certificate is not None
        assert certificate.has_rsa_pair


def test_a_bare_site_gets_the_names_of_its_certificate_that_lie_beside_its_own(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with writing(tmp_path) as writer:
        issued = ca.issue(SITE, "autodiscover.client-a.test", OTHER)
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        assert Store.open(tmp_path).site(SITE).names == (SITE, "autodiscover.client-a.test")
        # Declared by a site of its own, the name moves there, in the same breath for the workers.
        writer.add_site("other", SiteSettings(host="autodiscover.client-a.test"))
        assert Store.open(tmp_path).site(SITE).names == (SITE,)
        assert Store.open(tmp_path).snapshot().by_name["autodiscover.client-a.test"].site == "other"


# A drop counts once


def test_a_drop_that_still_lies_there_does_not_undo_a_rollback_or_an_upload(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    first, second, uploaded = ca.issue(SITE), ca.issue(SITE), ca.issue(SITE)
    with writing(tmp_path) as writer:
        for issued in (first, second):
            drop_pair(writer, SITE, issued)
            check_until_decided(writer, SITE)
        writer.rollback(SITE)
        assert writer.check(SITE).result is None
        assert served(tmp_path, SITE) == first.fingerprint
    with writing(tmp_path) as writer:
        # Neither a restart nor a note beside it nor a new date makes it news again.
        (tmp_path / "domains" / SITE / "README").write_text("rolled back on Monday")
        os.utime(tmp_path / "domains" / SITE / "privkey.pem")
        assert writer.check(SITE).result is None
        assert served(tmp_path, SITE) == first.fingerprint
        writer.install_files(SITE, [DroppedFile("all", uploaded.combined_pem)], source="upload")
        assert writer.check(SITE).result is None
        assert served(tmp_path, SITE) == uploaded.fingerprint
        # A drop that is another one counts.
        third = ca.issue(SITE)
        drop_pair(writer, SITE, third)
        check_until_decided(writer, SITE)
        assert served(tmp_path, SITE) == third.fingerprint


def refusals(writer: StoreWriter) -> list[str]:
    return [each.reason for each in writer.records(SITE) if each.outcome is Outcome.REFUSED]


def test_a_start_judges_a_refused_drop_again(tmp_path: Path, ca: CertificateAuthority) -> None:
    """An older release may have refused it, or the clock was wrong."""
    issued, long_ago = ca.issue(SITE), datetime.now(UTC) - timedelta(days=1000)
    with writing(tmp_path, clock=lambda: long_ago) as writer:
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        assert problem_codes(writer, SITE) == {"drop_refused"}
    with writing(tmp_path) as writer:
        check_until_decided(writer, SITE)
        assert problem_codes(writer, SITE) == set()
        assert served(tmp_path, SITE) == issued.fingerprint


def test_a_drop_that_is_refused_again_for_the_same_reason_is_recorded_once(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    folder = tmp_path / "domains" / SITE
    folder.mkdir(parents=True)
    (folder / "all.pem").write_bytes(ca.issue(SITE).fullchain_pem)
    for _ in range(3):
        with writing(tmp_path) as writer:
            assert check_until_decided(writer, SITE).again_in is None
            assert refusals(writer) == ["no_key"]
            assert problem_codes(writer, SITE) == {"drop_refused"}


def test_a_refused_drop_that_others_followed_does_not_come_back_with_a_start(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    uploaded, long_ago = ca.issue(SITE), datetime.now(UTC) - timedelta(days=1000)
    with writing(tmp_path, clock=lambda: long_ago) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
        now = datetime.now(UTC)
        writer.install_files(SITE, [DroppedFile("all", uploaded.combined_pem)], source="upload", now=now)
    with writing(tmp_path) as writer:
        assert check_until_decided(writer, SITE).result is None
        assert served(tmp_path, SITE) == uploaded.fingerprint


def test_a_drop_that_was_refused_for_its_names_is_taken_when_the_site_has_them(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    issued = ca.issue("www.client-a.test")
    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        assert refusals(writer) == ["wrong_name"]
        (tmp_path / "domains" / SITE / "site.yaml").write_text("host: www.client-a.test\n")
        check_until_decided(writer, SITE)
        assert served(tmp_path, SITE) == issued.fingerprint
        assert problem_codes(writer, SITE) == set()


# What is not complete yet


def test_an_unfinished_drop_waits_and_is_taken_when_it_is_whole(tmp_path: Path, ca: CertificateAuthority) -> None:
    issued = ca.issue(SITE)
    with writing(tmp_path, settle=timedelta(hours=1)) as writer:
        drop(writer, SITE, {"privkey.pem": issued.privkey_pem})
        check = writer.check(SITE)
        assert check.result is None
        assert check.again_in is not None
        drop(writer, SITE, {"fullchain.pem": issued.fullchain_pem[:-30]})
        assert writer.check(SITE).result is None
        assert writer.records(SITE) == ()
        drop(writer, SITE, {"fullchain.pem": issued.fullchain_pem})
        result = writer.check(SITE).result
        assert result is not None
        assert result.outcome is Outcome.DONE


def test_a_leaf_without_its_chain_waits_before_it_is_served(tmp_path: Path, ca: CertificateAuthority) -> None:
    old, new = ca.issue(SITE), ca.issue(SITE)
    with writing(tmp_path, settle=timedelta(hours=1)) as writer:
        drop_pair(writer, SITE, old)
        check_until_decided(writer, SITE)
        drop(writer, SITE, {"privkey.pem": new.privkey_pem, "fullchain.pem": new.cert_pem})
        check = writer.check(SITE)
        assert (check.result, check.again_in is not None) == (None, True)
        assert served(tmp_path, SITE) == old.fingerprint
    with writing(tmp_path) as writer:
        # Nobody completes it: it was meant so, and the version before has the chain.
        check_until_decided(writer, SITE)
        assert served(tmp_path, SITE) == new.fingerprint
        version = writer.live_version(SITE)
        assert version is not None
        assert [str(problem.code) for problem in version.problems] == ["chain_completed"]


def test_a_drop_that_never_settles_is_reported(
    tmp_path: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certstore.store.drops.processing._UNSETTLED_AFTER", timedelta(seconds=0.05))
    with writing(tmp_path, settle=timedelta(hours=1)) as writer:
        drop(writer, SITE, {"privkey.pem": ca.issue(SITE).privkey_pem})

        def is_reported() -> bool:
            writer.check(SITE)
            return "unsettled" in problem_codes(writer, SITE)

        wait_for(is_reported, "the problem `unsettled`")


# Nothing vanishes by accident


@pytest.mark.parametrize("gone", ["folder", "files"])
def test_a_drop_that_vanishes_leaves_the_certificate_and_is_reported(
    tmp_path: Path, ca: CertificateAuthority, gone: str
) -> None:
    issued = ca.issue(SITE)
    with writing(tmp_path) as writer:
        folder = drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        shutil.rmtree(folder)
        if gone == "files":
            folder.mkdir()
        check_until_decided(writer, SITE)
        assert served(tmp_path, SITE) == issued.fingerprint
        assert problem_codes(writer, SITE) == {"source_missing"}
    with writing(tmp_path) as writer:
        # After a restart too the site is there without its files; when they are back, all is well.
        check_until_decided(writer, SITE)
        assert served(tmp_path, SITE) == issued.fingerprint
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        assert problem_codes(writer, SITE) == set()
        assert len(writer.versions(SITE)) == 1


def test_a_site_yaml_that_vanishes_leaves_the_names_over_a_restart(tmp_path: Path) -> None:
    settings = SiteSettings(host=SITE, additional_names=("autodiscover.client-a.test",), inspect=True)
    with writing(tmp_path) as writer:
        writer.add_site("client-a", settings)
        shutil.rmtree(tmp_path / "domains" / "client-a")
    with writing(tmp_path) as writer:
        check_until_decided(writer, "client-a")
        entry = Store.open(tmp_path).site("client-a")
        assert (entry.names, entry.inspect) == (settings.names, True)
        assert problem_codes(writer, "client-a") == {"source_missing"}


# site.yaml


def test_a_bad_site_yaml_keeps_the_site_as_it_was_with_a_record(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.add_site("client-a", SiteSettings(host=SITE))
        path = tmp_path / "domains" / "client-a" / "site.yaml"
        path.write_text(f"host: {SITE}\nadditional_name: [x.test]\n")
        check_until_decided(writer, "client-a")
        assert Store.open(tmp_path).site("client-a").names == (SITE,)
        record = writer.records("client-a")[-1]
        assert (record.doing, record.outcome) == ("settings", Outcome.REFUSED)
        assert "additional_name" in record.message
        assert str(path) in record.message
        assert problem_codes(writer, "client-a") == {"settings_invalid"}
        check_until_decided(writer, "client-a")
        assert writer.records("client-a")[-1] == record

        path.write_text(f"host: {SITE}\nadditional_names: [x.client-a.test]\n")
        check_until_decided(writer, "client-a")
        assert Store.open(tmp_path).site("client-a").names == (SITE, "x.client-a.test")
        assert problem_codes(writer, "client-a") == set()


def test_a_bad_site_yaml_of_a_new_folder_is_on_record_though_there_is_no_site(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        drop(writer, SITE, {"site.yaml": b"hostt: x\n"})
        check_until_decided(writer, SITE)
        assert SITE not in writer.sites()
        assert problem_codes(writer, SITE) == {"settings_invalid"}


def test_a_site_yaml_that_was_cut_off_does_not_lose_names_for_a_moment(tmp_path: Path) -> None:
    with writing(tmp_path, settle=timedelta(hours=1)) as writer:
        writer.add_site("client-a", SiteSettings(host=SITE, additional_names=("x.client-a.test",)))
        (tmp_path / "domains" / "client-a" / "site.yaml").write_text(f"host: {SITE}\n")
        assert writer.check("client-a").again_in is not None
        assert Store.open(tmp_path).site("client-a").names == (SITE, "x.client-a.test")


@pytest.mark.parametrize("source", [Source.MAIN, Source.ACME])
def test_a_drop_is_kept_back_where_the_certificate_comes_from_elsewhere_and_taken_when_it_may(
    tmp_path: Path, ca: CertificateAuthority, source: Source
) -> None:
    issued = ca.issue(SITE)
    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE, certificate=source))
        drop_pair(writer, SITE, issued)
        writer.check(SITE)
        assert served(tmp_path, SITE) is None
        assert problem_codes(writer, SITE) == {"not_activated"}
        assert f"certificate: {source.value}" in writer.records(SITE)[-1].message
        count = len(writer.records(SITE))
        writer.check(SITE)
        assert len(writer.records(SITE)) == count

        writer.set_site(SITE, {"certificate": "file"})
        check_until_decided(writer, SITE)
        assert served(tmp_path, SITE) == issued.fingerprint
        assert problem_codes(writer, SITE) == set()


def test_setting_a_site_to_main_takes_its_certificate_out_of_use_and_file_brings_it_back(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    issued = ca.issue(SITE)
    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        writer.set_site(SITE, {"certificate": "main"})
        assert served(tmp_path, SITE) is None
    with writing(tmp_path) as writer:
        assert served(tmp_path, SITE) is None
        writer.set_site(SITE, {"certificate": "file"})
        assert served(tmp_path, SITE) == issued.fingerprint


def test_two_sites_that_declare_one_name_both_report_it(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        drop(writer, "client-a", {"site.yaml": f"host: {SITE}\n".encode()})
        writer.check("client-a")
        drop(writer, "client-b", {"site.yaml": f"host: {OTHER}\nadditional_names: [{SITE}]\n".encode()})
        writer.check("client-b")
        for site in ("client-a", "client-b"):
            (problem,) = writer.problems(site)
            assert (str(problem.code), SITE in problem.message) == ("name_conflict", True)
        drop(writer, "client-b", {"site.yaml": f"host: {OTHER}\n".encode()})
        check_until_decided(writer, "client-b")
        assert problem_codes(writer, "client-a") == problem_codes(writer, "client-b") == set()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Mail.Client-A.test", "rename it to mail.client-a.test"),
        ("client-a", "has no site.yaml"),
        ("Upper.test.pem", "rename it to upper.test.pem"),
        ("bücher.test.pem", "rename it to xn--bcher-kva.test.pem"),
        ("no_host_name.pem", "rename it to the host name, as in mail.example.com"),
    ],
)
def test_what_can_not_be_a_site_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, words: str
) -> None:
    with writing(tmp_path) as writer:
        is_folder = not name.endswith(".pem")
        if is_folder:
            (tmp_path / "domains" / name).mkdir()
        for _ in range(3):
            site = writer.site_of_place(name, is_folder=is_folder)
            if site is not None:
                writer.check(site)
    assert caplog.text.count(f"domains/{name} is") == 1
    assert words in caplog.text


def test_a_conflict_between_sites_that_were_there_before_the_first_start_is_reported(tmp_path: Path) -> None:
    for site, host in (("client-a", SITE), ("client-b", OTHER)):
        (tmp_path / "domains" / site).mkdir(parents=True)
        (tmp_path / "domains" / site / "site.yaml").write_text(f"host: {host}\nadditional_names: [x.shared.test]\n")
    with writing(tmp_path) as writer:
        assert problem_codes(writer, "client-a") == problem_codes(writer, "client-b") == {"name_conflict"}
        # Seen at the same moment, neither being its host's: the order of the keys decides, and keeps to it.
        assert "x.shared.test" in writer.site("client-a").names
    with writing(tmp_path) as writer:
        assert "x.shared.test" in writer.site("client-a").names


def test_a_drop_that_could_not_be_opened_for_want_of_memory_is_opened_later(
    tmp_path: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with writing(tmp_path) as writer:
        drop(writer, SITE, {"a.p12": ca.issue(SITE).pkcs12(None)})
        with monkeypatch.context() as patched:
            patched.setattr("certstore.store.unlocking.subprocess.run", no_memory)
            wait_for(lambda: writer.check(SITE).again_in == timedelta(seconds=30), "a check that is put off")
        assert served(tmp_path, SITE) is None
        result = check_until_decided(writer, SITE).result
        assert result is not None
        assert result.outcome is Outcome.DONE


def test_a_drop_that_takes_more_effort_than_was_granted_is_no_refusal(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        drop(writer, SITE, {"a.p12": ca.issue(SITE).pkcs12(None)})
        check = writer.check(SITE, Effort.NONE)
        assert (check.needs, check.result) == (Effort.SHORT, None)
        assert problem_codes(writer, SITE) == set()
        result = check_until_decided(writer, SITE).result
        assert result is not None
        assert result.outcome is Outcome.DONE


def test_a_site_yaml_that_takes_long_to_read_holds_up_no_other_site(
    tmp_path: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(tmp_path) as writer:
        slow = drop(writer, SITE, {"site.yaml": b"host: slow.client-a.test\n"}) / "site.yaml"
        drop_pair(writer, OTHER, ca.issue(OTHER))
        is_read = threading.Event()

        def read_slowly(path: Path, base: Path) -> FoundSettings:
            if path == slow:
                assert is_read.wait(60)
            return read_site_file(path, base)

        monkeypatch.setattr("certstore.store.site_settings.read_site_file", read_slowly)
        checking = threading.Thread(target=writer.check, args=(SITE,))
        checking.start()
        assert check_until_decided(writer, OTHER).result is not None
        assert SITE not in writer.sites()
        is_read.set()
        checking.join()
        assert writer.site(SITE).host == "slow.client-a.test"


def test_a_site_yaml_that_changes_with_every_look_ends_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(tmp_path) as writer:
        drop(writer, SITE, {"site.yaml": b"host: a.client-a.test\n"})
        writer.check(SITE)
        hosts = itertools.cycle(["b.client-a.test", "c.client-a.test"])

        def meanwhile_changed(before: site_settings.SettingsBefore) -> FoundSettings | None:
            found = site_settings.read_settings(before)
            writer.set_site(SITE, {"host": next(hosts)})
            return found

        monkeypatch.setattr("certstore.store.writer.read_settings", meanwhile_changed)
        assert writer.check(SITE).again_in is not None


def test_a_dropped_leaf_without_its_chain_gets_that_of_an_earlier_version(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    with writing(tmp_path) as writer:
        folder = drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
        renewed = ca.issue(SITE)
        (folder / "privkey.pem").write_bytes(renewed.privkey_pem)
        (folder / "fullchain.pem").write_bytes(renewed.cert_pem)
        check_until_decided(writer, SITE)
        assert (writer.layout.live(SITE) / "fullchain.pem").read_bytes() == renewed.fullchain_pem
        assert "missing_intermediate" not in problem_codes(writer, SITE)


def test_a_dropped_leaf_whose_chain_nobody_has_is_served_with_a_problem(
    tmp_path: Path, ca: CertificateAuthority
) -> None:
    """Nobody is there who could be asked."""
    issued = ca.issue(SITE)
    with writing(tmp_path) as writer:
        drop(writer, SITE, {"leaf.pem": issued.privkey_pem + issued.cert_pem})
        check_until_decided(writer, SITE)
        live = read_live(writer.layout, SITE)
    assert live is not None
    assert [problem.code for problem in live.problems] == ["missing_intermediate"]
