"""Folders as certbot, acme.sh and BlueMind leave them."""

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.jwk import JWKEC, JWKRSA

from certstore.acme.account import load_key
from certstore.cli import import_sources
from certstore.cli.import_sources import (
    Found,
    FoundSite,
    Reader,
    read_acme_sh,
    read_bluemind,
    read_certbot,
    with_challenges,
)
from certstore.model.certificate.contents import read_contents
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.settings.dns import DnsSettings
from certstore.model.settings.models import Source
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.model.bundles import DAY, NOW
from tests.certstore.model.certificate.odd_certificates import (
    FEATURES,
    LEAF,
    POLICIES,
    SERIAL,
    changed,
    put,
    sequence,
    to_text,
    with_extension,
)

CA = CertificateAuthority()
DIRECTORY = "acme-v02.api.letsencrypt.org/directory"


def certbot_lineage(folder: Path, name: str, issued: Issued, account: str = "one") -> None:
    """Files in archive/, links in live/, as certbot does."""
    archive, live = folder / "archive" / name, folder / "live" / name
    for each in (archive, live, folder / "renewal"):
        each.mkdir(parents=True, exist_ok=True)
    for file, content in (("fullchain", issued.fullchain_pem), ("privkey", issued.privkey_pem)):
        (archive / f"{file}1.pem").write_bytes(content)
        (live / f"{file}.pem").symlink_to(f"../../archive/{name}/{file}1.pem")
    (folder / "live" / "README").write_text("not a lineage")
    (folder / "renewal" / f"{name}.conf").write_text(
        f"version = 2.9.0\n[renewalparams]\naccount = {account}\nserver = https://{DIRECTORY}\n"
    )


def certbot_account(folder: Path, identity: str = "one", *, kind: str = "rsa", directory: str = DIRECTORY) -> str:
    key = (
        JWKRSA(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
        if kind == "rsa"
        else JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    )
    place = folder / "accounts" / directory / identity
    place.mkdir(parents=True)
    (place / "private_key.json").write_text(key.json_dumps())
    url = f"https://acme.example/acct/{identity}"
    body = {"contact": ["mailto:admin@example.org"]}
    (place / "regr.json").write_text(json.dumps({"body": body, "uri": url}))
    return url


def by_site(found: Found) -> dict[str, FoundSite]:
    return {each.site: each for each in found.sites}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_certbot_lineages_become_sites_that_are_ordered_for(tmp_path: Path) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test", "www.a.test"))
    certbot_lineage(tmp_path, "b.test-0001", CA.issue("alias.test", "b.test"))
    before = contents(tmp_path)
    found = read_certbot(tmp_path)
    sites = by_site(found)
    assert sites["a.test"].additional_names == ("www.a.test",)
    assert sites["a.test"].certificate is Source.ACME
    assert sites["b.test"].additional_names == ("alias.test",), (
        "certbot's mark of a second lineage is no part of a name"
    )
    assert found.notes == ()
    assert contents(tmp_path) == before


def test_of_two_lineages_of_a_host_the_one_in_use_is_imported(tmp_path: Path) -> None:
    """certbot made NAME-0001 when a name was gone: ordering for both would fail for the dead one."""
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test", "dead.test", not_after=NOW - DAY))
    certbot_lineage(tmp_path, "a.test-0001", CA.issue("a.test", "imap.a.test"))
    found = read_certbot(tmp_path)
    (site,) = found.sites
    assert (site.site, site.additional_names, len(site.files)) == ("a.test", ("imap.a.test",), 2)
    (note,) = found.notes
    assert "live/a.test: it is superseded by" in note
    assert "dead.test" in note


@pytest.mark.parametrize("names", [("dead.test", "a.test"), ("a.test", "dead.test")])
def test_expired_lineage_of_another_host_brings_back_no_dead_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    certbot_lineage(tmp_path, "old", CA.issue(*names, not_after=NOW - DAY))
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test"))
    found = read_certbot(tmp_path)
    assert [(each.site, each.additional_names) for each in found.sites] == [("a.test", ())]
    assert len(found.notes) == 1


def test_of_two_valid_lineages_the_newer_one_is_imported_whatever_its_name(tmp_path: Path) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test", "b.a.test", not_before=NOW - DAY))
    certbot_lineage(tmp_path, "a.test-0001", CA.issue("a.test", "c.a.test", not_before=NOW - 30 * DAY))
    found = read_certbot(tmp_path)
    assert [each.additional_names for each in found.sites] == [("b.a.test",)]
    assert "c.a.test" in found.notes[0]


def test_lineages_with_both_kinds_of_key_and_the_same_names_are_one_site(tmp_path: Path) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test", "b.test", key_type="rsa2048"))
    certbot_lineage(tmp_path, "a.test-0001", CA.issue("b.test", "a.test"))
    found = read_certbot(tmp_path)
    assert [len(each.files) for each in found.sites] == [4]
    assert found.notes == ()


@pytest.mark.parametrize("reader", [read_certbot, read_bluemind])
def test_name_that_cannot_be_a_site_s_is_noted(tmp_path: Path, reader: Reader) -> None:
    issued = CA.issue("a.test", "under_score.a.test")
    certbot_lineage(tmp_path, "a.test", issued)
    (tmp_path / "bm_cert-a.test.pem").write_bytes(issued.combined_pem)
    found = reader(tmp_path)
    assert [each.additional_names for each in found.sites] == [()]
    assert [note for note in found.notes if "under_score.a.test" in note]


ODD_FILES = {
    "TLS feature 99": to_text(changed(with_extension(FEATURES, sequence(b"\x02\x01\x63")))),
    "a policy in latin-1": to_text(changed(with_extension(POLICIES, b"\x04\x01\xfc"))),
    "a negative serial": to_text(changed(put(SERIAL, b"\x02\x01\xfb"))),
    "version 4": to_text(changed(put(0, b"\xa0\x03\x02\x01\x03"))),
}


@pytest.mark.parametrize("odd", ODD_FILES)
def test_odd_certificate_is_imported_as_any_other(tmp_path: Path, odd: str) -> None:
    (tmp_path / "bm_cert.pem").write_bytes(CA.issue("mail.test").combined_pem)
    (tmp_path / "bm_cert-odd.pem").write_bytes(LEAF.privkey_pem + ODD_FILES[odd] + LEAF.chain_pem)
    found = read_bluemind(tmp_path)
    assert set(by_site(found)) == {"main", "a.test"}
    assert found.notes == ()


def test_fault_at_one_file_is_noted_and_the_others_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(files: tuple[DroppedFile, ...], password: bytes | None) -> object:
        if b"odd" in files[0].content:
            raise KeyError(99)
        return read_contents(files, password)

    monkeypatch.setattr(import_sources, "read_contents", fail)
    (tmp_path / "bm_cert.pem").write_bytes(CA.issue("mail.test").combined_pem)
    (tmp_path / "bm_cert-odd.pem").write_bytes(b"odd")
    found = read_bluemind(tmp_path)
    assert set(by_site(found)) == {"main"}
    assert found.notes == (f"{tmp_path}/bm_cert-odd.pem: it can't be read and is not imported (KeyError)",)


def test_certbot_account_is_imported_with_its_key(tmp_path: Path) -> None:
    for kind in ("rsa", "ec"):
        folder = tmp_path / kind
        certbot_lineage(folder, "a.test", CA.issue("a.test"))
        url = certbot_account(folder, kind=kind)
        (account,) = read_certbot(folder).accounts
        assert (account.directory, account.url) == (f"https://{DIRECTORY}", url)
        assert account.contact == ("admin@example.org",)
        load_key(account.key_pem)
        assert "PRIVATE" not in repr(account)


def test_of_two_accounts_at_a_ca_the_one_in_use_is_imported(tmp_path: Path) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test"), account="two")
    certbot_account(tmp_path, "one")
    url = certbot_account(tmp_path, "two")
    found = read_certbot(tmp_path)
    assert [account.url for account in found.accounts] == [url]
    assert any("not imported" in note for note in found.notes)


def test_wildcard_stays_a_file_and_says_so(tmp_path: Path) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test", "*.a.test"))
    certbot_lineage(tmp_path, "only", CA.issue("*.b.test"))
    found = read_certbot(tmp_path)
    assert [(each.site, each.certificate) for each in found.sites] == [("a.test", Source.FILE)]
    assert len(found.notes) == 2


CERTBOT_DNS = "authenticator = dns-rfc2136\ndns_rfc2136_credentials = {folder}/rfc2136.ini\n"
IN_ZONE = DnsSettings.model_validate({"zones": {"a.test": {"exec": ["/bin/hook"]}}})


def dns_lineage(folder: Path, *names: str, proof: str = CERTBOT_DNS) -> Found:
    certbot_lineage(folder, names[0], CA.issue(*names))
    with (folder / "renewal" / f"{names[0]}.conf").open("a") as file:
        file.write(proof.format(folder=folder))
    (folder / "rfc2136.ini").write_text("dns_rfc2136_server = 192.0.2.1\ndns_rfc2136_secret = aHVudGVyMg==\n")
    return read_certbot(folder)


def test_a_wildcard_of_dns_01_stays_one_where_its_zone_is_set_up(tmp_path: Path) -> None:
    found = with_challenges(dns_lineage(tmp_path, "a.test", "*.a.test"), IN_ZONE)
    [site] = found.sites
    assert (site.certificate, site.challenges, found.notes) == (Source.ACME, ("dns-01",), ())


@pytest.mark.parametrize(
    ("names", "certificate", "said"),
    [
        (("b.test", "*.b.test"), Source.FILE, "until then the certificate stays a file"),
        (("b.test", "www.b.test"), Source.ACME, "until then the names are proven in another way"),
        (("a.test", "*.c.test"), Source.FILE, "acme.dns in edge.yaml has no way for *.c.test;"),
    ],
    ids=["wildcard", "hosts", "one name of another zone"],
)
def test_where_the_zone_is_not_set_up_a_note_says_what_to_set(
    tmp_path: Path, names: tuple[str, ...], certificate: Source, said: str
) -> None:
    found = with_challenges(dns_lineage(tmp_path, *names), IN_ZONE)
    [site], [note] = found.sites, found.notes
    assert (site.certificate, site.challenges) == (certificate, ())
    assert said in note
    assert f"rfc2136: {{server: 192.0.2.1:53, tsig_secret_file: {tmp_path}/rfc2136.ini}}" in note
    assert f"certedge site set {names[0]} --certificate acme --challenge dns-01" in note
    assert "aHVudGVyMg" not in note


def test_a_plugin_that_nobody_knows_is_said(tmp_path: Path) -> None:
    found = with_challenges(dns_lineage(tmp_path, "a.test", "*.a.test", proof="authenticator = dns-homemade\n"), None)
    assert "dns-homemade proved its names by dns-01" in found.notes[0]
    assert "exec with a program of yours" in found.notes[0]


@pytest.mark.parametrize("damage", ["fullchain", "privkey", "account"])
def test_damaged_piece_is_noted_and_stops_nothing_else(tmp_path: Path, damage: str) -> None:
    certbot_lineage(tmp_path, "a.test", CA.issue("a.test"))
    certbot_lineage(tmp_path, "b.test", CA.issue("b.test"))
    certbot_account(tmp_path)
    if damage == "fullchain":
        (tmp_path / "archive/a.test/fullchain1.pem").write_text("nonsense")
    elif damage == "privkey":
        (tmp_path / "live/a.test/privkey.pem").unlink()
    else:
        (tmp_path / "accounts" / DIRECTORY / "one" / "private_key.json").write_text("{}")
    found = read_certbot(tmp_path)
    assert "b.test" in by_site(found)
    assert len(found.notes) == 1


def acme_sh_domain(folder: Path, name: str, issued: Issued, *, ecc: bool) -> None:
    place = folder / (f"{name}_ecc" if ecc else name)
    place.mkdir(parents=True)
    (place / f"{name}.conf").write_text(f"Le_Domain='{name}'\nLe_Alt='no'\nLe_Webroot='/var/www'\n")
    (place / f"{name}.key").write_bytes(issued.privkey_pem)
    (place / f"{name}.cer").write_bytes(issued.cert_pem)
    (place / "fullchain.cer").write_bytes(issued.fullchain_pem)


def test_acme_sh_domains_and_account(tmp_path: Path) -> None:
    acme_sh_domain(tmp_path, "a.test", CA.issue("a.test", key_type="rsa2048"), ecc=False)
    acme_sh_domain(tmp_path, "a.test", CA.issue("a.test"), ecc=True)
    (tmp_path / "dnsapi").mkdir()
    account = tmp_path / "ca" / "acme.zerossl.com" / "v2" / "DV90"
    account.mkdir(parents=True)
    (account / "account.key").write_bytes(CA.issue("x").privkey_pem)
    (account / "ca.conf").write_text(
        "CA_EMAIL='me@example.org'\nACCOUNT_URL='https://acme.zerossl.com/v2/DV90/account/7'\n"
    )
    found = read_acme_sh(tmp_path)
    (site,) = found.sites
    assert (site.site, site.certificate) == ("a.test", Source.ACME)
    assert len(site.files) == 4, "both kinds of key are one site"
    assert len({file.name for file in site.files}) == 4
    (taken,) = found.accounts
    assert taken.directory == "https://acme.zerossl.com/v2/DV90"
    assert taken.url == "https://acme.zerossl.com/v2/DV90/account/7"
    assert taken.contact == ("me@example.org",)


def test_acme_sh_account_of_the_older_layout(tmp_path: Path) -> None:
    account = tmp_path / "ca" / "acme-v02.api.letsencrypt.org"
    account.mkdir(parents=True)
    (account / "account.key").write_bytes(CA.issue("x").privkey_pem)
    (account / "ca.conf").write_text("ACCOUNT_URL='https://acme-v02.api.letsencrypt.org/acme/acct/1'\n")
    (taken,) = read_acme_sh(tmp_path).accounts
    assert taken.directory == "https://acme-v02.api.letsencrypt.org/directory"


def test_bluemind_files_become_main_and_domains(tmp_path: Path) -> None:
    (tmp_path / "bm_cert.pem").write_bytes(CA.issue("mail.provider.test", "imap.provider.test").combined_pem)
    (tmp_path / "bm_cert-client-a.test.pem").write_bytes(
        CA.issue("webmail.client-a.test", "client-a.test").combined_pem
    )
    (tmp_path / "bm_cert-8f2c.internal.pem").write_bytes(CA.issue("webmail.client-b.test").combined_pem)
    (tmp_path / "cacert.pem").write_bytes(CA.root_pem)
    sites = by_site(read_bluemind(tmp_path))
    assert set(sites) == {"main", "client-a.test", "webmail.client-b.test"}
    assert sites["main"].host == "mail.provider.test"
    assert sites["client-a.test"].additional_names == ("webmail.client-a.test",)
    assert {each.certificate for each in sites.values()} == {Source.FILE}


def test_bluemind_certificate_of_lets_encrypt_goes_on_being_ordered(tmp_path: Path) -> None:
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Let's Encrypt")])
    issued = CA.issue("mail.a.test")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer)
        .public_key(issued.private_key.public_key())
        .serial_number(7)
        .not_valid_before(issued.not_before)
        .not_valid_after(issued.not_after)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mail.a.test")]), critical=False)
        .sign(key, issued.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    leaf = Issued(certificate, issued.private_key, ())
    (tmp_path / "bm_cert-a.test.pem").write_bytes(leaf.combined_pem)
    (site,) = read_bluemind(tmp_path).sites
    assert site.certificate is Source.ACME


def test_folder_of_something_else_is_noted(tmp_path: Path) -> None:
    assert read_bluemind(tmp_path).notes
    assert read_acme_sh(tmp_path) == Found((), (), ())
