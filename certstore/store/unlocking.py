"""Opens PKCS #12 files and encrypted keys in a child process, which the system ends when it computes for too long.

Such a file says itself how often its password is to be hashed, and may say it where only the password shows it: looking
at the bytes does not find out. In the process that writes the store, one file could hold up all certificates for hours.
"""

from __future__ import annotations

import base64
import json
import math
import subprocess
import sys

from certstore.model.certificate.contents import TooMuchWork, Unlocked
from certstore.store.unlock_child import DOES_NOT_OPEN

CPU_SECONDS = 5.0
"""For all files of one drop or upload. A file of a million rounds, the most that programs write today, takes 0.5 s."""
_START_SECONDS = 1
WALL_SECONDS = 60
MEMORY = 512 << 20
"""Bytes of address space. The program itself needs 50 MB; scrypt, as strong as programs write it, 134 MB more."""


class Unlocker:
    """Opens what one drop or upload holds. One reading makes one of these, as its files share the time."""

    def __init__(self) -> None:
        self._seconds_left = CPU_SECONDS

    def __call__(self, content: bytes, password: bytes | None) -> Unlocked:
        """Raises ValueError when it does not open, TooMuchWork when that takes too long, OSError when no process can be
        started.
        """
        if self._seconds_left <= 0:
            raise TooMuchWork
        order = {
            "content": base64.b64encode(content).decode(),
            "password": None if password is None else base64.b64encode(password).decode(),
            "seconds": math.ceil(self._seconds_left) + _START_SECONDS,
            "memory": MEMORY,
        }
        try:
            ended = subprocess.run(
                [sys.executable, "-P", "-m", "certstore.store.unlock_child"],
                input=json.dumps(order).encode(),
                capture_output=True,
                timeout=WALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            self._seconds_left = 0
            raise TooMuchWork from error
        if ended.returncode not in (0, DOES_NOT_OPEN):
            self._seconds_left = 0
            raise TooMuchWork
        found = json.loads(ended.stdout)
        self._seconds_left -= found["seconds"]
        if ended.returncode == DOES_NOT_OPEN:
            raise ValueError("it does not open")
        keys, certificates = (tuple(map(base64.b64decode, found[each])) for each in ("keys", "certificates"))
        return Unlocked(keys, certificates)
