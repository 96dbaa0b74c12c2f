"""Whether the OpenSSL of `cryptography` does here what the listeners need: every binding is used, and what matters is
compared with what a client sees. A release that changes one of them must not be noticed by clients first.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certstore.net.memory_handshake import shake_hands, trusting_client
from certstore.net.openssl_contexts import ChainContexts, Servable
from certstore.net.openssl_credentials import decode
from certstore.net.openssl_stage import OpenSslStage, Scratch

_VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
_SENT = bytes(range(256)) * 160
"""More than two records."""


class Differs(Exception):
    """The library works otherwise than expected; the message says in what."""


def probe() -> None:
    """Raises Differs, or whatever the library or its bindings raise."""
    contexts = ChainContexts("1.2", ["h2", "http/1.1"], Scratch())
    sites = [contexts.servable(decode([_self_signed()])) for _ in range(2)]
    if sites[0].context is not sites[1].context:
        raise Differs("two sites with the same chain do not share a context")
    for version in _VERSIONS:
        _probe(sites, version)
    silent = ChainContexts("1.2", [], Scratch(), resumes=False).alone(decode([_self_signed()]))
    shake_hands(silent, trusting_client(_VERSIONS[0]))


def _probe(sites: list[Servable], version: ssl.TLSVersion) -> None:
    client = trusting_client(version)
    client.set_alpn_protocols(["http/1.1", "h2"])
    for site in sites:
        seen = shake_hands(site, client)
        shown = ssl.DER_cert_to_PEM_cert(seen.getpeercert(binary_form=True) or b"")
        if shown.encode().strip() != site.credentials.pairs[0].leaf.strip():
            raise Differs("a client sees another certificate")
        if seen.selected_alpn_protocol() != "h2" or seen.version() != version.name.replace("v1_", "v1."):
            raise Differs("a client gets another protocol")
    _exchange(sites[0], client)
    session = _exchange(sites[0], client)
    if not shake_hands(sites[0], client, session=session).session_reused:
        raise Differs("no session resumes")
    if shake_hands(sites[1], client, session=session).session_reused:
        raise Differs("a session resumes with the certificate of another site")


def _exchange(site: Servable, client: ssl.SSLContext) -> ssl.SSLSession | None:
    """Data both ways and an orderly end; the client's session."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = client.wrap_bio(to_client, to_server), site.stage()
    for _ in range(4):
        for side in (ours.do_handshake, theirs.handshake):
            try:
                side()
            except ssl.SSLWantReadError:
                pass
            _pass_on(theirs, to_server, to_client)
    theirs.write(memoryview(_SENT))
    _pass_on(theirs, to_server, to_client)
    received = b""
    while len(received) < len(_SENT):
        received += ours.read(len(_SENT))
    ours.write(b"last")
    try:
        ours.unwrap()
    except ssl.SSLWantReadError:
        pass
    _pass_on(theirs, to_server, to_client)
    answers = [theirs.read(), theirs.may_have_more, theirs.read(), theirs.may_have_more, theirs.version, theirs.alpn]
    theirs.close_notify()
    _pass_on(theirs, to_server, to_client)
    ours.unwrap()  # fails without the other side's close_notify
    if received != _SENT or answers != [b"last", True, b"", False, ours.version(), "h2"]:
        raise Differs("data does not arrive as it was sent")
    return ours.session


def _pass_on(stage: OpenSslStage, to_server: ssl.MemoryBIO, to_client: ssl.MemoryBIO) -> None:
    stage.feed(to_server.read())
    to_client.write(stage.output())


def _self_signed() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "probe")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private
