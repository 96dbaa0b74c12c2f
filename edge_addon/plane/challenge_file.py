"""Reads a key authorization that an ACME client has put into `challenges/`: the only files that clients get to see.

Other programs write there too. A worker must not block on anything in this folder, and must not serve anything but a
key authorization: no target of a link, and least of all a private key.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from certstore.model.challenge import is_key_authorization

_LIMIT = 1024
"""Bytes; a token of 128 characters, a dot and a thumbprint of 43 characters make 172."""


def read_key_authorization(path: Path) -> bytes | None:
    """The file as written, including a final newline; None for anything else. Never raises, never blocks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        content = os.read(descriptor, _LIMIT + 1) if is_file else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return content if len(content) <= _LIMIT and is_key_authorization(content) else None
