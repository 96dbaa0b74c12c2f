"""Files that ask for more work than anybody should do: PKCS #12 files and keys with any number of rounds of hashing."""

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

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


def pkcs12(contents: bytes, mac: bytes, rounds: int) -> bytes:
    digest = sequence(sequence(item("SHA-256"), NULL), tlv(4, mac))
    return sequence(
        integer(3), sequence(item("data"), tlv(0xA0, tlv(4, contents))), sequence(digest, tlv(4, SALT), integer(rounds))
    )


def with_rounds_before_any_password(rounds: int) -> bytes:
    """A PKCS #12 file that has to be hashed so often before it is known whether it has a password."""
    return pkcs12(sequence(), bytes(32), rounds)


def with_hidden_rounds(rounds: int) -> bytes:
    """In the open it asks for two rounds; the key inside asks for as many as it likes."""
    bag = sequence(item("shrouded key bag"), tlv(0xA0, sequence(algorithm(rounds), tlv(4, bytes(48)))))
    safe = sequence(item("data"), algorithm(1), tlv(0x80, encrypted(sequence(bag))))
    contents = sequence(sequence(item("encrypted data"), tlv(0xA0, sequence(integer(0), safe))))
    return pkcs12(contents, hmac.digest(mac_key(), contents, "sha256"), 1)


def with_open_rounds(rounds: int) -> bytes:
    """An encrypted key (RFC 5958 §3) that asks for them where everybody sees it."""
    return sequence(algorithm(rounds), tlv(4, bytes(48)))


def with_scrypt(cost: int, parallel: int) -> bytes:
    """RFC 7914 §7: the memory is 128 * cost * 8 bytes, the time that times `parallel`."""
    parameters = sequence(tlv(4, SALT), integer(cost), integer(8), integer(parallel))
    scheme = sequence(sequence(item("scrypt"), parameters), sequence(item("AES-256-CBC"), tlv(4, IV)))
    return sequence(sequence(item("PBES2"), scheme), tlv(4, bytes(48)))
