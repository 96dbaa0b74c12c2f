"""PKCS #12 files and encrypted keys are opened in a child process: what they hold, and those that never end."""

import contextlib
import hashlib
import hmac
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from certstore.model.certificate.bundle import CertificateBundle, Refused, read_bundle
from certstore.model.certificate.contents import TooMuchWork, unlock_here
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.store import unlocking
from certstore.store.unlocking import Unlocker
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
    "scrypt": "06092b06010401da47040b",
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


def with_open_rounds(rounds: int) -> bytes:
    """An encrypted key (RFC 5958 §3) that asks for them where everybody sees it."""
    return sequence(algorithm(rounds), tlv(4, bytes(48)))


def with_scrypt(cost: int, parallel: int) -> bytes:
    """RFC 7914 §7: the memory is 128 * cost * 8 bytes, the time that times `parallel`."""
    parameters = sequence(tlv(4, SALT), integer(cost), integer(8), integer(parallel))
    scheme = sequence(sequence(item("scrypt"), parameters), sequence(item("AES-256-CBC"), tlv(4, IV)))
    return sequence(sequence(item("PBES2"), scheme), tlv(4, bytes(48)))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlocking, "CPU_SECONDS", 0.5)


@pytest.mark.parametrize("password", [PASSWORD, None], ids=["with a password", "without one"])
def test_a_pkcs12_file_holds_what_it_holds_for_the_library(password: bytes | None) -> None:
    content = ONE.pkcs12(password)
    assert Unlocker()(content, password) == unlock_here(content, password)
    assert Unlocker()(content, password).certificates[0] == ONE.cert_der
    bundle = read_bundle([DroppedFile("a.p12", content)], password=password, now=datetime.now(UTC), unlock=Unlocker())
    assert isinstance(bundle, CertificateBundle)


@pytest.mark.parametrize("is_traditional", [False, True], ids=["PKCS #8", "RFC 1421"])
def test_an_encrypted_key_is_the_key_without_encryption(is_traditional: bool) -> None:
    content = ONE.encrypted_privkey_pem(PASSWORD, traditional=is_traditional)
    assert Unlocker()(content, PASSWORD).keys == (ONE.privkey_der,)
    files = [DroppedFile("key.pem", content), DroppedFile("chain.pem", ONE.fullchain_pem)]
    bundle = read_bundle(files, password=PASSWORD, now=datetime.now(UTC), unlock=Unlocker())
    assert isinstance(bundle, CertificateBundle)


@pytest.mark.parametrize(
    "content",
    [
        ONE.pkcs12(PASSWORD),
        ONE.pkcs12(PASSWORD)[:-9],
        b"0\x03\x02\x01\x03",
        ONE.encrypted_privkey_pem(PASSWORD),
        with_open_rounds(1000),
    ],
    ids=["whole", "cut", "next to nothing", "a key", "a key of zeros"],
)
def test_what_does_not_open_is_reported(content: bytes) -> None:
    with pytest.raises(ValueError, match="does not open"):
        Unlocker()(content, b"wrong")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "content",
    [with_hidden_rounds(2**31 - 1), with_open_rounds(2**31 - 1), with_scrypt(1 << 14, 1 << 16)],
    ids=["rounds that only the password shows", "rounds that everybody sees", "scrypt"],
)
def test_hashing_without_end_ends_with_the_child(content: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(TooMuchWork):
        Unlocker()(content, PASSWORD)
    refused = read_bundle(
        [DroppedFile(f"{number}.p12", content) for number in range(3)],
        password=PASSWORD, now=datetime.now(UTC), unlock=Unlocker(),
    )  # fmt: skip
    assert time.process_time() - begun < 1, "nothing was computed here"
    assert isinstance(refused, Refused)
    assert "rounds of password hashing" in refused.findings[0].message


LARGEST_CHILD = """
import contextlib, resource, sys
from certstore.model.certificate.contents import TooMuchWork
from certstore.store.unlocking import Unlocker
with contextlib.suppress(TooMuchWork, ValueError):
    Unlocker()(sys.stdin.buffer.read(), sys.argv[1].encode())
    sys.exit("it was opened")
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def test_hashing_that_needs_much_memory_is_refused_it() -> None:
    """Asked of a process without other children: the system knows the largest of all only."""
    program = [sys.executable, "-c", LARGEST_CHILD, PASSWORD.decode()]
    ended = subprocess.run(program, input=with_scrypt(1 << 24, 1), capture_output=True, check=True)  # 16 GB
    assert int(ended.stdout) <= unlocking.MEMORY


@pytest.mark.usefixtures("hasty")
def test_all_files_of_one_reading_share_the_time() -> None:
    unlock = Unlocker()

    def open_many() -> None:
        for _ in range(1000):
            with contextlib.suppress(ValueError):
                unlock(with_open_rounds(300_000), PASSWORD)

    with pytest.raises(TooMuchWork):
        open_many()
    with pytest.raises(TooMuchWork):
        unlock(ONE.pkcs12(PASSWORD), PASSWORD)
    assert Unlocker()(ONE.pkcs12(PASSWORD), PASSWORD).keys == (ONE.privkey_der,), "another reading has its own time"
