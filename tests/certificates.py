"""A small certificate authority for tests: real X.509, created in memory, fast enough to issue thousands.

It can also issue everything that the product must refuse (a CA as leaf, SHA-1 signatures, weak keys, no names), because
a check that never sees a bad certificate may not work. Must not import the product.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

WeakHash = Literal["sha1", "md5"]

_CURVES: dict[str, Callable[[], ec.EllipticCurve]] = {
    "ec256": ec.SECP256R1,
    "ec384": ec.SECP384R1,
    "ec521": ec.SECP521R1,
    "ec256k1": ec.SECP256K1,
}
_RSA_POOL = 3
_rsa_turns: dict[int, itertools.cycle[int]] = {}


@functools.cache
def _pooled_rsa_key(bits: int, slot: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def make_key(key_type: str = "ec256") -> PrivateKey:
    """A key of `ec256 ec384 ec521 ec256k1 ed25519 rsa<bits>`.

    RSA keys are slow to make, so they come in turn from a pool of three per size; two consecutive keys always differ.
    """
    if key_type in _CURVES:
        return ec.generate_private_key(_CURVES[key_type]())
    if key_type == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if key_type.startswith("rsa"):
        bits = int(key_type.removeprefix("rsa"))
        turn = _rsa_turns.setdefault(bits, itertools.cycle(range(_RSA_POOL)))
        return _pooled_rsa_key(bits, next(turn))
    raise ValueError(f"unknown key type {key_type!r}")


def privkey_to_pem(key: PrivateKey, *, password: bytes | None = None, traditional: bool = False) -> bytes:
    """PKCS#8 PEM, or `BEGIN EC/RSA PRIVATE KEY` when traditional; encrypted if there is a password."""
    style = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, style, encryption)


@dataclass(frozen=True, slots=True)
class Issued:
    """A leaf with its key and the chain up to but not including the root."""

    certificate: x509.Certificate
    private_key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]

    @property
    def privkey_pem(self) -> bytes:
        return privkey_to_pem(self.private_key)

    @property
    def cert_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in self.chain)

    @property
    def fullchain_pem(self) -> bytes:
        return self.cert_pem + self.chain_pem

    @property
    def combined_pem(self) -> bytes:
        """Key, leaf and chain in one file."""
        return self.privkey_pem + self.fullchain_pem

    @property
    def cert_der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def privkey_der(self) -> bytes:
        return self.private_key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf's DER, lower-case hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def not_before(self) -> dt.datetime:
        return self.certificate.not_valid_before_utc

    @property
    def not_after(self) -> dt.datetime:
        return self.certificate.not_valid_after_utc

    @property
    def dns_names(self) -> tuple[str, ...]:
        try:
            san = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return ()
        return tuple(san.value.get_values_for_type(x509.DNSName))

    def encrypted_privkey_pem(self, password: bytes, *, traditional: bool = False) -> bytes:
        return privkey_to_pem(self.private_key, password=password, traditional=traditional)

    def pkcs12(self, password: bytes | None = None) -> bytes:
        """A .p12 with key, leaf and chain; not encrypted without a password."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            encryption = serialization.BestAvailableEncryption(password)
        return pkcs12.serialize_key_and_certificates(
            b"test", self.private_key, self.certificate, list(self.chain), encryption
        )

    def write_to(self, folder: Path) -> None:
        """The four files that certbot writes."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "privkey.pem").write_bytes(self.privkey_pem)
        (folder / "cert.pem").write_bytes(self.cert_pem)
        (folder / "chain.pem").write_bytes(self.chain_pem)
        (folder / "fullchain.pem").write_bytes(self.fullchain_pem)


@dataclass(frozen=True, slots=True)
class _Signer:
    certificate: x509.Certificate
    private_key: PrivateKey = field(repr=False)


class CertificateAuthority:
    """A root, by default with one intermediate below it that signs the leaves.

    Validity starts a day ago and ends in 90 days unless given; instants are aware UTC.
    """

    def __init__(
        self,
        name: str = "Test CA",
        *,
        intermediate: bool = True,
        key_type: str = "ec256",
        weak_intermediate: WeakHash | None = None,
    ) -> None:
        self.name = name
        self._root = _make_authority(f"{name} Root", key_type, None, None)
        self._signer = self._root
        if intermediate:
            self._signer = _make_authority(f"{name} Intermediate", key_type, self._root, weak_intermediate)

    @property
    def root(self) -> x509.Certificate:
        return self._root.certificate

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)

    @property
    def intermediate_pem(self) -> bytes:
        """The signing intermediate; empty if the root signs the leaves."""
        if self._signer is self._root:
            return b""
        return self._signer.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def signing_key_pem(self) -> bytes:
        """The key that signs the leaves, for a CA program that issues them."""
        return privkey_to_pem(self._signer.private_key)

    def issue(
        self,
        *dns_names: str,
        key_type: str = "ec256",
        private_key: PrivateKey | None = None,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
        self_signed: bool = False,
        is_ca: bool = False,
        common_name: str | None = None,
        extended_key_usage: tuple[x509.ObjectIdentifier, ...] | None = (ExtendedKeyUsageOID.SERVER_AUTH,),
        weak_signature: WeakHash | None = None,
        key_usage: x509.KeyUsage | None = None,
    ) -> Issued:
        """A leaf for these names. Without names it has no SAN; extended_key_usage=None leaves that extension out.

        weak_signature needs an RSA signer: `CertificateAuthority(key_type="rsa2048")`, or an RSA leaf when self-signed.
        """
        key = private_key or make_key(key_type)
        subject = _name(common_name or (dns_names[0].removeprefix("*.") if dns_names else "no names"))
        signer = None if self_signed else self._signer
        start, end = _validity(not_before, not_after)
        builder = _builder(subject, key, signer, start, end)
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        if dns_names:
            san = x509.SubjectAlternativeName([x509.DNSName(each) for each in dns_names])
            builder = builder.add_extension(san, critical=False)
        if extended_key_usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended_key_usage), critical=False)
        if key_usage is not None:
            builder = builder.add_extension(key_usage, critical=True)
        certificate = _sign(builder, key if signer is None else signer.private_key, weak_signature)
        has_intermediate = signer is not None and self._signer is not self._root
        return Issued(certificate, key, (self._signer.certificate,) if has_intermediate else ())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _validity(not_before: dt.datetime | None, not_after: dt.datetime | None) -> tuple[dt.datetime, dt.datetime]:
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    start = not_before or min(now, not_after or now) - dt.timedelta(days=1)
    return start, not_after or start + dt.timedelta(days=91)


def _builder(
    subject: x509.Name, key: PrivateKey, signer: _Signer | None, not_before: dt.datetime, not_after: dt.datetime
) -> x509.CertificateBuilder:
    """Everything but the extensions that make a leaf a leaf; signer None means self-signed."""
    issuer = subject if signer is None else signer.certificate.subject
    issuer_key = (key if signer is None else signer.private_key).public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _make_authority(common_name: str, key_type: str, signer: _Signer | None, weak: WeakHash | None) -> _Signer:
    key = make_key(key_type)
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    # Wide enough for certificates that expired long ago or become valid much later.
    builder = _builder(_name(common_name), key, signer, now - dt.timedelta(days=3650), now + dt.timedelta(days=3650))
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    return _Signer(_sign(builder, key if signer is None else signer.private_key, weak), key)


def _sign(builder: x509.CertificateBuilder, key: PrivateKey, weak: WeakHash | None) -> x509.Certificate:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return builder.sign(key, None)
    certificate = builder.sign(key, hashes.SHA256())
    return certificate if weak is None else _resign_weakly(certificate, key, weak)


def _resign_weakly(certificate: x509.Certificate, key: PrivateKey, weak: WeakHash) -> x509.Certificate:
    """The same certificate signed with SHA-1 or MD5, which `cryptography` can read but not create.

    RSA only: there the algorithm's identifier and the signature keep their lengths, so both are changed in place.
    """
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("a weak signature needs an RSA key to sign with")
    sha256_with_rsa = bytes.fromhex("2a864886f70d01010b")
    weak_with_rsa = sha256_with_rsa[:-1] + (b"\x05" if weak == "sha1" else b"\x04")
    algorithm = hashes.SHA1() if weak == "sha1" else hashes.MD5()  # noqa: S303  # what the product must refuse
    to_be_signed = certificate.tbs_certificate_bytes.replace(sha256_with_rsa, weak_with_rsa)
    signature = key.sign(to_be_signed, padding.PKCS1v15(), algorithm)
    der = certificate.public_bytes(serialization.Encoding.DER)
    der = der.replace(certificate.tbs_certificate_bytes, to_be_signed).replace(sha256_with_rsa, weak_with_rsa)
    return x509.load_der_x509_certificate(der[: -len(signature)] + signature)
