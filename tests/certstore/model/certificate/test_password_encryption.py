"""PBES2 with its defaults, and what is refused. What OpenSSL writes is tested in `test_collections`."""

import hashlib

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from certstore.model.certificate.der import encoded, object_identifier
from certstore.model.certificate.library import Unreadable
from certstore.model.certificate.password_encryption import decrypt

SALT, VECTOR = b"saltsalt", b"\x07" * 16
AES_256, PBKDF2 = "2.16.840.1.101.3.4.1.42", "1.2.840.113549.1.5.12"


def oid(number: str) -> bytes:
    return encoded(6, object_identifier(number))


def pbes2(*, prf: bytes = b"", cipher: str = AES_256, derivation: str = PBKDF2) -> bytes:
    rounds = encoded(0x30, encoded(4, SALT) + encoded(2, b"\x03") + prf)
    scheme = encoded(0x30, oid(cipher) + encoded(4, VECTOR))
    return oid("1.2.840.113549.1.5.13") + encoded(0x30, encoded(0x30, oid(derivation) + rounds) + scheme)


def encrypted(hash_name: str) -> bytes:
    key = hashlib.pbkdf2_hmac(hash_name, b"pass", SALT, 3, 32)
    padder, encryptor = padding.PKCS7(128).padder(), Cipher(algorithms.AES(key), modes.CBC(VECTOR)).encryptor()
    return encryptor.update(padder.update(b"hello") + padder.finalize())


@pytest.mark.parametrize(
    ("prf", "name"),
    [
        pytest.param(b"", "sha1", id="the default"),
        pytest.param(encoded(0x30, oid("1.2.840.113549.2.9") + b"\x05\x00"), "sha256", id="SHA-256"),
        pytest.param(b"\x02\x01\x20" + encoded(0x30, oid("1.2.840.113549.2.11")), "sha512", id="with a key length"),
    ],
)
def test_pbes2(prf: bytes, name: str) -> None:
    assert decrypt(pbes2(prf=prf), encrypted(name), b"pass") == b"hello"
    with pytest.raises(Unreadable):
        decrypt(pbes2(prf=prf), encrypted(name), b"wrong")


@pytest.mark.parametrize(
    "algorithm",
    [
        pytest.param(pbes2(cipher="1.2.3"), id="an unknown cipher"),
        pytest.param(pbes2(derivation="1.2.3"), id="an unknown derivation"),
        pytest.param(oid("1.2.840.113549.1.12.1.6") + encoded(0x30, b""), id="RC2"),
    ],
)
def test_other_schemes_are_refused(algorithm: bytes) -> None:
    with pytest.raises(ValueError, match="unknown encryption"):
        decrypt(algorithm, encrypted("sha1"), b"pass")
