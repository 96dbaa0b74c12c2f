"""OpenSSL's contexts, one per chain of intermediates, for listeners of one purpose: sites that share a chain share one.

A context has what all its connections have in common: versions, ciphers, protocols, ticket keys, and the intermediates.
It has no private key, and so serves nobody by itself. A connection gets the site's own certificate and key, which take
the place of the certificate that the chain was loaded with, and the session context of exactly these: OpenSSL compares
that at every resumption, by ticket or by number, TLS 1.2 or 1.3.
"""

from __future__ import annotations

import functools
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from certstore.net.openssl import NULL, ffi, lib, take_error
from certstore.net.openssl_credentials import ChainKey, Credentials
from certstore.net.openssl_stage import OpenSslStage, Scratch
from certstore.net.tls_server import CIPHERS

CAPACITY = 1024
"""Contexts that are kept. One takes about 26 KB."""

CHAIN_BYTES = 16 << 20
"""Intermediates (PEM) of the contexts that are kept. It takes chains of 16 KB to reach it before `CAPACITY`."""

MAXIMUM_AGE_SECONDS = 24 * 3600
"""A context is made anew after a day, which renews its ticket keys (RFC 8446 appendix C.4 on reuse)."""

MINIMUM_VERSIONS = {"1.2": int(lib.TLS1_2_VERSION), "1.3": int(lib.TLS1_3_VERSION)}

_SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""AES-128 first: it is safe, and cheaper on every server."""
_OPTIONS = lib.SSL_OP_NO_RENEGOTIATION | lib.SSL_OP_NO_COMPRESSION | lib.SSL_OP_CIPHER_SERVER_PREFERENCE
_NO_AUTO_CHAIN = 0x8
"""SSL_MODE_NO_AUTO_CHAIN, which is not bound: what is sent is what the site's file has, nothing is looked for."""
_MODE = (
    lib.SSL_MODE_RELEASE_BUFFERS | lib.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | lib.SSL_MODE_AUTO_RETRY | _NO_AUTO_CHAIN
)


class Servable(NamedTuple):
    """What a site's connections start from."""

    context: Any
    credentials: Credentials
    scratch: Scratch

    def stage(self) -> OpenSslStage:
        """A new connection. Raises ssl.SSLError, MemoryError."""
        return OpenSslStage(self.context, self.credentials, self.scratch)


class _Kept(NamedTuple):
    context: Any
    key: ChainKey
    until: float

    @property
    def size(self) -> int:
        return sum(len(chain) for _, chain in self.key)


class ChainContexts:
    """The contexts of one purpose, for connections of one thread; the least recently used ones are dropped.

    `protocols` are for ALPN, the preferred one first. Without tickets no session resumes.
    """

    def __init__(
        self,
        minimum_version: str,
        protocols: Sequence[str],
        scratch: Scratch,
        *,
        resumes: bool = True,
        capacity: int = CAPACITY,
        chain_bytes: int = CHAIN_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._minimum_version = MINIMUM_VERSIONS[minimum_version]
        self._protocols = tuple(protocols)
        self._scratch = scratch
        self._resumes = resumes
        self._capacity = capacity
        self._chain_bytes = chain_bytes
        self._monotonic = monotonic
        self._kept: OrderedDict[ChainKey, _Kept] = OrderedDict()
        self._size = 0

    def servable(self, credentials: Credentials) -> Servable:
        """With the context of its chain. Raises OSError, of which ssl.SSLError is one kind."""
        kept = self._kept.get(credentials.chain_key)
        if kept is None:
            kept = self._make(credentials)
        elif self._monotonic() >= kept.until:
            try:
                kept = self._make(credentials)
            except OSError:
                pass  # no free descriptor, say: a context that is a day old still serves
        credentials.chain_key = kept.key  # one copy of the intermediates for all sites that have them
        self._kept.move_to_end(kept.key)
        return Servable(kept.context, credentials, self._scratch)

    def alone(self, credentials: Credentials) -> Servable:
        """On a context that nothing else ever uses. Raises OSError, of which ssl.SSLError is one kind."""
        return Servable(self._context(credentials.fullchains), credentials, self._scratch)

    def _make(self, credentials: Credentials) -> _Kept:
        context = self._context(credentials.fullchains)
        kept = _Kept(context, credentials.chain_key, self._monotonic() + MAXIMUM_AGE_SECONDS)
        if kept.key not in self._kept:
            self._size += kept.size
        self._kept[kept.key] = kept
        self._kept.move_to_end(kept.key)
        while len(self._kept) > self._capacity or (self._size > self._chain_bytes and len(self._kept) > 1):
            self._size -= self._kept.popitem(last=False)[1].size
        return kept

    def _context(self, fullchains: Sequence[bytes]) -> Any:
        context = lib.SSL_CTX_new(lib.TLS_server_method())
        if context == NULL:
            raise take_error("no context")
        context = ffi.gc(context, lib.SSL_CTX_free)
        if (
            lib.SSL_CTX_set_min_proto_version(context, self._minimum_version) != 1
            or lib.SSL_CTX_set_cipher_list(context, CIPHERS.encode()) != 1
            or lib.SSL_CTX_set_ciphersuites(context, _SUITES) != 1
        ):
            raise take_error("no ciphers")
        lib.SSL_CTX_set_options(context, _OPTIONS if self._resumes else _OPTIONS | lib.SSL_OP_NO_TICKET)
        lib.SSL_CTX_set_mode(context, _MODE)
        if not self._resumes:
            lib.SSL_CTX_set_session_cache_mode(context, lib.SSL_SESS_CACHE_OFF)
        if self._protocols:
            lib.SSL_CTX_set_alpn_select_cb(context, _selector(self._protocols), NULL)
        for fullchain in fullchains:
            _use_chain(context, fullchain)
        return context


def _use_chain(context: Any, fullchain: bytes) -> None:
    """Only this call ties intermediates to a kind of key, and checks them as Python's `ssl` does. It reads a file."""
    descriptor = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(fullchain)
        lib.ERR_clear_error()
        if lib.SSL_CTX_use_certificate_chain_file(context, b"/proc/self/fd/%d" % descriptor) != 1:
            raise _why_not(descriptor)
    finally:
        os.close(descriptor)


def _why_not(descriptor: int) -> OSError:
    """The library opens the file once more, so descriptors may have run out there: it does not say so, this does."""
    error = take_error("the certificates do not load")
    try:
        os.close(os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as own:
        return own
    return error


@functools.cache
def _selector(protocols: tuple[str, ...]) -> Any:
    """The callback that selects the first of our protocols that the client offers (RFC 7301), kept for ever: contexts
    and connections call it for as long as they live.
    """
    ours = [(name.encode(), ffi.new("unsigned char[]", name.encode())) for name in protocols]

    def select(_connection: Any, out: Any, out_size: Any, offered: Any, size: int, _argument: Any) -> int:
        names = _names(ffi.buffer(offered, size)[:])
        for name, text in ours:
            if name in names:
                out[0], out_size[0] = text, len(name)
                return int(lib.SSL_TLSEXT_ERR_OK)
        return int(lib.SSL_TLSEXT_ERR_NOACK)

    kind = "int (*)(SSL *, unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)"
    return ffi.callback(kind, select, error=lib.SSL_TLSEXT_ERR_NOACK)


def _names(offer: bytes) -> list[bytes]:
    """OpenSSL has checked that each is one byte of length and so many more."""
    names, at = [], 0
    while at < len(offer):
        end = at + 1 + offer[at]
        names.append(offer[at + 1 : end])
        at = end
    return names
