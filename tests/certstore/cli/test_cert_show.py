"""`certedge cert show`: what a client gets, without a client."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import add_site, certedge, install, open_folder, write_edge
from tests.certstore.model.bundles import DAY, NOW

CA = CertificateAuthority("Show CA")
HOST = "a.test"


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        write_edge(made)
        add_site(made, HOST)
        yield made


def test_live_certificate_is_shown_with_its_chain_and_validity(folder: Path) -> None:
    issued = CA.issue(HOST, "www.a.test")
    install(folder, HOST, issued)
    ran = certedge(folder, "cert", "show", HOST)
    assert ran.code == 0, ran.err
    for words in ("1 (live)", "a.test www.a.test", issued.fingerprint, "ec 256", "TLSA 3 1 1:", "chain:"):
        assert words in ran.out, words
    facts = certedge(folder, "cert", "show", HOST, "--json").json
    (shown,) = facts["certificates"]
    assert (facts["version"], facts["is_live"], shown["fingerprint"]) == (1, True, issued.fingerprint)
    assert [each["subject"] for each in shown["chain"]]


@pytest.mark.peer
def test_tlsa_data_are_those_that_openssl_finds(folder: Path) -> None:
    install(folder, HOST, CA.issue(HOST))
    pem = certedge(folder, "cert", "show", HOST, "--pem")
    assert pem.out.startswith("-----BEGIN CERTIFICATE-----")
    program = shutil.which("openssl")
    assert program is not None

    def openssl(given: bytes, *words: str) -> bytes:
        return subprocess.run([program, *words], input=given, capture_output=True, check=True).stdout

    key = openssl(pem.out.encode(), "x509", "-noout", "-pubkey")
    digest = openssl(openssl(key, "pkey", "-pubin", "-outform", "DER"), "dgst", "-sha256", "-r")
    shown = certedge(folder, "cert", "show", HOST, "--json").json["certificates"][0]["tlsa_3_1_1"]
    assert shown == digest.decode().split()[0]


def test_earlier_version_and_a_pair_of_keys(folder: Path) -> None:
    install(folder, HOST, CA.issue(HOST, not_after=NOW - DAY))
    install(folder, HOST, CA.issue(HOST), CA.issue(HOST, key_type="rsa2048"))
    old = certedge(folder, "cert", "show", HOST, "1")
    assert "(expired)" in old.out
    assert "(live)" not in old.out
    pair = certedge(folder, "cert", "show", HOST, "--json").json["certificates"]
    assert [each["key"] for each in pair] == ["ec 256", "rsa 2048"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((HOST, "9"), "a.test has no version 9"),
        ((HOST,), "a.test has no live certificate"),
        (("b.test",), "there is no site b.test"),
    ],
)
def test_what_is_not_there_is_said(folder: Path, words: tuple[str, ...], said: str) -> None:
    if len(words) > 1:
        install(folder, HOST, CA.issue(HOST))
    ran = certedge(folder, "cert", "show", *words)
    assert ran.code == 1
    assert said in ran.err


def test_site_without_its_own_certificate_gets_main_s(folder: Path) -> None:
    install(folder, HOST, CA.issue(HOST))
    certedge(folder, "site", "remove", HOST, "--yes")
    ran = certedge(folder, "cert", "show", HOST)
    assert ran.code == 1
    assert "clients get the main one" in ran.err
