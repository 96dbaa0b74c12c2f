"""Hashes and checks passwords with argon2id (RFC 9106), a few at a time, so that many guesses can't exhaust the memory.

Must not know users.
"""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

_AT_ONCE = 2

# RFC 9106 §4, second recommended option: 64 MiB, three passes.
_HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)


class Passwords:
    """`hash` and `is_right` take about 50 ms: don't call them on an event loop."""

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._nobody = self.hash("the password of nobody")

    def hash(self, password: str) -> str:
        with self._slots:
            return _HASHER.hash(password)

    def is_right(self, password_hash: str, password: str) -> bool:
        """An empty hash never matches and takes as long to check as any other, so timing does not reveal names."""
        with self._slots:
            try:
                _HASHER.verify(password_hash or self._nobody, password)
            except (Argon2Error, InvalidHashError):
                return False
        return bool(password_hash)
