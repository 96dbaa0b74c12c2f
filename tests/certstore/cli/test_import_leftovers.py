"""What certbot and acme.sh were set to do and certedge does not take over."""

import base64
from pathlib import Path

import pytest

from certstore.cli.import_leftovers import leftovers
from certstore.cli.import_sources import READERS
from tests.certificates import CertificateAuthority
from tests.certstore.cli.test_import_sources import acme_sh_domain, certbot_lineage

CA = CertificateAuthority()


def said(program: str, folder: Path, key_type: str = "ec256") -> str:
    found = READERS[program](folder)
    keys = {each.path: each.site for each in found.sites}
    return "\n".join(each.message for each in leftovers(program, folder, found, keys, key_type))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("reuse_key = True", "key reuse"),
        ("pre_hook = stop-it", "the hook before an order (pre_hook = stop-it)"),
        ("post_hook = start-it", "post_hook = start-it"),
        ("renew_hook = reload-it", "renew_hook = reload-it"),
        ("must_staple = True", "must-staple"),
        ("preferred_chain = ISRG Root X1", "acme.preferred_chain"),
        ("required_profile = shortlived", "certedge site set a.test --profile"),
    ],
)
def test_setting_of_a_certbot_lineage_is_named(tmp_path: Path, line: str, expected: str) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test"))
    assert said("certbot", tmp_path) == ""
    with (tmp_path / "renewal/a.test.conf").open("a") as conf:
        conf.write(f"{line}\n")
    assert expected in said("certbot", tmp_path)
    assert "a.test: " in said("certbot", tmp_path)


@pytest.mark.parametrize("value", ["False", "None", "0", ""])
def test_setting_that_is_off_is_not_named(tmp_path: Path, value: str) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test"))
    with (tmp_path / "renewal/a.test.conf").open("a") as conf:
        conf.write(f"reuse_key = {value}\npre_hook = {value}\nmust_staple = {value}\n")
    assert said("certbot", tmp_path) == ""


def test_hooks_in_folders_and_in_cli_ini_concern_all_sites(tmp_path: Path) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test"))
    hooks = tmp_path / "renewal-hooks/deploy"
    hooks.mkdir(parents=True)
    (hooks / "reload-dovecot").write_text("#!/bin/sh\n")
    (tmp_path / "cli.ini").write_text("deploy-hook = ignored\npost_hook = tell-me\n")
    text = said("certbot", tmp_path)
    assert f"all sites: the deploy hook {hooks / 'reload-dovecot'}" in text
    assert "all sites: the hook after an order (post_hook = tell-me)" in text


@pytest.mark.parametrize(
    ("key_type", "ordered", "is_named"),
    [("rsa2048", "ec256", True), ("ec256", "ec256", False), ("rsa3072", "rsa3072", False), ("ec384", "ec256", True)],
)
def test_key_type_that_renewals_would_change_is_named(
    tmp_path: Path, key_type: str, ordered: str, is_named: bool
) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test", key_type=key_type))
    assert (f"the key type {key_type}" in said("certbot", tmp_path, ordered)) is is_named


def test_pair_of_keys_is_one_key_type(tmp_path: Path) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test", key_type="rsa2048"))
    certbot_lineage(tmp_path, "a.test-0001", CA.issue("a.test"))
    assert "the key type ec256+rsa2048" in said("certbot", tmp_path)
    assert said("certbot", tmp_path, "ec256+rsa2048") == ""


def test_settings_of_acme_sh_are_named(tmp_path: Path) -> None:
    acme_sh_domain(tmp_path, "a.test", CA.issue("a.test"), ecc=True)
    command = base64.b64encode(b"systemctl reload dovecot").decode()
    with (tmp_path / "a.test_ecc/a.test.conf").open("a") as conf:
        conf.write(f"Le_ReloadCmd='__ACME_BASE64__START_{command}__ACME_BASE64__END_'\nLe_PreHook=''\n")
    text = said("acme.sh", tmp_path)
    assert "Le_ReloadCmd = systemctl reload dovecot" in text
    assert "Le_PreHook" not in text
    assert "a.test: key reuse" in text, "acme.sh keeps the key by default"
    with (tmp_path / "a.test_ecc/a.test.conf").open("a") as conf:
        conf.write("Le_ForceNewDomainKey='1'\n")
    assert "key reuse" not in said("acme.sh", tmp_path)


def test_sites_that_are_left_alone_leave_nothing_behind(tmp_path: Path) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test", key_type="rsa2048"))
    found = READERS["certbot"](tmp_path)
    assert leftovers("certbot", tmp_path, found, {}, "ec256") == ()


def test_foreign_bytes_and_missing_files_say_nothing(tmp_path: Path) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test"))
    (tmp_path / "renewal/a.test.conf").write_bytes(b"\xff\xfe\xff reuse_key = \xd8\x00")
    assert said("certbot", tmp_path) == ""
    (tmp_path / "renewal/a.test.conf").unlink()
    assert said("certbot", tmp_path) == ""
