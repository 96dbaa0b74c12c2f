"""Which library does the TLS of the listeners: the OpenSSL of `cryptography`, or Python's `ssl` in its place.

It is decided once per process, by a probe, and the same way in every process of the service: those that serve, and the
one that tries certificates before they go live. Clients of ours (upstream TLS, probes) always use Python's `ssl`.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from certstore.net.memory_handshake import Servable
from certstore.net.tls_server import load_pair, server_context

ENGINE_VARIABLE = "CERTEDGE_TLS_ENGINE"
"""The environment variable with which an operator takes Python's `ssl`, for all processes of the service."""


class EngineName(StrEnum):
    OPENSSL = "openssl"
    """The OpenSSL that `cryptography` brings."""
    SSL = "ssl"
    """Python's `ssl`, which uses the OpenSSL of the system."""


@dataclass(frozen=True, slots=True)
class Engine:
    """`library`: its releases, for people. `problem`: why the usual engine does not serve, where it should."""

    name: EngineName
    library: str
    problem: str = ""

    @property
    def description(self) -> str:
        return f"{self.library} ({self.name})"


@functools.cache
def engine_in_force() -> Engine:
    """The first call takes some milliseconds."""
    if (wanted := os.environ.get(ENGINE_VARIABLE, EngineName.OPENSSL)) == EngineName.SSL:
        return Engine(EngineName.SSL, ssl.OPENSSL_VERSION)
    try:
        if wanted != EngineName.OPENSSL:
            raise ValueError(f"{ENGINE_VARIABLE} is {wanted!r}, expected 'openssl' or 'ssl'")
        # Whatever these bindings do, this place must notice it rather than a listener.
        from certstore.net import openssl, openssl_probe

        openssl_probe.probe()
    except Exception as error:  # noqa: BLE001  an unknown release may fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        return Engine(
            EngineName.SSL,
            ssl.OPENSSL_VERSION,
            f"TLS runs on Python's ssl ({ssl.OPENSSL_VERSION}) instead of cryptography's OpenSSL: {reason}",
        )
    return Engine(EngineName.OPENSSL, openssl.LIBRARY)


@functools.cache
def library_in_force() -> str:
    """What a verdict depends on besides the files: the libraries' releases, and the security level on this machine."""
    return f"{libraries_in_force()}, security level {server_context().security_level}"


def libraries_in_force() -> str:
    """The libraries that load a certificate here: the console has Python's `ssl`, whatever the listeners have."""
    engine = engine_in_force()
    return engine.library if engine.name is EngineName.SSL else f"{engine.library}, and {ssl.OPENSSL_VERSION}"


def load(pairs: Sequence[tuple[str, str]]) -> ssl.SSLContext | Servable:
    """What would serve these pairs (full chain and key as PEM) together, with the listeners' own settings.

    Python's `ssl` must take them as well: the console and other programs serve the same files, it may have to take over
    from the other engine at any start, and it refuses digests that no client trusts. Raises OSError, of which
    ssl.SSLError is one kind.
    """
    context = server_context()
    for fullchain, privkey in pairs:
        with _as_file(fullchain) as chain_path, _as_file(privkey) as key_path:
            load_pair(context, chain_path, key_path)
    if engine_in_force().name is EngineName.SSL:
        return context
    from certstore.net.openssl_contexts import ChainContexts
    from certstore.net.openssl_credentials import decode
    from certstore.net.openssl_stage import Scratch

    credentials = decode([(fullchain.encode(), privkey.encode()) for fullchain, privkey in pairs])
    servable = ChainContexts("1.2", [], Scratch()).servable(credentials)
    servable.stage()
    return servable


@contextmanager
def _as_file(text: str) -> Iterator[Path]:
    """`ssl` reads paths only, and a key does not belong on a disk."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(text.encode())
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
