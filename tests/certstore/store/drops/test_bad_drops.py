"""The table of bad drops: the certificate that is served stays, the reason is on record, no other site is touched."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.record import Outcome
from certstore.store.reader import Store
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.stores import OTHER, SITE, check_until_decided, drop_pair, problem_codes, served, writing


def half_written(folder: Path, ca: CertificateAuthority) -> None:
    issued = ca.issue(SITE)
    (folder / "privkey.pem").write_bytes(issued.privkey_pem)
    (folder / "fullchain.pem").write_bytes(issued.fullchain_pem[: len(issued.fullchain_pem) // 2])


def only_a_new_certificate(folder: Path, ca: CertificateAuthority) -> None:
    (folder / "fullchain.pem").write_bytes(ca.issue(SITE).fullchain_pem)


def only_a_new_key(folder: Path, ca: CertificateAuthority) -> None:
    (folder / "privkey.pem").write_bytes(ca.issue(SITE).privkey_pem)


def expired(folder: Path, ca: CertificateAuthority) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    write(folder, ca.issue(SITE, not_before=now - timedelta(days=90), not_after=now - timedelta(days=1)))


def not_for_this_site(folder: Path, ca: CertificateAuthority) -> None:
    write(folder, ca.issue("webmail.elsewhere.test"))


def a_ca_as_leaf(folder: Path, ca: CertificateAuthority) -> None:
    write(folder, ca.issue(SITE, is_ca=True))


def a_weak_key(folder: Path, ca: CertificateAuthority) -> None:
    write(folder, ca.issue(SITE, key_type="rsa1024"))


def a_locked_key(folder: Path, ca: CertificateAuthority) -> None:
    issued = ca.issue(SITE)
    write(folder, issued)
    (folder / "privkey.pem").write_bytes(issued.encrypted_privkey_pem(b"secret words"))


def empty_files(folder: Path, ca: CertificateAuthority) -> None:
    (folder / "privkey.pem").write_bytes(b"")
    (folder / "fullchain.pem").write_bytes(b"")


def ten_megabytes(folder: Path, ca: CertificateAuthority) -> None:
    write(folder, ca.issue(SITE))
    (folder / "more.pem").write_bytes(b"A" * 10_000_000)


def binary_noise(folder: Path, ca: CertificateAuthority) -> None:
    clear(folder)
    (folder / "cert.pem").write_bytes(bytes(range(256)) * 64)


def a_web_page(folder: Path, ca: CertificateAuthority) -> None:
    clear(folder)
    (folder / "cert.pem").write_bytes(b"<html><title>404</title></html>")


def a_pipe(folder: Path, ca: CertificateAuthority) -> None:
    write(folder, ca.issue(SITE))
    os.mkfifo(folder / "more.pem")


def a_device(folder: Path, ca: CertificateAuthority) -> None:
    write(folder, ca.issue(SITE))
    (folder / "more.pem").symlink_to("/dev/zero")


def a_loop_of_links(folder: Path, ca: CertificateAuthority) -> None:
    write(folder, ca.issue(SITE))
    (folder / "a.pem").symlink_to("b.pem")
    (folder / "b.pem").symlink_to("a.pem")


def a_link_to_nothing(folder: Path, ca: CertificateAuthority) -> None:
    write(folder, ca.issue(SITE))
    (folder / "more.pem").symlink_to("nothing")


def a_folder_for_a_file(folder: Path, ca: CertificateAuthority) -> None:
    write(folder, ca.issue(SITE))
    (folder / "x.pem").mkdir()


def a_thousand_files(folder: Path, ca: CertificateAuthority) -> None:
    issued = ca.issue(SITE)
    for number in range(1000):
        (folder / f"{number}.pem").write_bytes(issued.combined_pem)


def write(folder: Path, issued: Issued) -> None:
    (folder / "privkey.pem").write_bytes(issued.privkey_pem)
    (folder / "fullchain.pem").write_bytes(issued.fullchain_pem)


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


BAD_DROPS: dict[Callable[[Path, CertificateAuthority], None], str] = {
    half_written: "incomplete_pem",
    only_a_new_certificate: "key_mismatch",
    only_a_new_key: "key_mismatch",
    expired: "expired",
    not_for_this_site: "wrong_name",
    a_ca_as_leaf: "ca_leaf",
    a_weak_key: "weak_key",
    a_locked_key: "encrypted_key",
    empty_files: "empty",
    binary_noise: "unreadable",
    a_web_page: "unreadable",
    a_thousand_files: "too_large",
}
BESIDE_A_WHOLE_PAIR = [ten_megabytes, a_pipe, a_device, a_loop_of_links, a_link_to_nothing, a_folder_for_a_file]


@pytest.mark.parametrize("spoil", BESIDE_A_WHOLE_PAIR)
def test_what_cannot_be_read_beside_a_whole_pair_is_noted(
    tmp_path: Path, ca: CertificateAuthority, spoil: Callable[[Path, CertificateAuthority], None]
) -> None:
    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        before = check_until_decided(writer, SITE).result
        spoil(tmp_path / "domains" / SITE, ca)
        after = check_until_decided(writer, SITE).result
        assert before is not None
        assert after is not None
        assert (after.outcome, after.version) == (Outcome.DONE, 2)
        assert served(tmp_path, SITE) == after.fingerprint != before.fingerprint
        assert "whole without it" in writer.records(SITE)[-1].message
        assert problem_codes(Store.open(tmp_path), SITE) == set()
        shutil.rmtree(tmp_path / "domains" / SITE)
        (tmp_path / "domains" / SITE).mkdir()
        spoil(tmp_path / "domains" / SITE, ca)
        (tmp_path / "domains" / SITE / "privkey.pem").unlink()
        refused = check_until_decided(writer, SITE).result
        assert refused is not None
        assert refused.outcome is Outcome.REFUSED, "without a pair it is the reason"
        assert served(tmp_path, SITE) == after.fingerprint


@pytest.mark.parametrize(("spoil", "reason"), BAD_DROPS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_a_bad_drop_changes_nothing_but_the_record(
    tmp_path: Path, ca: CertificateAuthority, spoil: Callable[[Path, CertificateAuthority], None], reason: str
) -> None:
    with writing(tmp_path) as writer:
        good = {site: ca.issue(site) for site in (SITE, OTHER)}
        for site, issued in good.items():
            drop_pair(writer, site, issued)
            check_until_decided(writer, site)
        live = os.readlink(tmp_path / "live" / SITE)  # noqa: PTH115
        others = (tmp_path / "records" / f"{OTHER}.json").read_bytes()

        spoil(tmp_path / "domains" / SITE, ca)
        check = check_until_decided(writer, SITE)

        assert check.result is not None
        assert check.result.outcome is Outcome.REFUSED
        assert os.readlink(tmp_path / "live" / SITE) == live  # noqa: PTH115
        assert {site: served(tmp_path, site) for site in good} == {
            site: issued.fingerprint for site, issued in good.items()
        }
        record = writer.records(SITE)[-1]
        assert (record.outcome, record.reason) == (Outcome.REFUSED, reason)
        assert record.message
        assert problem_codes(Store.open(tmp_path), SITE) == {"drop_refused"}
        assert (tmp_path / "records" / f"{OTHER}.json").read_bytes() == others
        assert len(writer.versions(SITE)) == 1
        # Once is enough, and a corrected drop is accepted.
        assert writer.check(SITE).result is None
        shutil.rmtree(tmp_path / "domains" / SITE)
        corrected = ca.issue(SITE)
        drop_pair(writer, SITE, corrected)
        check_until_decided(writer, SITE)
        assert served(tmp_path, SITE) == corrected.fingerprint
        assert problem_codes(Store.open(tmp_path), SITE) == set()
