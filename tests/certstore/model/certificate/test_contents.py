"""Recognising what files hold, and that no file whatever makes it raise or hang."""

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certstore.model.certificate.bundle import CertificateBundle, Refused
from certstore.model.certificate.contents import DroppedFile, read_contents
from certstore.model.certificate.der import ROUNDS_LIMIT, DerKind, derivation_rounds, kind_of
from certstore.model.certificate.findings import Refusal
from tests.certstore.model.bundles import CA, ONE, PASSWORD, read, refused

RSA = CA.issue("a.test", key_type="rsa2048")


def test_same_certificate_and_key_are_kept_once_with_the_first_file_s_name() -> None:
    files = [DroppedFile(name, ONE.combined_pem) for name in ("first", "second")]
    contents = read_contents([*files, DroppedFile("third", ONE.cert_der)], None)
    assert [(facts.label, file) for facts, file in contents.certificates.items()] == [
        ("a.test", "first"),
        ("CN=Test CA Intermediate", "first"),
    ]
    assert [key.file for key in contents.keys.values()] == ["first"]


def test_files_that_hold_neither_are_named_and_no_fault() -> None:
    contents = read_contents([DroppedFile("notes.txt", b"hello"), DroppedFile("a.pem", ONE.combined_pem)], None)
    assert contents.ignored == ("notes.txt",)
    assert contents.faults == contents.locked == ()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(ONE.cert_der, DerKind.CERTIFICATE, id="a certificate"),
        pytest.param(ONE.privkey_der, DerKind.KEY, id="a key"),
        pytest.param(ONE.pkcs12(PASSWORD), DerKind.PKCS12, id="PKCS 12"),
        pytest.param(ONE.cert_der[:-1], None, id="cut short"),
        pytest.param(ONE.cert_der + b"\x00", None, id="something behind it"),
        pytest.param(b"\x30\x80\x02\x01\x03\x00\x00", None, id="indefinite length"),
        pytest.param(b"\x30\x00", None, id="empty"),
        pytest.param(b"0", None, id="one byte"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"\x04\x01\x00", None, id="no sequence"),
    ],
)
def test_kind_of_binary_file(content: bytes, kind: DerKind | None) -> None:
    assert kind_of(content) is kind


# A file says itself how often its password is hashed.


def encrypted_der() -> bytes:
    lines = ONE.encrypted_privkey_pem(PASSWORD).splitlines()
    return base64.b64decode(b"".join(lines[1:-1]))


def test_rounds_of_usual_files_are_seen_and_allowed() -> None:
    assert 1_000 <= derivation_rounds(encrypted_der()) <= 1_000_000
    assert 1 <= derivation_rounds(ONE.pkcs12(PASSWORD)) <= 1_000_000
    assert derivation_rounds(ONE.privkey_der) == derivation_rounds(ONE.cert_der) == 0


def sequence(*parts: bytes) -> bytes:
    body = b"".join(parts)
    length = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return b"\x30" + length + body


def integer(value: int) -> bytes:
    body = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + bytes([len(body)]) + body


SALT = b"\x04\x08saltsalt"
PBES2 = bytes.fromhex("06092a864886f70d01050d")
PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
SCRYPT = bytes.fromhex("06092b06010401da47040b")
AES = sequence(bytes.fromhex("060960864801650304012a"), b"\x04\x10" + b"i" * 16)


def encrypted_key(derivation: bytes) -> bytes:
    return sequence(sequence(PBES2, sequence(derivation, AES)), b"\x04\x20" + b"x" * 32)


def pbkdf2_like(rounds: int) -> bytes:
    return encrypted_key(sequence(PBKDF2, sequence(SALT, integer(rounds))))


def scrypt_like() -> bytes:
    return encrypted_key(sequence(SCRYPT, sequence(SALT, integer(1 << 14), integer(8), integer(1 << 16))))


@pytest.mark.parametrize(
    ("content", "rounds"),
    [
        pytest.param(pbkdf2_like(2048), 2048, id="PBKDF2"),
        pytest.param(pbkdf2_like(2_000_000_000), 2_000_000_000, id="PBKDF2, endless"),
        pytest.param(scrypt_like(), 1 << 33, id="scrypt: all three factors"),
        pytest.param(encrypted_key(sequence(PBKDF2, SALT)), 2**63, id="parameters of another form"),
        pytest.param(
            encrypted_key(sequence(PBKDF2, sequence(integer(1), SALT))), 2**63, id="parameters in another order"
        ),
        pytest.param(encrypted_key(sequence(PBKDF2)), 2**63, id="no parameters"),
        pytest.param(pbkdf2_like(1 << 80), 2**63, id="a number beyond all bounds"),
        pytest.param(
            sequence(integer(3), sequence(), sequence(sequence(), SALT, integer(7_000_000))), 7_000_000, id="MAC"
        ),
        pytest.param(sequence(integer(3), sequence(), sequence(sequence(), SALT)), 1, id="MAC with the default"),
        pytest.param(sequence(integer(3), sequence()), 0, id="no MAC"),
    ],
)
def test_rounds_are_told_before_anything_is_hashed(content: bytes, rounds: int) -> None:
    assert derivation_rounds(content) == rounds


def test_file_with_endless_hashing_is_refused_without_trying() -> None:
    for content in (pbkdf2_like(2_000_000_000), scrypt_like()):
        found = refused(content, ONE.fullchain_pem, password=PASSWORD)
        assert [each.code for each in found] == [Refusal.UNREADABLE]
        assert "rounds" in found[0].message
    usual = refused(pbkdf2_like(2048), ONE.fullchain_pem, password=PASSWORD)
    assert [each.code for each in usual] == [Refusal.WRONG_PASSWORD], "this one is tried"


def test_hashing_is_bounded_over_all_keys_of_a_drop_not_for_each() -> None:
    block = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n%b-----END ENCRYPTED PRIVATE KEY-----\n"
    many = block % base64.encodebytes(pbkdf2_like(ROUNDS_LIMIT // 4)) * 1000
    found = refused(many, ONE.fullchain_pem, password=PASSWORD)
    assert [each.code for each in found] == [Refusal.UNREADABLE]
    assert "rounds" in found[0].message


def test_rounds_of_all_bags_of_one_file_are_added_up() -> None:
    one = sequence(PBKDF2, sequence(SALT, integer(2_000_000)))
    assert derivation_rounds(sequence(integer(3), sequence(one, one, one))) == 6_000_000


# Any file at all

PIECES = [
    ONE.privkey_pem, ONE.cert_pem, ONE.chain_pem, CA.root_pem, RSA.privkey_pem, RSA.cert_pem,
    ONE.encrypted_privkey_pem(PASSWORD), ONE.encrypted_privkey_pem(PASSWORD, traditional=True),
    ONE.cert_der, ONE.privkey_der, ONE.pkcs12(), b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n",
    b"-----BEGIN PRIVATE KEY-----\n", b"AAAA\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Pieces in any order with a few bytes changed, taken out or put in."""
    content = bytearray(b"".join(draw(st.lists(st.sampled_from(PIECES), max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(content)))
        change = draw(st.sampled_from(["set", "cut", "insert"]))
        if change == "set" and position < len(content):
            content[position] = draw(st.integers(0, 255))
        elif change == "cut":
            del content[position : position + draw(st.integers(1, 200))]
        else:
            content[position:position] = draw(st.binary(max_size=8))
    return bytes(content)


# The crypto library warns of oddities in certificates that mutation makes; a warning is not what this is about.
@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    st.lists(mutated() | st.binary(max_size=60), max_size=3),
    st.sampled_from([None, b"", PASSWORD]),
    st.sampled_from([(), ("a.test",), ("*.a.test", "b.test")]),
    st.booleans(),
)
def test_any_files_give_a_bundle_or_reasons_and_never_raise(
    contents: list[bytes], password: bytes | None, names: tuple[str, ...], force: bool
) -> None:
    result = read(*contents, password=password, names=names, force=force)
    if isinstance(result, Refused):
        assert result.findings
        assert "PRIVATE KEY" not in repr(result)
        return
    again = read(result.primary.combined_pem, names=names, force=True)
    assert isinstance(again, CertificateBundle)
    assert again.primary == result.primary, "what comes out is in normal form"


@settings(max_examples=20)
@given(st.sampled_from([b"-----BEGIN ", b"-----BEGIN CERTIFICATE-----", b"-----END X-----", b"-----", b"0\x82"]))
def test_a_megabyte_of_the_worst_is_read_in_no_time(piece: bytes) -> None:
    content = (piece * 1_000_000)[:1_000_000]
    started = time.process_time()
    assert isinstance(read(content), Refused)
    assert time.process_time() - started < 2
