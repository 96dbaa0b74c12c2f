"""Opens PKCS #12 files in a process of their own, which the system ends when it computes for too long.

Such a file says itself how often its password is to be hashed, and may say it where only the password shows it: no look
at the bytes finds out. In the process that writes the store one file could hold up everybody's certificates for hours.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys

from certstore.model.certificate.contents import OpenedPkcs12, TooMuchWork
from certstore.store.pkcs12_child import DOES_NOT_OPEN

CPU_SECONDS = 5
"""A file of a million rounds, the most that programs write today, takes half of one."""
WALL_SECONDS = 60
_MEMORY = 1 << 30


def open_apart(content: bytes, password: bytes | None) -> OpenedPkcs12:
    """Raises ValueError when it does not open, TooMuchWork when that takes too long, OSError for want of a process."""
    order = {
        "content": base64.b64encode(content).decode(),
        "password": None if password is None else base64.b64encode(password).decode(),
        "seconds": CPU_SECONDS,
        "memory": _MEMORY,
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "certstore.store.pkcs12_child"],
            input=json.dumps(order).encode(),
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TooMuchWork from error
    if ended.returncode == DOES_NOT_OPEN:
        raise ValueError("it does not open")
    if ended.returncode:
        raise TooMuchWork
    found = json.loads(ended.stdout)
    key = found["key"]
    return OpenedPkcs12(
        None if key is None else base64.b64decode(key), tuple(map(base64.b64decode, found["certificates"]))
    )
