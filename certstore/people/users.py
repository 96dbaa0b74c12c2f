"""The people who may sign in, as the store keeps them.

There is always an administrator left: the last one can't be removed or given another role.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

from certstore.files.clock import Clock
from certstore.files.keyed_state import KeyedState, is_read_by
from certstore.model.console.people import InvalidPerson, Role, User, check_role
from certstore.model.layout import Layout


class UnknownUser(LookupError):
    """There is no such user."""


class UserExists(Exception):
    """The name is taken."""


class Users:
    """Used from several threads. A change is on disk when its method returns; on OSError nothing has changed."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._lock = threading.RLock()
        self._kept = KeyedState(layout.users, layout.temporary, is_valid=is_read_by(partial(User.from_json, "")))
        self._clock = clock

    def all(self) -> list[User]:
        with self._lock:
            return [User.from_json(name, facts) for name, facts in sorted(self._kept.items())]

    def find(self, name: str) -> User | None:
        with self._lock:
            facts = self._kept.get(name)
        return User.from_json(name, facts) if facts is not None else None

    def get(self, name: str) -> User:
        """Raises UnknownUser."""
        if (user := self.find(name)) is None:
            raise UnknownUser(f"there is no user {name!r:.80}")
        return user

    @property
    def is_empty(self) -> bool:
        """Whether there is no administrator who can sign in."""
        return not any(user.role is Role.ADMIN and user.password_hash for user in self.all())

    def add(self, name: str, role: Role, sites: tuple[str, ...], password_hash: str = "") -> User:
        """Raises UserExists, InvalidPerson."""
        check_role(role, sites)
        with self._lock:
            if name in self._kept:
                raise UserExists(f"there is already a user {name}")
            user = User(name, role, sites, self._clock(), password_hash)
            self._kept.put(name, user.to_json())
            return user

    def change(self, name: str, role: Role, sites: tuple[str, ...]) -> User:
        """Raises UnknownUser, InvalidPerson."""
        check_role(role, sites)
        with self._lock:
            user = self.get(name)
            if role is not Role.ADMIN:
                self._keep_an_administrator(user)
            return self._put(replace(user, role=role, sites=sites))

    def set_password(self, name: str, password_hash: str) -> User:
        with self._lock:
            return self._put(replace(self.get(name), password_hash=password_hash))

    def set_totp(self, name: str, secret: str, step: int) -> User:
        """With an empty secret, sign-in no longer asks for a code."""
        with self._lock:
            return self._put(replace(self.get(name), totp_secret=secret, totp_step=step))

    def use_totp_step(self, name: str, step: int) -> bool:
        """Whether this step was still unused: of two requests with the same code, only one passes."""
        with self._lock:
            user = self.get(name)
            if step <= user.totp_step:
                return False
            self._put(replace(user, totp_step=step))
            return True

    def remove(self, name: str) -> None:
        """Raises UnknownUser, InvalidPerson."""
        with self._lock:
            self._keep_an_administrator(self.get(name))
            self._kept.drop(name)

    def close(self) -> None:
        self._kept.close()

    def _keep_an_administrator(self, leaving: User) -> None:
        left = [user for user in self.all() if user.role is Role.ADMIN and user.password_hash and user != leaving]
        if leaving.role is Role.ADMIN and not left:
            raise InvalidPerson(f"{leaving.name} is the last administrator; add another one first")

    def _put(self, user: User) -> User:
        self._kept.put(user.name, user.to_json())
        return user
