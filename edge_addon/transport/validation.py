"""The certificates that prove names to a CA over TLS (tls-alpn-01, RFC 8737 §3): made per token, in memory only.

Each handshake gets a context of its own, so nothing of a validation resumes, and no ticket key of a site is involved.
Knows neither where tokens come from nor which names are under validation.
"""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certstore.model.challenge import ACME_IDENTIFIER, ALPN_PROTOCOL, acme_identifier
from certstore.net.tls_engine import EngineName, engine_in_force
from certstore.net.tls_server import MINIMUM_VERSIONS, server_context
from edge_addon.transport.served_contexts import ServedContext
from edge_addon.transport.tls_contexts import not_loaded

if TYPE_CHECKING:
    from certstore.net.openssl_contexts import Servable

CAPACITY = 256
"""Names whose certificate is kept. A CA asks a few times within seconds; making one takes less than a handshake."""
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_VALID = timedelta(days=7)
_SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME validation")])


class ValidationContexts:
    """Of one worker. `minimum_version` is that of the listeners."""

    def __init__(self, minimum_version: str, clock: Callable[[], datetime]) -> None:
        self._minimum_version = minimum_version
        self._clock = clock
        self._made: OrderedDict[str, tuple[bytes, bytes]] = OrderedDict()

    def make(self, name: str, key_authorization: bytes) -> ServedContext:
        """A context for one handshake that proves `name`. Raises NotLoaded, OutOfFiles."""
        made = self._made.get(name)
        if made is None or made[0] != key_authorization:
            made = self._made[name] = (key_authorization, make_certificate(name, key_authorization, self._clock()))
        self._made.move_to_end(name)
        if len(self._made) > CAPACITY:
            self._made.popitem(last=False)
        try:
            if engine_in_force().name is EngineName.SSL:
                return ssl_context(made[1], self._minimum_version)
            return _on_openssl(made[1], self._minimum_version)
        except OSError as error:
            raise not_loaded(error) from error

    def forget(self, name: str) -> None:
        """The name is not under validation."""
        self._made.pop(name, None)


def make_certificate(name: str, key_authorization: bytes, now: datetime) -> bytes:
    """Key and certificate, PEM: self-signed, for this name alone, with the critical extension."""
    key = ec.generate_private_key(ec.SECP256R1())
    proof = x509.UnrecognizedExtension(x509.ObjectIdentifier(ACME_IDENTIFIER), acme_identifier(key_authorization))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_SUBJECT)
        .issuer_name(_SUBJECT)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # the CA's clock may be behind
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(proof, critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def ssl_context(pem: bytes, minimum_version: str) -> ssl.SSLContext:
    """On Python's `ssl`. Raises OSError."""
    context = server_context(MINIMUM_VERSIONS[minimum_version])
    context.set_alpn_protocols([ALPN_PROTOCOL])
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    _load(context, pem)
    return context


def _on_openssl(pem: bytes, minimum_version: str) -> Servable:
    from certstore.net.openssl_contexts import ChainContexts
    from certstore.net.openssl_credentials import decode
    from certstore.net.openssl_stage import Scratch

    private, begin, certificate = pem.partition(_BEGIN)
    contexts = ChainContexts(minimum_version, [ALPN_PROTOCOL], Scratch(), resumes=False)
    return contexts.alone(decode([(begin + certificate, private)]))


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Python's `ssl` loads certificates only from files: this one exists in memory, without a name. Raises OSError."""
    descriptor = os.memfd_create("validation", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    finally:
        os.close(descriptor)
