"""An RSA-PSS key stays one in every form that it may come in; every other key is stored as plain PKCS #8."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.certstore.model.bundles import accepted
from tests.odd_certificates import PSS, Odd, converted, ec, make, pss, rsa

PASSWORD = b"word"
type Files = dict[str, bytes]


def as_they_are(files: Files) -> list[bytes]:
    return list(files.values())


def locked(files: Files) -> list[bytes]:
    return [files["fullchain.pem"], converted(files["privkey.pem"], "pkcs8 -topk8 -passout pass:word")]


def pkcs12(files: Files) -> list[bytes]:
    return [converted(files["privkey.pem"] + files["fullchain.pem"], "pkcs12 -export -passout pass:word")]


def pkcs1(files: Files) -> list[bytes]:
    """The form of RFC 8017 appendix A.1.2, which can't say that a key is for PSS only."""
    key = load_pem_private_key(files["privkey.pem"], None)
    return [files["fullchain.pem"], key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())]


def algorithm(key: bytes) -> str:
    """As OpenSSL's program names it, with the restrictions of the key."""
    return converted(key, "asn1parse").decode().partition("OCTET STRING")[0]


@pytest.mark.parametrize("came", [as_they_are, locked, pkcs12, pkcs1])
@pytest.mark.parametrize("kind", [PSS, pss("sha256", 32)], ids=["for any hash", "for one hash"])
def test_an_rsa_pss_key_stays_one(kind: tuple[str, ...], came: Callable[[Files], list[bytes]]) -> None:
    files = make(Odd(kind))
    bundle = accepted(*came(files), password=PASSWORD, now=datetime.now(UTC))
    pair = bundle.primary
    assert "which browsers do not accept" in next(each.message for each in bundle.problems if each.code == "rare_key")
    assert pair.fullchain_pem == files["fullchain.pem"]
    assert algorithm(pair.privkey_pem) == algorithm(files["privkey.pem"])
    if came is as_they_are:
        assert pair.privkey_pem == files["privkey.pem"]


@pytest.mark.parametrize("kind", [ec("P-256"), rsa(2048)], ids=["EC", "RSA"])
@pytest.mark.parametrize("came", [as_they_are, locked, pkcs12, pkcs1])
def test_another_key_becomes_plain_pkcs8(kind: tuple[str, ...], came: Callable[[Files], list[bytes]]) -> None:
    files = make(Odd(kind))
    plain = converted(files["privkey.pem"], "pkcs8 -topk8 -nocrypt")
    assert accepted(*came(files), password=PASSWORD, now=datetime.now(UTC)).primary.privkey_pem == plain
