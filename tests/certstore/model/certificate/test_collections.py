"""PKCS #7 and PKCS #12 as programs write them, made by OpenSSL where the library can't make them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from certstore.model.certificate.collections import certificates_of_pkcs7, open_pkcs12
from certstore.model.certificate.der import encoded, object_identifier
from tests.certstore.model.bundles import ONE, OTHER, PASSWORD
from tests.certstore.model.certificate.odd_certificates import (
    LEAF,
    POLICIES,
    changed,
    put,
    sequence,
    to_text,
    with_extension,
)

DER = serialization.Encoding.DER
ODD = changed(put(0, encoded(0xA0, b"\x02\x01\x03")), with_extension(POLICIES, b"\x04\x00"))
"""Version 4, which the library's parser refuses."""
_DATA = encoded(6, object_identifier("1.2.840.113549.1.7.1"))


def exported(folder: Path, certificates: bytes, key: bytes, *options: str) -> bytes:
    (folder / "in.pem").write_bytes(key + certificates)
    command = ["openssl", "pkcs12", "-export", "-in", "in.pem", "-out", "out.p12", "-passout", "pass:correct horse"]
    subprocess.run([*command, *options], cwd=folder, check=True, capture_output=True)
    return (folder / "out.p12").read_bytes()


WAYS = {
    "as OpenSSL writes it today": (),
    "with AES of 128 bits": ("-certpbe", "AES-128-CBC", "-keypbe", "AES-128-CBC"),
    "with 3DES as Windows writes it": ("-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"),
    "with open certificates": ("-certpbe", "NONE"),
    "with an open key": ("-keypbe", "NONE"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("certificate", [LEAF.cert_der, ODD], ids=["usual", "odd"])
def test_pkcs12_is_opened(tmp_path: Path, way: str, certificate: bytes) -> None:
    content = exported(tmp_path, to_text(certificate) + LEAF.chain_pem, LEAF.privkey_pem, *WAYS[way])
    certificates, keys = open_pkcs12(content, PASSWORD)
    assert set(certificates) == {certificate, LEAF.chain[0].public_bytes(DER)}
    assert keys == (LEAF.privkey_der,)


@pytest.mark.parametrize("certificate", [LEAF.cert_der, ODD], ids=["usual", "odd"])
def test_wrong_password_opens_nothing(tmp_path: Path, certificate: bytes) -> None:
    content = exported(tmp_path, to_text(certificate), LEAF.privkey_pem)
    for wrong in (b"wrong", b"", None):
        with pytest.raises(ValueError, match="open"):
            open_pkcs12(content, wrong)


def bag(kind: str, content: bytes) -> bytes:
    return sequence(encoded(6, object_identifier(f"1.2.840.113549.1.12.10.1.{kind}")), encoded(0xA0, content))


def certificate_bag(der: bytes) -> bytes:
    kind = encoded(6, object_identifier("1.2.840.113549.1.9.22.1"))
    return bag("3", sequence(kind, encoded(0xA0, encoded(4, der))))


def open_pfx(*bags: bytes, is_ber: bool = False) -> bytes:
    """Without encryption and without a checksum."""
    safe = sequence(_DATA, encoded(0xA0, encoded(4, sequence(*bags))))
    safes = sequence(safe)
    if is_ber:
        pieces = encoded(4, safes[:100]) + encoded(4, safes[100:])
        octets = b"\xa0\x80\x24\x80" + pieces + b"\x00\x00\x00\x00"
        return b"\x30\x80\x02\x01\x03\x30\x80" + _DATA + octets + b"\x00\x00\x00\x00"
    return sequence(b"\x02\x01\x03", sequence(_DATA, encoded(0xA0, encoded(4, safes))))


@pytest.mark.parametrize("is_ber", [False, True])
def test_every_key_of_several_is_found(is_ber: bool) -> None:
    bags = [
        bag("1", ONE.privkey_der),
        bag("1", OTHER.privkey_der),
        *map(certificate_bag, (OTHER.cert_der, ONE.cert_der)),
    ]
    certificates, keys = open_pkcs12(open_pfx(*bags, is_ber=is_ber), None)
    assert set(keys) == {ONE.privkey_der, OTHER.privkey_der}
    assert set(certificates) == {ONE.cert_der, OTHER.cert_der}


def test_bags_within_a_bag_are_found() -> None:
    nested = bag("6", sequence(bag("1", ONE.privkey_der), certificate_bag(ONE.cert_der)))
    assert open_pkcs12(open_pfx(nested), None) == ((ONE.cert_der,), (ONE.privkey_der,))


def test_key_that_nobody_knows_does_not_hide_the_others() -> None:
    strange = sequence(b"\x02\x01\x00", sequence(encoded(6, object_identifier("1.2.3"))), encoded(4, b"x"))
    bags = [bag("1", strange), bag("1", ONE.privkey_der), bag("4", b"\x05\x00"), certificate_bag(ONE.cert_der)]
    assert open_pkcs12(open_pfx(*bags), None) == ((ONE.cert_der,), (ONE.privkey_der,))


def test_certificates_of_a_collection_are_found_as_they_are() -> None:
    der = pkcs7.serialize_certificates([ONE.certificate, *ONE.chain], DER)
    assert set(certificates_of_pkcs7(der)) == {ONE.cert_der, ONE.chain[0].public_bytes(DER)}
    for broken in (b"\x30\x00", b"\x30\x03\x06\x01\x00", b"", der[:-9]):
        with pytest.raises(ValueError, match=r"cut|content"):
            certificates_of_pkcs7(broken)
