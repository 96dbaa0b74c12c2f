"""PKCS #12 files are opened in a process of their own: what they hold, and those that would never be done."""

import hashlib
import hmac
import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from certstore.model.certificate.bundle import CertificateBundle, Refused, read_bundle
from certstore.model.certificate.contents import PKCS12_LIMIT, DroppedFile, TooMuchWork, open_here
from certstore.model.certificate.der import ROUNDS_LIMIT, derivation_rounds
from certstore.model.certificate.findings import Refusal
from certstore.store import pkcs12_process
from certstore.store.pkcs12_process import open_apart
from tests.certificates import CertificateAuthority

CA = CertificateAuthority()
ONE = CA.issue("a.test")
PASSWORD = b"p\xc3\xa4ssword"


# DER (X.690), as much as a file with a key bag inside an encrypted safe needs (RFC 7292 §4, RFC 8018 appendix A).

ITEM = {
    "data": "06092a864886f70d010701",
    "encrypted data": "06092a864886f70d010706",
    "shrouded key bag": "060b2a864886f70d010c0a0102",
    "PBES2": "06092a864886f70d01050d",
    "PBKDF2": "06092a864886f70d01050c",
    "AES-256-CBC": "060960864801650304012a",
    "HMAC-SHA256": "06082a864886f70d0209",
    "SHA-256": "0609608648016503040201",
}
SALT, IV, NULL = b"saltsalt", b"i" * 16, b"\x05\x00"


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    length = size.to_bytes((size.bit_length() + 7) // 8 or 1)
    return bytes([tag, *([size] if size < 128 else [0x80 | len(length), *length])]) + body


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def integer(value: int) -> bytes:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1))


def item(name: str) -> bytes:
    return bytes.fromhex(ITEM[name])


def algorithm(rounds: int) -> bytes:
    derivation = sequence(tlv(4, SALT), integer(rounds), sequence(item("HMAC-SHA256"), NULL))
    scheme = sequence(sequence(item("PBKDF2"), derivation), sequence(item("AES-256-CBC"), tlv(4, IV)))
    return sequence(item("PBES2"), scheme)


def encrypted(content: bytes) -> bytes:
    key = hashlib.pbkdf2_hmac("sha256", PASSWORD, SALT, 1, 32)
    padding = 16 - len(content) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(IV)).encryptor()
    return encryptor.update(content + bytes([padding]) * padding) + encryptor.finalize()


def mac_key() -> bytes:
    """RFC 7292 appendix B with one round: purpose 3, the password in UTF-16 with its end."""
    password = PASSWORD.decode().encode("utf-16-be") + bytes(2)
    repeated = [(text * 64)[: 64 * -(-len(text) // 64)] for text in (SALT, password)]
    return hashlib.sha256(bytes([3]) * 64 + b"".join(repeated)).digest()


def with_hidden_rounds(rounds: int) -> bytes:
    """In the open it asks for two rounds; the key inside asks for as many as it likes."""
    bag = sequence(item("shrouded key bag"), tlv(0xA0, sequence(algorithm(rounds), tlv(4, bytes(48)))))
    safe = sequence(item("data"), algorithm(1), tlv(0x80, encrypted(sequence(bag))))
    contents = sequence(sequence(item("encrypted data"), tlv(0xA0, sequence(integer(0), safe))))
    digest = sequence(sequence(item("SHA-256"), NULL), tlv(4, hmac.digest(mac_key(), contents, "sha256")))
    mac = sequence(digest, tlv(4, SALT), integer(1))
    return sequence(integer(3), sequence(item("data"), tlv(0xA0, tlv(4, contents))), mac)


@pytest.mark.parametrize("password", [PASSWORD, None], ids=["with a password", "without one"])
def test_it_holds_what_it_holds_for_the_library(password: bytes | None) -> None:
    content = ONE.pkcs12(password)
    assert open_apart(content, password) == open_here(content, password)
    assert open_apart(content, password).certificates[0] == ONE.cert_der
    bundle = read_bundle(
        [DroppedFile("a.p12", content)], password=password, now=datetime.now(UTC), open_pkcs12=open_apart
    )
    assert isinstance(bundle, CertificateBundle)


@pytest.mark.parametrize(
    "content",
    [ONE.pkcs12(PASSWORD), ONE.pkcs12(PASSWORD)[:-9], b"0\x03\x02\x01\x03"],
    ids=["whole", "cut", "next to nothing"],
)
def test_what_does_not_open_is_said_to(content: bytes) -> None:
    with pytest.raises(ValueError, match="does not open"):
        open_apart(content, b"wrong")


def test_rounds_that_only_the_password_shows_end_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkcs12_process, "CPU_SECONDS", 1)
    content = with_hidden_rounds(2**31 - 1)
    assert derivation_rounds(content) < ROUNDS_LIMIT, "no look at the bytes shows it"
    with pytest.raises(ValueError, match="does not open"):
        open_apart(with_hidden_rounds(1000), PASSWORD)  # its key is zeros: the file itself is taken
    begun = time.process_time()

    with pytest.raises(TooMuchWork):
        open_apart(content, PASSWORD)
    refused = read_bundle(
        [DroppedFile(f"{number}.p12", content) for number in range(3)],
        password=PASSWORD, now=datetime.now(UTC), open_pkcs12=open_apart,
    )  # fmt: skip

    assert time.process_time() - begun < 1, "nothing was computed here"
    assert isinstance(refused, Refused)
    assert "rounds of password hashing" in refused.findings[0].message


def test_no_more_files_than_somebody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def count(content: bytes, password: bytes | None) -> None:
        opened.append(content)
        raise ValueError

    files = [DroppedFile(f"{number}.p12", ONE.pkcs12(PASSWORD)) for number in range(PKCS12_LIMIT + 20)]
    refused = read_bundle(files, password=b"wrong", now=datetime.now(UTC), open_pkcs12=count)  # type: ignore[arg-type]

    assert isinstance(refused, Refused)
    assert refused.findings[0].code is Refusal.TOO_LARGE
    assert len(opened) == PKCS12_LIMIT
