"""People who sign in, and the tokens that programs use: what is kept of each, and the rules for names and passwords.

Values and their JSON form. They contain hashes and secrets, which `repr` does not show; this module must not know how
these are made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from certstore.model.console.authorization import Grant, Scope
from certstore.model.json_facts import decode, encode

PASSWORD_LEAST = 12
PASSWORD_MOST = 1024
"""In characters: long enough for any sentence, short enough to hash quickly."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,62}[a-z0-9])?")


class Role(StrEnum):
    """`DOMAIN` sees and changes only its own sites."""

    ADMIN = "admin"
    DOMAIN = "domain"


class InvalidPerson(ValueError):
    """An invalid name, role or password; the message says what is allowed."""


def parse_user_name(text: str) -> str:
    """In lower case, so that nobody can impersonate another user with a capital letter. Raises InvalidPerson."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise InvalidPerson(
            "a name has 1 to 64 characters (a-z, 0-9, . _ @ + -) and begins and ends with a letter or digit"
        )
    return name


def check_password(password: str, name: str) -> None:
    """Length matters; there are no rules about kinds of characters (NIST SP 800-63B). Raises InvalidPerson."""
    if len(password) < PASSWORD_LEAST:
        raise InvalidPerson(f"a password has at least {PASSWORD_LEAST} characters; a short sentence is a good choice")
    if len(password) > PASSWORD_MOST:
        raise InvalidPerson(f"a password has at most {PASSWORD_MOST} characters")
    if len(set(password)) < 5 or password.lower().startswith(name):
        raise InvalidPerson("this password is too easy to guess: it repeats characters or begins with the name")


def end_of_day(text: str) -> datetime:
    """The end of a day in UTC, written as 2027-03-31. Raises InvalidPerson."""
    try:
        return datetime.combine(date.fromisoformat(text[:20]), time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise InvalidPerson("write the last day as YEAR-MONTH-DAY, such as 2027-03-31") from None


def check_role(role: Role, sites: tuple[str, ...]) -> None:
    """Raises InvalidPerson."""
    if role is Role.DOMAIN and not sites:
        raise InvalidPerson("a domain administrator needs at least one site")
    if role is Role.ADMIN and sites:
        raise InvalidPerson("an administrator manages all sites; name sites only for the role `domain`")


@dataclass(frozen=True, slots=True)
class User:
    """`password_hash` is empty until the person has chosen a password. `totp_step` is the time step of the last
    accepted code: no code is accepted twice."""

    name: str
    role: Role
    sites: tuple[str, ...]
    made_at: datetime
    password_hash: str = field(default="", repr=False)
    totp_secret: str = field(default="", repr=False)
    totp_step: int = 0

    @property
    def grant(self) -> Grant:
        if self.role is Role.ADMIN:
            return Grant(Scope.ADMIN)
        return Grant(Scope.OPERATE, frozenset(self.sites))

    def to_json(self) -> dict[str, Any]:
        """All but the name, which is the key."""
        return {fact: value for fact, value in encode(self, has_defaults=True).items() if fact != "name"}

    @classmethod
    def from_json(cls, name: str, facts: Mapping[str, Any]) -> User:
        """The inverse of `to_json`; raises ValueError on anything else."""
        return decode(cls, {**facts, "name": name})


@dataclass(frozen=True, slots=True)
class Token:
    """An API token. `digest` is the SHA-256 of its secret half; `sites` is None for all sites.

    It is valid before `ends_at`, or until it is removed. `used_at` is when it was last used, to about a minute.
    """

    key: str
    name: str
    scope: Scope
    sites: tuple[str, ...] | None
    made_at: datetime
    made_by: str
    digest: str = field(repr=False)
    ends_at: datetime | None = None
    used_at: datetime | None = None

    @property
    def grant(self) -> Grant:
        return Grant(self.scope, None if self.sites is None else frozenset(self.sites), is_person=False)

    def has_ended(self, now: datetime) -> bool:
        return self.ends_at is not None and now >= self.ends_at

    def to_json(self) -> dict[str, Any]:
        """All but the key."""
        return {fact: value for fact, value in encode(self).items() if fact != "key"}

    @classmethod
    def from_json(cls, key: str, facts: Mapping[str, Any]) -> Token:
        """The inverse of `to_json`; raises ValueError on anything else."""
        return decode(cls, {**facts, "key": key})
