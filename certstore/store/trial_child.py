"""A program: loads certificates with their keys as the listeners do, and lets clients connect to each.

Reads one JSON line per trial from its standard input and answers each with one line on its standard output, until its
input ends. `trial` starts it and bounds it; it bounds its own memory, and its processor time anew for every trial.
"""

from __future__ import annotations

import json
import math
import resource
import ssl
import sys
import time
from collections.abc import Sequence

from certstore.net.memory_handshake import shake_hands, trusting_client
from certstore.net.tls_engine import load
from certstore.net.tls_server import words_of

_VERSIONS = ((ssl.TLSVersion.TLSv1_2, "TLS 1.2"), (ssl.TLSVersion.TLSv1_3, "TLS 1.3"))
"""Both, even where edge.yaml asks for 1.3: other programs read `live` too."""

type Pair = tuple[str, str]
"""Full chain and private key as PEM."""


def try_pairs(pairs: Sequence[Pair]) -> str | None:
    """Why the listeners could not serve these pairs together; None if they can. Raises OSError where the machine is to
    blame.
    """
    for count, pair in enumerate(pairs, 1):
        try:
            alone = load([pair])
            if count > 1:
                load(pairs[:count])
        except ssl.SSLError as error:
            return words_of(error)
        for version, name in _VERSIONS:
            try:
                shake_hands(alone, trusting_client(version))
            except ssl.SSLError as error:
                return f"no handshake of {name} succeeds ({words_of(error)})"
    return None


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
