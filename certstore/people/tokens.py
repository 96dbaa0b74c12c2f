"""API tokens: `cet_KEY_SECRET`, shown once when created; the store keeps only a digest of the secret half.

The prefix lets scanners for leaked secrets find a token; the key tells an administrator which one it is.
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import MAXYEAR, datetime, timedelta
from functools import partial

from certstore.files.clock import Clock
from certstore.files.keyed_state import KeyedState, is_read_by
from certstore.model.console.authorization import Scope
from certstore.model.console.people import InvalidPerson, Token
from certstore.model.layout import Layout
from certstore.people.sessions import digest_of

_TOKEN = re.compile(r"cet_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME_MOST = 80
_NOTED_EVERY = timedelta(minutes=1)
"""How often the use of a token is written down at most."""


class UnknownToken(LookupError):
    """There is no such token."""


class Tokens:
    """Used from several threads. Raises OSError if the disk refuses a change."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._lock = threading.RLock()
        self._kept = KeyedState(layout.tokens, layout.temporary, is_valid=is_read_by(partial(Token.from_json, "")))
        self._clock = clock

    def all(self) -> list[Token]:
        with self._lock:
            found = [Token.from_json(key, facts) for key, facts in self._kept.items()]
        return sorted(found, key=lambda token: (token.name, token.key))

    def add(
        self, name: str, scope: Scope, sites: tuple[str, ...] | None, made_by: str, ends_at: datetime | None = None
    ) -> tuple[Token, str]:
        """The token and its text, which can't be shown again; `ends_at` is aware. Raises InvalidPerson."""
        name = name.strip()
        if not name or len(name) > _NAME_MOST or not name.isprintable():
            raise InvalidPerson(
                f"give the token a name of 1 to {_NAME_MOST} printable characters that says what it is for"
            )
        if sites is not None and not sites:
            raise InvalidPerson("name the sites that the token is for, or make it for all sites")
        now = self._clock()
        if ends_at is not None and (ends_at.tzinfo is None or ends_at <= now):
            raise InvalidPerson("the token would have ended already: choose an end in the future, with its time zone")
        if ends_at is not None and ends_at.year >= MAXYEAR:  # in UTC it may have no date
            raise InvalidPerson(f"the token would never end: choose an end before the year {MAXYEAR}, or none")
        key, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        token = Token(key, name, scope, sites, now, made_by, digest_of(secret), ends_at)
        with self._lock:
            self._kept.put(key, token.to_json())
        return token, f"cet_{key}_{secret}"

    def find(self, text: str) -> Token | None:
        """The token with this text if it is valid now. Notes that it is used."""
        parts = _TOKEN.fullmatch(text)
        with self._lock:
            facts = self._kept.get(parts[1]) if parts else None
        if parts is None or facts is None:
            return None
        token = Token.from_json(parts[1], facts)
        now = self._clock()
        if not hmac.compare_digest(token.digest, digest_of(parts[2])) or token.has_ended(now):
            return None
        if token.used_at is None or abs(now - token.used_at) >= _NOTED_EVERY:
            self._note_use(token.key, now)
        return token

    def _note_use(self, key: str, now: datetime) -> None:
        """Lost with a power cut, and on a full disk: no request fails for it."""
        with self._lock, suppress(OSError):
            facts = self._kept.get(key)
            if facts is not None:  # it may have been removed meanwhile
                used = replace(Token.from_json(key, facts), used_at=now)
                self._kept.put(key, used.to_json(), is_durable=False)

    def remove(self, key: str) -> Token:
        """Raises UnknownToken."""
        with self._lock:
            facts = self._kept.get(key)
            if facts is None:
                raise UnknownToken("there is no such token")
            self._kept.drop(key)
        return Token.from_json(key, facts)

    def close(self) -> None:
        self._kept.close()
