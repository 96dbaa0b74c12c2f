"""What is refused, with which reason, what a person may overrule, and that no key gets out with it."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore.model.certificate import bundle as bundle_module
from certstore.model.certificate.bundle import CertificateBundle, Refused, read_bundle
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import FORCIBLE, Problem, Refusal
from tests.certificates import CertificateAuthority, Issued, make_key
from tests.certstore.model.bundles import CA, DAY, NOW, ONE, OTHER, PASSWORD, accepted, cut, is_whole, read, refused

# Faults of the drop

FAULTS: dict[str, tuple[list[bytes], Refusal, str]] = {
    "no files": ([], Refusal.EMPTY, "there is no content"),
    "empty files": ([b"", b" \r\n"], Refusal.EMPTY, "there is no content in file0.bin, file1.bin;"),
    "text": ([b"hello", b"\x00" * 50], Refusal.UNREADABLE, "neither a certificate nor a private key"),
    "a request alone": (
        [b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"],
        Refusal.UNREADABLE,
        "not recognised: file0.bin",
    ),
    "a certificate alone": ([ONE.fullchain_pem], Refusal.NO_KEY, "a.test"),
    "a key alone": ([ONE.privkey_pem], Refusal.NO_CERTIFICATE, "file0.bin"),
    "a public key instead": (
        [ONE.fullchain_pem, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"],
        Refusal.NO_KEY,
        "not recognised: file1.bin",
    ),
    "another key": ([OTHER.privkey_pem, ONE.fullchain_pem], Refusal.KEY_MISMATCH, "a.test in file1.bin"),
    "another key type": (
        [CA.issue("a.test", key_type="rsa2048").privkey_pem, ONE.fullchain_pem],
        Refusal.KEY_MISMATCH,
        "file0.bin",
    ),
    "a certificate cut short": ([ONE.privkey_pem, cut(ONE.cert_pem, 0.5)], Refusal.INCOMPLETE_PEM, "file1.bin"),
    "a key cut short": ([cut(ONE.privkey_pem, 0.5), ONE.fullchain_pem], Refusal.INCOMPLETE_PEM, "file0.bin"),
    "cut within the last boundary": ([ONE.combined_pem[:-5]], Refusal.INCOMPLETE_PEM, "file0.bin"),
    "cut within a first boundary": (
        [ONE.privkey_pem, ONE.cert_pem + b"-----BEGIN CERTIF"], Refusal.INCOMPLETE_PEM, "file1.bin"
    ),
    "the beginning missing": ([ONE.privkey_pem, ONE.fullchain_pem[40:]], Refusal.INCOMPLETE_PEM, "file1.bin"),
    "base64 that is none": (
        [ONE.privkey_pem, ONE.cert_pem.replace(b"MII", b"M!I", 1)], Refusal.UNREADABLE, "file1.bin"
    ),
    "a certificate block with other content": (
        [ONE.privkey_pem, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
        Refusal.UNREADABLE,
        "file1.bin",
    ),
    "an empty certificate block": (
        [ONE.privkey_pem, b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"], Refusal.UNREADABLE, "file1.bin"
    ),
    "a key block with other content": (
        [b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", ONE.fullchain_pem],
        Refusal.UNREADABLE,
        "file0.bin",
    ),
    "DER cut short": ([ONE.privkey_der, ONE.cert_der[:-10]], Refusal.NO_CERTIFICATE, "file0.bin"),
    "DER damaged": ([ONE.privkey_der, b"\x30\x04\x30\x00\x30\x00"], Refusal.NO_CERTIFICATE, "file1.bin"),
    "ten megabytes": ([b"x" * 10_000_000], Refusal.TOO_LARGE, "10000000 bytes"),
    "a byte too many": ([ONE.combined_pem.ljust(1_000_001)], Refusal.TOO_LARGE, "1000001 bytes"),
    "hundreds of certificates": (
        [b"".join(CA.issue(f"n{index}.test").cert_pem for index in range(201)) + ONE.combined_pem],
        Refusal.TOO_LARGE,
        "203 certificates",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_drop_is_refused_with_its_reason(fault: str) -> None:
    contents, code, said = FAULTS[fault]
    for force in (False, True):
        found = refused(*contents, force=force)
        assert [each.code for each in found] == [code]
        assert said in found[0].message
        assert not found[0].is_forcible


def test_file_of_just_the_largest_size_is_read() -> None:
    assert is_whole(accepted(ONE.combined_pem.ljust(1_000_000)).primary, ONE)


def test_several_faults_are_reported_together() -> None:
    found = refused(cut(ONE.privkey_pem, 0.5), b"x" * 2_000_000)
    assert [each.code for each in found] == [Refusal.INCOMPLETE_PEM, Refusal.TOO_LARGE]


def test_every_cut_of_a_file_is_refused_or_gives_the_whole_pair() -> None:
    """A file caught at any length while it is written: never a pair that was not meant."""
    whole = ONE.combined_pem
    for length in range(0, len(whole), 7):
        result = read(whole[:length])
        if isinstance(result, CertificateBundle):
            assert result.primary.fingerprint == ONE.fingerprint
            assert result.primary.chain_pem in {b"", ONE.chain_pem}
    assert isinstance(read(whole), CertificateBundle)


def test_half_of_one_certificate_and_half_of_another_are_found_out_by_the_signature() -> None:
    """Written over in place, two certificates of one length make a third that parses and that nobody issued."""
    key = make_key()
    first, second = (CA.issue("a.test", private_key=key) for _ in range(2))
    while [len(first.cert_der), len(first.certificate.tbs_certificate_bytes)] != [
        len(second.cert_der),
        len(second.certificate.tbs_certificate_bytes),
    ]:
        second = CA.issue("a.test", private_key=key)
    start = first.cert_der.index(first.certificate.tbs_certificate_bytes)
    middle = start + len(first.certificate.tbs_certificate_bytes)
    mixed = x509.load_der_x509_certificate(first.cert_der[:middle] + second.cert_der[middle:])
    mixed_pem = mixed.public_bytes(serialization.Encoding.PEM)
    found = refused(first.privkey_pem, mixed_pem, first.chain_pem)
    assert [each.code for each in found] == [Refusal.BROKEN_SIGNATURE]
    assert accepted(first.privkey_pem, first.cert_pem, first.chain_pem).problems == ()


# Faults of the certificate


RSA_CA = CertificateAuthority("RSA CA", key_type="rsa2048")


def key_usage(**usages: bool) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign"
    every = dict.fromkeys([*names.split(), "crl_sign", "encipher_only", "decipher_only"], False)
    return x509.KeyUsage(**every | usages)


CLIENT_ONLY = (ExtendedKeyUsageOID.CLIENT_AUTH,)

BAD_CERTIFICATES: dict[str, tuple[Issued, Refusal, str]] = {
    "a CA": (CA.issue("a.test", is_ca=True), Refusal.CA_LEAF, "CA:TRUE"),
    "a self-signed CA": (CA.issue("a.test", is_ca=True, self_signed=True), Refusal.CA_LEAF, "CA:TRUE"),
    "RSA with 1024 bits": (CA.issue("a.test", key_type="rsa1024"), Refusal.WEAK_KEY, "RSA key of 1024 bits"),
    "Ed25519": (CA.issue("a.test", key_type="ed25519"), Refusal.UNSUPPORTED_KEY, "an Ed25519 key"),
    "a curve that TLS does not use": (CA.issue("a.test", key_type="ec256k1"), Refusal.UNSUPPORTED_KEY, "secp256k1"),
    "signed with SHA-1": (RSA_CA.issue("a.test", weak_signature="sha1"), Refusal.WEAK_SIGNATURE, "SHA1"),
    "signed with MD5": (RSA_CA.issue("a.test", weak_signature="md5"), Refusal.WEAK_SIGNATURE, "MD5"),
    "for clients only": (
        CA.issue("a.test", extended_key_usage=CLIENT_ONLY), Refusal.NOT_FOR_SERVERS, "extended key usage"
    ),
    "an EC key that may not sign": (
        CA.issue("a.test", key_usage=key_usage(key_agreement=True)), Refusal.NOT_FOR_SERVERS, "digitalSignature"
    ),
    "an RSA key that may not sign": (
        CA.issue("a.test", key_type="rsa2048", key_usage=key_usage(key_encipherment=True)),
        Refusal.NOT_FOR_SERVERS,
        "digitalSignature",
    ),
    "without a SAN": (CA.issue(common_name="a.test"), Refusal.NO_DNS_NAMES, "common name"),
    "with an unusable SAN": (CA.issue("not_a_name", "*.*.x"), Refusal.NO_DNS_NAMES, "subjectAltName"),
    "an intermediate signed with SHA-1": (
        CertificateAuthority("Old", key_type="rsa2048", weak_intermediate="sha1").issue("a.test"),
        Refusal.WEAK_SIGNATURE,
        "intermediate",
    ),
    "an intermediate with a weak key": (
        CertificateAuthority("Small", key_type="rsa1024").issue("a.test"), Refusal.WEAK_KEY, "intermediate"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_CERTIFICATES)
def test_bad_certificate_is_refused_and_force_does_not_help(fault: str) -> None:
    issued, code, said = BAD_CERTIFICATES[fault]
    for force in (False, True):
        found = refused(issued.combined_pem, force=force)
        assert [each.code for each in found] == [code]
        assert said in found[0].message
        assert not found[0].is_forcible


def test_any_extended_key_usage_and_none_at_all_are_for_servers() -> None:
    for usage in (None, (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,), (*CLIENT_ONLY, ExtendedKeyUsageOID.SERVER_AUTH)):
        assert accepted(CA.issue("a.test", extended_key_usage=usage).combined_pem).problems == ()


def test_key_that_may_sign_among_other_things_is_for_servers() -> None:
    for usage in (key_usage(digital_signature=True), key_usage(digital_signature=True, key_encipherment=True)):
        assert accepted(CA.issue("a.test", key_usage=usage).combined_pem).problems == ()


def test_rsa_key_that_does_not_work_is_refused() -> None:
    """A key file whose parts contradict each other still shows the right public key."""
    issued = CA.issue("a.test", key_type="rsa2048")
    assert isinstance(issued.private_key, rsa.RSAPrivateKey)
    numbers = issued.private_key.private_numbers()
    exponent, prime = numbers.d.to_bytes(256, "big"), numbers.p.to_bytes(128, "big")
    damaged = issued.privkey_der
    for part in (exponent, prime):
        assert part[8:] in damaged
        damaged = damaged.replace(part[8:], part[8:-1] + bytes([part[-1] ^ 2]))
    found = refused(damaged, issued.fullchain_pem)
    assert [each.code for each in found] == [Refusal.UNREADABLE]
    assert is_whole(accepted(issued.privkey_der, issued.fullchain_pem).primary, issued)


# What a person may overrule

EXPIRED = CA.issue("a.test", not_before=NOW - 10 * DAY, not_after=NOW - DAY)
EARLY = CA.issue("a.test", not_before=NOW + DAY)


@pytest.mark.parametrize(
    ("issued", "names", "code", "said"),
    [
        pytest.param(EXPIRED, ("a.test",), Refusal.EXPIRED, f"expired on {NOW - DAY:%Y-%m-%d}", id="expired"),
        pytest.param(EARLY, ("a.test",), Refusal.NOT_YET_VALID, "is not valid before", id="not valid yet"),
        pytest.param(ONE, ("c.test", "*.a.test"), Refusal.WRONG_NAME, "c.test, *.a.test", id="for other names"),
    ],
)
def test_person_may_be_right(issued: Issued, names: tuple[str, ...], code: Refusal, said: str) -> None:
    found = refused(issued.combined_pem, names=names)
    assert [(each.code, each.is_forcible) for each in found] == [(code, True)]
    assert said in found[0].message
    bundle = accepted(issued.combined_pem, names=names, force=True)
    assert is_whole(bundle.primary, issued)
    assert [each.code for each in bundle.problems] == [FORCIBLE[code]]


def test_force_does_not_help_where_one_reason_is_beyond_it() -> None:
    result = read(CA.issue("a.test", is_ca=True, not_after=NOW - DAY).combined_pem, force=True)
    assert isinstance(result, Refused)
    assert [each.code for each in result.findings] == [Refusal.CA_LEAF]
    unforced = read(CA.issue("a.test", is_ca=True, not_after=NOW - DAY).combined_pem)
    assert isinstance(unforced, Refused)
    assert {each.code for each in unforced.findings} == {Refusal.CA_LEAF, Refusal.EXPIRED}
    assert not unforced.is_forcible


def test_the_last_instant_is_expired_and_the_one_before_is_not() -> None:
    end = ONE.not_after
    assert [each.code for each in refused(ONE.combined_pem, now=end)] == [Refusal.EXPIRED]
    accepted(ONE.combined_pem, now=end - dt.timedelta(microseconds=1))


def test_clock_a_few_minutes_behind_the_authority_is_no_reason_to_refuse() -> None:
    bundle = accepted(CA.issue("a.test", not_before=NOW + dt.timedelta(minutes=5)).combined_pem)
    assert [each.code for each in bundle.problems] == [Problem.NOT_YET_VALID]


def test_name_that_is_not_covered_is_noted_when_another_is() -> None:
    bundle = accepted(ONE.combined_pem, names=("a.test", "c.test"))
    assert [(each.code, each.is_forcible) for each in bundle.problems] == [(Problem.NAME_NOT_COVERED, False)]
    assert "c.test" in bundle.problems[0].message
    assert "b.test" not in bundle.problems[0].message


def test_wildcard_certificate_covers_declared_names_one_label_deep() -> None:
    issued = CA.issue("*.a.test")
    assert accepted(issued.combined_pem, names=("x.a.test", "*.a.test")).problems == ()
    assert [each.code for each in refused(issued.combined_pem, names=("a.test", "x.y.a.test"))] == [Refusal.WRONG_NAME]


# Nothing gets out


ALL_INPUTS = [contents for contents, _, _ in FAULTS.values()] + [
    [each.combined_pem] for each, _, _ in BAD_CERTIFICATES.values()
]


def test_no_message_and_no_representation_holds_a_key() -> None:
    secrets = [line for line in ONE.privkey_pem.splitlines() if not line.startswith(b"--")]
    results = [read(*contents) for contents in ALL_INPUTS]
    results += [read(ONE.combined_pem), read(ONE.encrypted_privkey_pem(PASSWORD), ONE.cert_pem, password=PASSWORD)]
    for result in results:
        text = repr(result) + (result.message if isinstance(result, Refused) else "")
        assert "PRIVATE KEY" not in text
        assert PASSWORD.decode() not in text
        assert not any(secret.decode() in text for secret in secrets)
    assert "PRIVATE KEY" not in repr(DroppedFile("x", ONE.combined_pem))


def test_file_name_cannot_write_into_a_log() -> None:
    name = "x\n2026-11-23 all is well\x1b[31m" + "y" * 500
    result = read_bundle([DroppedFile(name, cut(ONE.combined_pem, 0.5))], now=NOW)
    assert isinstance(result, Refused)
    assert result.message.isprintable()
    assert len(result.message) < 400


@pytest.mark.parametrize("name", ["read_contents", "order_chain", "check_chain", "check_pair"])
@pytest.mark.parametrize("error", [KeyError(99), RecursionError(), AssertionError()])
def test_unexpected_fault_is_a_refusal_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(bundle_module, name, fail)
    (found,) = refused(ONE.combined_pem)
    assert found.code == Refusal.FAULT
    assert type(error).__name__ in found.message
    assert not found.is_forcible


@pytest.mark.parametrize("error", [MemoryError(), OSError()])
def test_machine_s_own_trouble_is_no_fault_of_the_files(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(bundle_module, "order_chain", fail)
    with pytest.raises(type(error)):
        read(ONE.combined_pem)


# What could not be read beside a pair


LEFTOVERS: dict[str, tuple[bytes, str]] = {
    "half a certificate": (cut(OTHER.cert_pem, 0.5), "PEM block without its beginning or end"),
    "half a key": (cut(OTHER.privkey_pem, 0.5), "PEM block without its beginning or end"),
    "a certificate without its beginning": (OTHER.cert_pem[40:], "PEM block without its beginning or end"),
    "a cut boundary": (b"-----BEGIN CERTIF", "PEM block without its beginning or end"),
    "a damaged certificate": (OTHER.cert_pem.replace(b"MII", b"M!I", 1), "a certificate that can't be read"),
    "an empty certificate": (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "can't be read"),
    "a damaged key": (OTHER.privkey_pem.replace(b"M", b"!", 1), "a private key that can't be read"),
    "a damaged collection": (b"-----BEGIN PKCS7-----\nMAsGCSqGSIb3DQEHAg==\n-----END PKCS7-----\n", "PKCS #7"),
    "a key of SSH": (
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "OPENSSH PRIVATE KEY"
    ),
    "a message of PGP": (b"-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----\n", "PGP MESSAGE"),
    "a file too large": (b"x" * 1_000_001, "1000001 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("leftover", LEFTOVERS)
def test_leftover_beside_a_whole_pair_is_noted_by_name_and_vetoes_nothing(leftover: str) -> None:
    content, words = LEFTOVERS[leftover]
    for files, name in (([ONE.combined_pem, content], "file1.bin"), ([content, ONE.combined_pem], "file0.bin")):
        bundle = accepted(*files)
        assert is_whole(bundle.primary, ONE)
        (noted,) = bundle.problems
        assert noted.code == Problem.LEFT_OUT
        assert name in noted.message
        assert words in noted.message


@pytest.mark.parametrize("leftover", LEFTOVERS)
def test_leftover_that_may_be_what_is_missing_is_the_reason(leftover: str) -> None:
    content, words = LEFTOVERS[leftover]
    for files in ([ONE.privkey_pem, content], [ONE.privkey_pem, ONE.cert_pem, content]):
        (found,) = refused(*files)
        assert words in found.message
        assert "file" in found.message
