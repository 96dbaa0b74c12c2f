"""Opens PKCS #12 files and encrypted keys in a child process, which the system ends when it computes for too long.

Such a file says itself how often its password is to be hashed, and may say it where only the password shows it: looking
at the bytes does not find out. In the process that writes the store, one file could hold up all certificates for hours.
"""

from __future__ import annotations

import base64
import errno
import json
import signal
import subprocess
import sys
from enum import Enum

from certstore.model.certificate.contents import PutOff, TooMuchWork, Unlocked
from certstore.store.unlock_child import DOES_NOT_OPEN

_NICE = 5
"""What takes all effort gives way to connections, drops and the console."""
WALL_SECONDS = 25
"""A stop of the service waits for it; on a machine that is too busy, the file is tried again."""
MEMORY = 384 << 20
"""Bytes of address space. The program itself needs 50 MB; scrypt, as strong as programs write it, 134 MB more."""

_OUT_OF_TIME = {signal.SIGPROF, signal.SIGXCPU, signal.SIGKILL}
"""What the system ends a process with that has used up its CPU time."""


class Effort(Enum):
    """How much CPU time may be spent on all files of one drop or upload, in seconds.

    Most programs hash a password 2,000 to 100,000 times; a million, the most that any writes today, takes 0.5 s. A drop
    is read with little first, so that those which take long wait for each other, and nobody waits for them.
    """

    NONE = 0.0
    SHORT = 0.25
    FULL = 5.0

    @property
    def more(self) -> Effort:
        return Effort.SHORT if self is Effort.NONE else Effort.FULL


class NeedsEffort(PutOff):
    """To open these files takes more than was granted, but perhaps not more than `effort`."""

    def __init__(self, effort: Effort) -> None:
        super().__init__(effort.name)
        self.effort = effort


class Unlocker:
    """Opens what one drop or upload holds. One reading makes one of these, as its files share the time."""

    def __init__(self, effort: Effort = Effort.FULL) -> None:
        self._effort = effort
        self._seconds_left = effort.value

    def __call__(self, content: bytes, password: bytes | None) -> Unlocked:
        """Raises ValueError when it does not open; TooMuchWork when that takes too long, or NeedsEffort where more may
        be granted; OSError when no process can be started, or the machine is too busy for it.
        """
        if self._seconds_left <= 0:
            raise self._too_much()
        order = {
            "content": base64.b64encode(content).decode(),
            "password": None if password is None else base64.b64encode(password).decode(),
            "seconds": self._seconds_left,
            "memory": MEMORY,
            "nice": _NICE if self._effort is Effort.FULL else 0,
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
            # It is the CPU time that says whether a file asks for too much.
            raise OSError(errno.ETIMEDOUT, "the machine is too busy to open it") from error
        if ended.returncode not in (0, DOES_NOT_OPEN):
            self._seconds_left = 0
            raise self._too_much() if -ended.returncode in _OUT_OF_TIME else TooMuchWork
        found = json.loads(ended.stdout)
        self._seconds_left -= found["seconds"]
        if ended.returncode == DOES_NOT_OPEN:
            raise ValueError("it does not open")
        keys, certificates = (tuple(map(base64.b64decode, found[each])) for each in ("keys", "certificates"))
        return Unlocked(keys, certificates)

    def _too_much(self) -> Exception:
        return TooMuchWork() if self._effort is Effort.FULL else NeedsEffort(self._effort.more)
