"""From dropped files to a bundle: every form that is taken, which pair of several, and its chain."""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from certstore.model.certificate.bundle import CertificateBundle, read_bundle
from certstore.model.certificate.der import encoded, object_identifier
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Problem, Refusal
from certstore.model.certificate.pem import to_pem
from tests.certificates import CertificateAuthority, Issued, make_key
from tests.certstore.model.bundles import CA, DAY, NOW, ONE, OTHER, PASSWORD, accepted, is_whole, refused
from tests.certstore.model.certificate.odd_certificates import parts_of, sequence
from tests.peers import require_peer

DER = serialization.Encoding.DER
AUX = bytes.fromhex("300c300a06082b06010505070301")
"""What `openssl x509 -trustout -addtrust serverAuth` appends."""
RSA_CA = CertificateAuthority("RSA CA", key_type="rsa2048")


def blocks_of(pem: bytes) -> list[bytes]:
    return [b"-----BEGIN" + each for each in pem.split(b"-----BEGIN")[1:]]


# Forms that are taken

FORMS: dict[str, Callable[[Issued], list[bytes]]] = {
    "certbot's four files": lambda one: [one.privkey_pem, one.cert_pem, one.chain_pem, one.fullchain_pem],
    "key and fullchain": lambda one: [one.privkey_pem, one.fullchain_pem],
    "all in one file, key first": lambda one: [one.combined_pem],
    "all in one file, key last": lambda one: [one.fullchain_pem + one.privkey_pem],
    "all in one file, backwards": lambda one: [b"".join(reversed(blocks_of(one.combined_pem)))],
    "one block per file": lambda one: blocks_of(one.combined_pem),
    "everything twice": lambda one: [one.combined_pem, one.combined_pem + one.chain_pem],
    "with the root at the end": lambda one: [one.combined_pem + CA.root_pem],
    "with the root first": lambda one: [CA.root_pem + one.combined_pem],
    "with an unrelated certificate": lambda one: [one.combined_pem, CertificateAuthority("Other").intermediate_pem],
    "with an unrelated key": lambda one: [one.combined_pem, OTHER.privkey_pem],
    "CRLF": lambda one: [one.combined_pem.replace(b"\n", b"\r\n")],
    "CR only": lambda one: [one.combined_pem.replace(b"\n", b"\r")],
    "a byte order mark": lambda one: [b"\xef\xbb\xbf" + one.combined_pem],
    "UTF-16 as Windows editors write it": lambda one: [one.combined_pem.decode().encode("utf-16")],
    "text between blocks": lambda one: [
        b"\n".join(b"Bag Attributes: x\n" + each for each in blocks_of(one.combined_pem))
    ],
    "indented blocks": lambda one: [b"\n".join(b"   " + line for line in one.combined_pem.splitlines())],
    "no line end at the end": lambda one: [one.combined_pem.rstrip(b"\n")],
    "one long line per block": lambda one: [
        b"\n".join(
            b"-----BEGIN" + head + b"-----\n" + body.replace(b"\n", b"") + b"\n-----END" + end + b"-----\n"
            for head, body, end in (
                (parts[0], parts[1], parts[2].removeprefix(b"END"))
                for parts in (each.removeprefix(b"-----BEGIN").split(b"-----") for each in blocks_of(one.combined_pem))
            )
        )
    ],
    "a key in traditional form": lambda one: [_traditional(one), one.fullchain_pem],
    "parameters before the key": lambda one: [
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + one.combined_pem
    ],
    "files without any certificate beside": lambda one: [one.combined_pem, b"read me", b"", b"\x00\x01\x02"],
    "DER certificate and key": lambda one: [one.privkey_der, one.cert_der, one.chain_pem],
    "PKCS #12 without a password": lambda one: [one.pkcs12()],
    "DER with a line feed behind": lambda one: [one.privkey_der + b"\n", one.cert_der + b"\r\n", one.chain_pem],
    "DER one behind the other": lambda one: [one.cert_der + one.chain[0].public_bytes(DER), one.privkey_der],
    "base64 without boundaries": lambda one: [one.privkey_pem, _bare(one.cert_pem), one.chain_pem],
    "a key in base64 without boundaries": lambda one: [_bare(one.privkey_pem), one.fullchain_pem],
    "UTF-16 without a mark": lambda one: [one.combined_pem.decode().encode("utf-16-le")],
    "marks between joined files": lambda one: [b"\xef\xbb\xbf" + one.privkey_pem + b"\xef\xbb\xbf" + one.fullchain_pem],
    "no-break spaces behind the lines": lambda one: [one.combined_pem.replace(b"\n", b"\xc2\xa0\r\n")],
    "no line end between the blocks": lambda one: [one.combined_pem.replace(b"\n-----BEGIN", b"-----BEGIN")],
    "TRUSTED CERTIFICATE": lambda one: [
        one.privkey_pem,
        to_pem("TRUSTED CERTIFICATE", one.cert_der + AUX),
        one.chain_pem,
    ],
    "X509 CERTIFICATE": lambda one: [one.combined_pem.replace(b" CERTIFICATE-", b" X509 CERTIFICATE-")],
    "PKCS #7 called a certificate, as certutil does": lambda one: [
        one.privkey_pem,
        to_pem("CERTIFICATE", _pkcs7(one, DER)),
    ],
    "PKCS #7 SIGNED DATA": lambda one: [one.privkey_pem, to_pem("PKCS #7 SIGNED DATA", _pkcs7(one, DER))],
    "PKCS #7 in BER": lambda one: [one.privkey_pem, _ber(_pkcs7(one, DER))],
    "PKCS #7 in BER, in PEM": lambda one: [one.privkey_pem, to_pem("PKCS7", _ber(_pkcs7(one, DER)))],
    "PKCS #7 with zeros behind": lambda one: [one.privkey_pem, _pkcs7(one, DER) + bytes(8)],
    "PKCS #12 called a certificate, as certutil does": lambda one: [to_pem("CERTIFICATE", one.pkcs12())],
    "PKCS #12 in BER": lambda one: [_ber(one.pkcs12())],
    "PKCS #12 with a line feed behind": lambda one: [one.pkcs12() + b"\n"],
    "PKCS #12 in base64": lambda one: [base64.encodebytes(one.pkcs12())],
    "a request, a list and public keys beside": lambda one: [
        one.combined_pem,
        *(
            b"-----BEGIN %b-----\nAAAA\n-----END %b-----\n" % (label, label)
            for label in (
                b"CERTIFICATE REQUEST",
                b"NEW CERTIFICATE REQUEST",
                b"X509 CRL",
                b"PUBLIC KEY",
                b"DH PARAMETERS",
            )
        ),
        sequence(sequence(b"\x02\x01\x00", sequence(), sequence(b"\x06\x01\x01")), sequence(b"\x06\x01\x01")),
    ],
    "notes that mention boundaries": lambda one: [
        one.combined_pem,
        b"It begins with -----BEGIN CERTIFICATE-----, and\nends with -----END CERTIFICATE-----.\n",
    ],
    "a comment of an older certificate": lambda one: [
        b"".join(b"# " + line + b"\n" for line in OTHER.cert_pem.splitlines()) + one.combined_pem
    ],
    "PKCS #7 in PEM": lambda one: [one.privkey_pem, _pkcs7(one, serialization.Encoding.PEM)],
    "PKCS #7 in DER": lambda one: [one.privkey_pem, _pkcs7(one, serialization.Encoding.DER)],
}


def _bare(pem: bytes) -> bytes:
    return b"".join(line + b"\n" for line in pem.splitlines() if not line.startswith(b"-----"))


def _ber(der: bytes) -> bytes:
    """The outermost three levels with indefinite lengths."""

    def rewritten(part: bytes, depth: int) -> bytes:
        tag = part[0]
        if depth == 3 or not tag & 0x20:
            return part
        return bytes([tag, 0x80]) + b"".join(rewritten(each, depth + 1) for each in parts_of(part)) + bytes(2)

    return rewritten(der, 0)


def _traditional(issued: Issued) -> bytes:
    return issued.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _pkcs7(issued: Issued, encoding: serialization.Encoding) -> bytes:
    return pkcs7.serialize_certificates([issued.certificate, *issued.chain], encoding)


@pytest.mark.parametrize("key_type", ["ec256", "rsa2048"])
@pytest.mark.parametrize("form", FORMS)
def test_form_is_taken_and_gives_the_same_bundle(form: str, key_type: str) -> None:
    issued = CA.issue("a.test", key_type=key_type)
    bundle = accepted(*FORMS[form](issued))
    assert is_whole(bundle.primary, issued)
    assert (bundle.rsa, bundle.problems) == (None, ())


@pytest.mark.parametrize(
    ("key_type", "kind", "bits"),
    [
        ("ec256", "ec", 256),
        ("ec384", "ec", 384),
        ("ec521", "ec", 521),
        ("rsa2048", "rsa", 2048),
        ("rsa3072", "rsa", 3072),
    ],
)
def test_key_types_that_clients_accept(key_type: str, kind: str, bits: int) -> None:
    primary = accepted(CA.issue("a.test", key_type=key_type).combined_pem).primary
    assert (primary.key_kind, primary.key_bits) == (kind, bits)


def test_facts_of_the_pair() -> None:
    issued = CA.issue("B.test", "a.test", "*.a.test", "a.test", "b_d.test")
    primary = accepted(issued.combined_pem).primary
    assert primary.dns_names == ("b.test", "a.test", "*.a.test"), "in order, lower case, once, usable ones only"
    assert (primary.not_before, primary.not_after) == (issued.not_before, issued.not_after)
    assert primary.serial == f"{issued.certificate.serial_number:x}"
    assert primary.issuer == "CN=Test CA Intermediate"
    assert not primary.is_self_signed
    assert primary.combined_pem == issued.combined_pem


@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("key_type", ["ec256", "rsa2048"])
def test_encrypted_key_opens_with_its_password_and_is_kept_open(key_type: str, traditional: bool) -> None:
    issued = CA.issue("a.test", key_type=key_type)
    locked = issued.encrypted_privkey_pem(PASSWORD, traditional=traditional)
    assert is_whole(accepted(locked, issued.fullchain_pem, password=PASSWORD).primary, issued)
    assert [each.code for each in refused(locked, issued.fullchain_pem)] == [Refusal.ENCRYPTED_KEY]
    assert [each.code for each in refused(locked, issued.fullchain_pem, password=b"no")] == [Refusal.WRONG_PASSWORD]


def test_pkcs12_opens_with_its_password() -> None:
    assert is_whole(accepted(ONE.pkcs12(PASSWORD), password=PASSWORD).primary, ONE)
    assert [each.code for each in refused(ONE.pkcs12(PASSWORD))] == [Refusal.ENCRYPTED_KEY]
    assert [each.code for each in refused(ONE.pkcs12(PASSWORD), password=b"no")] == [Refusal.WRONG_PASSWORD]


def test_password_does_not_hinder_what_needs_none() -> None:
    assert is_whole(accepted(ONE.combined_pem, password=PASSWORD).primary, ONE)
    assert is_whole(accepted(ONE.privkey_der, ONE.fullchain_pem, password=PASSWORD).primary, ONE)


def test_locked_copy_beside_the_open_key_does_no_harm() -> None:
    assert is_whole(accepted(ONE.encrypted_privkey_pem(PASSWORD), ONE.combined_pem).primary, ONE)


@pytest.mark.parametrize("points", ["uncompressed", "compressed"])
@pytest.mark.parametrize("is_pkcs8", [False, True])
def test_curve_by_numbers_is_no_matter_in_the_key_file_alone(points: str, is_pkcs8: bool) -> None:
    """Clients see only the certificate. What is stored names the curve, so that every server loads it."""
    options = [str(require_peer("openssl")), "ec", "-param_enc", "explicit", "-conv_form", points]
    key = subprocess.run(options, input=ONE.privkey_pem, capture_output=True, check=True).stdout
    if is_pkcs8:
        options = [str(require_peer("openssl")), "pkcs8", "-topk8", "-nocrypt"]
        key = subprocess.run(options, input=key, capture_output=True, check=True).stdout
    assert is_whole(accepted(key, ONE.fullchain_pem).primary, ONE)


def test_ec_key_without_its_leading_zeros_is_read() -> None:
    key = ec.derive_private_key(0x3039, ec.SECP256R1())
    curve = encoded(6, object_identifier("1.2.840.10045.3.1.7"))
    short = sequence(b"\x02\x01\x01", encoded(4, b"\x30\x39"), encoded(0xA0, curve))
    issued = CA.issue("a.test", private_key=key)
    assert is_whole(accepted(short, issued.fullchain_pem).primary, issued)


# Which pair, when there are several


def test_latest_of_several_valid_pairs_wins_wherever_it_stands() -> None:
    old = CA.issue("a.test", not_before=NOW - 60 * DAY)
    new = CA.issue("a.test", not_before=NOW - DAY)
    assert is_whole(accepted(old.combined_pem, new.combined_pem).primary, new)
    assert is_whole(accepted(new.combined_pem, old.combined_pem).primary, new)


def test_renewed_certificate_for_the_same_key_wins() -> None:
    key = make_key()
    old = CA.issue("a.test", private_key=key, not_before=NOW - 60 * DAY)
    new = CA.issue("a.test", private_key=key, not_before=NOW - DAY)
    assert is_whole(accepted(new.fullchain_pem, old.combined_pem).primary, new)


@pytest.mark.parametrize(
    "newer",
    [
        pytest.param(CA.issue("a.test", not_before=NOW - DAY, not_after=NOW - DAY / 2), id="expired"),
        pytest.param(CA.issue("a.test", not_before=NOW + DAY), id="not valid yet"),
        pytest.param(CA.issue("z.test", not_before=NOW - DAY), id="for another name"),
        pytest.param(CA.issue("a.test", not_before=NOW - DAY, key_type="rsa1024"), id="weak"),
        pytest.param(CA.issue("a.test", not_before=NOW - DAY, is_ca=True), id="a CA"),
    ],
)
def test_older_valid_pair_goes_before_a_newer_one_that_is(newer: Issued) -> None:
    older = CA.issue("a.test", not_before=NOW - 60 * DAY)
    for force in (False, True):
        bundle = accepted(newer.combined_pem, older.combined_pem, names=("a.test",), force=force)
        assert is_whole(bundle.primary, older)
        assert bundle.problems == ()


def test_ec_and_rsa_pair_with_the_same_names_are_one_bundle() -> None:
    ec, rsa = CA.issue("a.test", "b.test"), CA.issue("b.test", "a.test", key_type="rsa2048")
    for contents in ((ec.combined_pem, rsa.combined_pem), (rsa.combined_pem, ec.combined_pem)):
        bundle = accepted(*contents)
        assert is_whole(bundle.primary, ec)
        assert bundle.rsa is not None
        assert is_whole(bundle.rsa, rsa)


@pytest.mark.parametrize(
    "rsa",
    [
        pytest.param(CA.issue("a.test", key_type="rsa2048", not_before=NOW - 60 * DAY), id="other names"),
        pytest.param(CA.issue("a.test", "b.test", key_type="rsa2048", not_after=NOW - DAY), id="expired"),
    ],
)
def test_rsa_pair_that_does_not_fit_is_no_companion(rsa: Issued) -> None:
    bundle = accepted(ONE.combined_pem, rsa.combined_pem)
    assert is_whole(bundle.primary, ONE)
    assert bundle.rsa is None


def test_rsa_alone_is_the_primary() -> None:
    rsa = CA.issue("a.test", key_type="rsa2048")
    bundle = accepted(rsa.combined_pem)
    assert (bundle.primary.key_kind, bundle.rsa) == ("rsa", None)


# Chains


def test_missing_intermediate_is_noted_and_names_the_issuer() -> None:
    bundle = accepted(ONE.privkey_pem, ONE.cert_pem)
    assert bundle.primary.chain_pem == b""
    assert [each.code for each in bundle.problems] == [Problem.MISSING_INTERMEDIATE]
    assert "CN=Test CA Intermediate" in bundle.problems[0].message


def test_other_authority_s_intermediate_does_not_stand_in_for_the_missing_one() -> None:
    """Same name, another key: only the key tells them apart."""
    bundle = accepted(ONE.privkey_pem, ONE.cert_pem, CertificateAuthority().intermediate_pem)
    assert bundle.primary.chain_pem == b""
    assert [each.code for each in bundle.problems] == [Problem.MISSING_INTERMEDIATE]


def test_leaf_signed_by_a_root_of_the_drop_misses_nothing() -> None:
    direct = CertificateAuthority("Direct", intermediate=False)
    issued = direct.issue("a.test")
    bundle = accepted(issued.combined_pem, direct.root_pem)
    assert (bundle.primary.chain_pem, bundle.problems) == (b"", ())
    assert [each.code for each in accepted(issued.combined_pem).problems] == [Problem.MISSING_INTERMEDIATE]


def test_self_signed_certificate_is_taken_and_noted() -> None:
    issued = CA.issue("a.test", self_signed=True)
    bundle = accepted(issued.combined_pem, CA.root_pem)
    assert bundle.primary.is_self_signed
    assert bundle.primary.chain_pem == b""
    assert [each.code for each in bundle.problems] == [Problem.SELF_SIGNED]


def test_both_chains_of_an_ec_and_rsa_bundle_are_checked() -> None:
    rsa = RSA_CA.issue("a.test", "b.test", key_type="rsa2048")
    bundle = accepted(ONE.combined_pem, rsa.privkey_pem, rsa.cert_pem)
    assert [each.code for each in bundle.problems] == [Problem.MISSING_INTERMEDIATE]
    assert "RSA CA" in bundle.problems[0].message


def test_files_of_a_folder_are_read_as_they_lie(tmp_path: Path) -> None:
    ONE.write_to(tmp_path)
    (tmp_path / "README").write_text("These are the files of certbot.")
    files = [DroppedFile(each.name, each.read_bytes()) for each in sorted(tmp_path.iterdir())]
    bundle = read_bundle(files, now=NOW, names=("a.test",))
    assert isinstance(bundle, CertificateBundle)
    assert is_whole(bundle.primary, ONE)


@pytest.mark.slow
def test_a_thousand_drops_are_read_in_less_than_two_seconds_of_cpu() -> None:
    """Measured at about a quarter of that; ten times slower would be felt when thousands of sites move in."""
    issued = [CA.issue(f"site{index}.test") for index in range(1000)]
    drops = [
        [DroppedFile("privkey.pem", each.privkey_pem), DroppedFile("fullchain.pem", each.fullchain_pem)]
        for each in issued
    ]
    started = time.process_time()
    for index, files in enumerate(drops):
        assert isinstance(read_bundle(files, now=NOW, names=(f"site{index}.test",)), CertificateBundle)
    assert time.process_time() - started < 2
