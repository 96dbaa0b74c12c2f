"""A program: loads certificates with their keys as the listeners do, and lets clients connect to each.

Reads one JSON line per trial from its standard input and answers each with one line on its standard output, until its
input ends. `trial` starts it and bounds it; it bounds its own memory, and its processor time anew for every trial.
"""

from __future__ import annotations

import functools
import json
import math
import os
import resource
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from certstore.net.tls_server import load_pair, server_context, words_of

_VERSIONS = ((ssl.TLSVersion.TLSv1_2, "TLS 1.2"), (ssl.TLSVersion.TLSv1_3, "TLS 1.3"))
"""Both, even where edge.yaml asks for 1.3: other programs read `live` too."""

_FLIGHTS = 8
"""More than any handshake has."""

type Pair = tuple[str, str]
"""Full chain and private key as PEM."""


def try_pairs(pairs: Sequence[Pair]) -> str | None:
    """Why the listeners could not serve these pairs together; None if they can. Raises OSError where the machine is to
    blame.
    """
    whole = server_context()
    for fullchain, privkey in pairs:
        alone = server_context() if len(pairs) > 1 else whole
        with _as_file(fullchain) as chain_path, _as_file(privkey) as key_path:
            try:
                for context in {alone, whole}:
                    load_pair(context, chain_path, key_path)
            except ssl.SSLError as error:
                return words_of(error)
        for version, name in _VERSIONS:
            try:
                shake_hands(alone, _client(version))
            except ssl.SSLError as error:
                return f"no handshake of {name} succeeds ({words_of(error)})"
    return None


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """One handshake in memory. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(_FLIGHTS):
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
        if not sides:
            return
    raise ssl.SSLError(ssl.SSL_ERROR_SSL, "it does not end")


@functools.cache
def _client(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Trusts everybody: whom clients trust is not the question here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


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


def main() -> int:
    seconds, memory = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the key
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    for line in sys.stdin:
        # The limit counts from the start of the process: it moves on with every trial.
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + seconds, most))
        answer = {}
        try:
            answer["reason"] = try_pairs(json.loads(line))
        except MemoryError:
            answer["reason"] = "it needs too much memory"
        except OSError as error:
            answer["fault"] = error.strerror or type(error).__name__
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
