"""Which private keys are loaded: every form that RSA and EC keys come in, and nothing that could take long."""

import secrets
import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.certificate.bundle import Refused, read_bundle
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Refusal
from certstore.model.certificate.key_algorithm import why_not_loaded
from certstore.model.certificate.pem import to_pem
from tests.certstore.model.bundles import CA, ONE

RSA = rsa.generate_private_key(65537, 2048)
FORMS = {"PKCS 8": serialization.PrivateFormat.PKCS8, "traditional": serialization.PrivateFormat.TraditionalOpenSSL}


def written(key: PrivateKeyTypes, form: str = "PKCS 8") -> bytes:
    return key.private_bytes(serialization.Encoding.DER, FORMS[form], serialization.NoEncryption())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "key", [RSA, *(ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))]
)
def test_rsa_and_ec_keys_are_loaded_in_both_forms(key: PrivateKeyTypes, form: str) -> None:
    assert why_not_loaded(written(key, form)) is None


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (written(ed25519.Ed25519PrivateKey.generate()), "an Ed25519 key"),
        (written(ed448.Ed448PrivateKey.generate()), "an Ed448 key"),
        (written(x25519.X25519PrivateKey.generate()), "an X25519 key"),
        (written(dsa.generate_private_key(1024)), "a DSA key"),  # noqa: S505
        (written(dsa.generate_private_key(1024), "traditional"), "a DSA key"),  # noqa: S505
        (bytes.fromhex("300d020100300506032a0304040100"), "a key of an unusual kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_keys_of_other_kinds_are_named_and_not_loaded(key: bytes, kind: str) -> None:
    assert why_not_loaded(key) == kind
    found = read_bundle([DroppedFile("key.pem", to_pem("PRIVATE KEY", key))], now=datetime.now(UTC))
    assert isinstance(found, Refused)
    assert found.findings[0].code == Refusal.UNSUPPORTED_KEY
    assert kind in found.findings[0].message


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1, "big")
    return bytes([tag, *(size if len(body) < 128 else bytes([0x80 | len(size)]) + size)]) + body


def rsa_key(**changes: int) -> bytes:
    numbers = RSA.private_numbers()
    values = {
        "n": numbers.public_numbers.n, "e": numbers.public_numbers.e, "d": numbers.d, "p": numbers.p, "q": numbers.q,
        "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp,
    } | changes  # fmt: skip
    return tlv(0x30, *(tlv(2, each.to_bytes(each.bit_length() // 8 + 1, "big")) for each in (0, *values.values())))


HUGE = secrets.randbits(7_000_000) | 1
OUT_OF_PROPORTION = {
    "an exponent of a megabyte": {"dp": HUGE},
    "all exponents of 16384 bits": dict.fromkeys(("d", "dp", "dq"), 1 << 16380 | 1),
    "primes of a megabyte": {"p": HUGE},
    "a modulus of a megabyte": {"n": HUGE},
}
WRONG = {
    "an exponent of another key": {"dp": 12345},
    "primes that are not its own": {"p": 15, "q": 21},
    "primes of one": {"p": 1, "q": 1},
    "no primes": {"p": 0, "q": 0, "dp": 0, "dq": 0, "qi": 0},
}


def certified(key: bytes) -> list[DroppedFile]:
    """The key and a certificate for its public half."""
    chain = CA.issue("a.test", private_key=RSA).fullchain_pem
    return [DroppedFile("chain.pem", chain), DroppedFile("key.pem", to_pem("RSA PRIVATE KEY", key))]


@pytest.mark.parametrize("changes", (OUT_OF_PROPORTION | WRONG).values(), ids=OUT_OF_PROPORTION | WRONG)
def test_rsa_numbers_that_do_not_belong_together_cost_nothing(changes: dict[str, int]) -> None:
    key = rsa_key(**changes)
    if changes in OUT_OF_PROPORTION.values():
        assert str(why_not_loaded(key)).startswith("an RSA key")
    files, begun = certified(key), time.process_time()
    assert isinstance(read_bundle(files, now=datetime.now(UTC)), Refused)
    assert time.process_time() - begun < 0.3


def test_the_key_itself_is_accepted() -> None:
    assert not isinstance(read_bundle(certified(rsa_key()), now=datetime.now(UTC)), Refused)


@given(st.binary(max_size=40) | st.integers(0, 60).map(lambda end: ONE.privkey_der[:end]))
def test_no_bytes_make_it_raise(content: bytes) -> None:
    why_not_loaded(content)
