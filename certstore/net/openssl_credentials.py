"""What a site presents on OpenSSL: its certificates and keys, decoded, without the intermediates' context.

A site has one pair, or two: EC, and RSA for old clients. Each object of the library has one owner here, which frees it
once; what uses it on a connection takes a reference of its own.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from certstore.net.openssl import NULL, ffi, lib, take_error

type ChainKey = tuple[tuple[object, bytes], ...]
"""For each pair the kind of its key, and its intermediates as PEM: sites with the same ones share a context."""

_END = re.compile(rb"-----END (?:X509 )?CERTIFICATE-----")
"""With either of the labels that OpenSSL takes."""
_NO_PASSWORD = ffi.new("char[]", b"")
_gc = ffi.gc
_PAIR_BYTES = 6500
"""About what the library and Python take for a certificate and its key beside the PEM (measured: 8 KB in all)."""

_SHARED_CHAIN = 8 * 1024
"""Bytes of intermediates that weigh nothing, as nearly all sites share theirs. What is longer is seldom shared."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One certificate with its key. `leaf`: its PEM; `kind`: what tells apart the places for keys in a context."""

    certificate: Any
    key: Any
    kind: object
    leaf: bytes


@dataclass(slots=True, eq=False, repr=False)
class Credentials:
    """All that a site presents. `session_context` ties its sessions to exactly these certificates."""

    pairs: tuple[Pair, ...]
    chain_key: ChainKey
    session_context: Any
    size: int
    """Bytes of memory, about."""

    @property
    def fullchains(self) -> list[bytes]:
        """The PEM of each pair's certificate and intermediates."""
        return [pair.leaf + b"\n" + chain for pair, (_, chain) in zip(self.pairs, self.chain_key, strict=True)]


SESSION_CONTEXT_BYTES = 32
"""The most that OpenSSL takes (SSL_MAX_SID_CTX_LENGTH), and a SHA-256."""


def decode(pairs: Sequence[tuple[bytes, bytes]]) -> Credentials:
    """From PEM: full chain and private key of each pair. Whether they fit each other is not looked at here.

    Raises ssl.SSLError for what can't be read.
    """
    decoded, chain_key, size = [], [], 0
    for fullchain, privkey in pairs:
        end = found.end() if (found := _END.search(fullchain)) else len(fullchain)
        leaf, chain = fullchain[:end], fullchain[end:]
        pair = _decode_pair(leaf, privkey)
        decoded.append(pair)
        chain_key.append((pair.kind, chain.strip()))
        size += _PAIR_BYTES + 2 * len(leaf) + len(privkey) + max(0, len(chain) - _SHARED_CHAIN)
    digest = hashlib.sha256(b"".join(hashlib.sha256(pair.leaf).digest() for pair in decoded)).digest()
    return Credentials(tuple(decoded), tuple(chain_key), ffi.new("unsigned char[]", digest), size)


def _decode_pair(leaf: bytes, privkey: bytes) -> Pair:
    certificate = _gc(_read(lib.PEM_read_bio_X509, leaf, "no certificate"), lib.X509_free)
    key = _gc(_read(lib.PEM_read_bio_PrivateKey, privkey, "no private key"), lib.EVP_PKEY_free)
    kind = _kind(certificate)
    if kind is not None and kind != lib.EVP_PKEY_id(key):
        # OpenSSL keeps a place for each kind of key: it would take this one, and not see that the certificate has none.
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, "key type mismatch")
    return Pair(certificate, key, leaf if kind is None else kind, leaf)


def _read(reader: Any, pem: bytes, what: str) -> Any:
    """The first object of its kind, which the caller owns. Raises ssl.SSLError."""
    bio = lib.BIO_new_mem_buf(pem, len(pem))
    if bio == NULL:
        raise take_error(what)
    try:
        # With an empty password OpenSSL refuses an encrypted key; without one it would ask for it on the terminal.
        found = reader(bio, NULL, NULL, _NO_PASSWORD)
    finally:
        lib.BIO_free(bio)
    if found == NULL:
        raise take_error(what)
    return found


def _kind(certificate: Any) -> int | None:
    """The type of the public key; None where the library has no number for it."""
    key = lib.X509_get_pubkey(certificate)
    if key == NULL:
        raise take_error("unknown public key")
    try:
        kind = int(lib.EVP_PKEY_id(key))
    finally:
        lib.EVP_PKEY_free(key)
    return kind if kind > 0 else None
