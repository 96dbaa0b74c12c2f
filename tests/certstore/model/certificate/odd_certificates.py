"""Certificates that strict parsers refuse, made from a good one by changing its DER and signing it again.

`peer_accepts` is the judge: OpenSSL as the server loads them, and OpenSSL as a client that trusts the root verifies.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certstore.model.certificate.der import element, elements, encoded, object_identifier
from tests.certificates import CertificateAuthority

AUTHORITY = CertificateAuthority("Odd")
LEAF = AUTHORITY.issue("a.test")
DER = serialization.Encoding.DER
SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY = range(1, 7)
SAN, BASIC, KEY_USAGE, EXTENDED, AUTHORITY_ID, SUBJECT_ID, POLICIES, FEATURES = (
    *("2.5.29.17", "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.35", "2.5.29.14", "2.5.29.32"),
    "1.3.6.1.5.5.7.1.24",
)

type Change = Callable[[list[bytes]], None]
"""Changes the parts of a TBSCertificate: version, serial, …, extensions (the last one)."""


def parts_of(der: bytes) -> list[bytes]:
    _, start, end = element(der, 0, len(der))
    found, position = [], start
    for _, _, stop in elements(der, start, end):
        found.append(der[position:stop])
        position = stop
    return found


def sequence(*parts: bytes) -> bytes:
    return encoded(0x30, b"".join(parts))


def extension(oid: str, value: bytes, *flag: bytes) -> bytes:
    return sequence(encoded(6, object_identifier(oid)), *flag, encoded(4, value))


def common_name(tag: int, text: bytes) -> bytes:
    return sequence(encoded(0x31, sequence(encoded(6, object_identifier("2.5.4.3")), encoded(tag, text))))


def without_extension(oid: str) -> Change:
    def change(parts: list[bytes]) -> None:
        mark = encoded(6, object_identifier(oid))
        parts[-1] = encoded(
            0xA3, sequence(*(each for each in parts_of(parts_of(parts[-1])[0]) if mark not in each[:20]))
        )

    return change


def put(index: int, value: bytes) -> Change:
    def change(parts: list[bytes]) -> None:
        parts[index] = value

    return change


def with_extension(oid: str, value: bytes, *flag: bytes, again: bool = False) -> Change:
    """In place of the one with this OID, or in addition."""

    def change(parts: list[bytes]) -> None:
        mark = encoded(6, object_identifier(oid))
        others = [each for each in parts_of(parts_of(parts[-1])[0]) if again or mark not in each[:20]]
        parts[-1] = encoded(0xA3, sequence(*others, extension(oid, value, *flag)))

    return change


def signed(tbs: list[bytes], key: ec.EllipticCurvePrivateKey) -> bytes:
    content = sequence(*tbs)
    return sequence(content, tbs[ALGORITHM], encoded(3, b"\x00" + key.sign(content, ec.ECDSA(hashes.SHA256()))))


def key_of(authority: CertificateAuthority) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(authority.signing_key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def changed(
    *changes: Change,
    certificate: x509.Certificate = LEAF.certificate,
    key: ec.EllipticCurvePrivateKey = key_of(AUTHORITY),
) -> bytes:
    """DER of a certificate after the changes, signed with the key: by default the leaf, as the authority signs it."""
    tbs = parts_of(parts_of(certificate.public_bytes(DER))[0])
    for change in changes:
        change(tbs)
    return signed(tbs, key)


def peer_accepts(chain: bytes, key: bytes, root: bytes, name: str = "a.test") -> bool:
    """A handshake in memory, all in PEM."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cadata=root.decode())
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT  # what Python 3.13 adds to the usual rules of clients
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "chain.pem"), Path(folder, "key.pem")
        for path, content in zip(paths, (chain, key), strict=True):
            path.write_bytes(content)
        try:
            server.load_cert_chain(*paths)
        except ssl.SSLError:
            return False
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
            ends.remove(end)
        if not ends:
            return True
    return False


def to_text(*certificates: bytes) -> bytes:
    return b"".join(ssl.DER_cert_to_PEM_cert(each).encode() for each in certificates)
