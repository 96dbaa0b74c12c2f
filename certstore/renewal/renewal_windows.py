"""Asks CAs for the windows of thousands of certificates over one conversation per CA, and does not wait again and again
for a CA that is down. One thread; decides nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from certstore.acme.network import Conversation, OrderFailed
from certstore.acme.renewal_info import RenewalInfoAnswer, ask_renewal_info
from certstore.model.renewal.ca import Ca

logger = logging.getLogger(__name__)

KEPT_FOR = timedelta(minutes=10)
"""A directory may change, and a connection does not live for ever."""
DOWN_FOR = timedelta(minutes=1)

NO_ANSWER = RenewalInfoAnswer(None, None, "the certificate has no name that a CA knows")


class AriClient:
    """`begin` opens a conversation with a CA, or raises OrderFailed."""

    def __init__(self, begin: Callable[[Ca], Conversation], clock: Callable[[], datetime]) -> None:
        self._begin = begin
        self._clock = clock
        self._open: dict[str, tuple[Conversation, datetime]] = {}
        self._down_since: dict[str, datetime] = {}

    def ask(self, ca: Ca, certificate: str) -> RenewalInfoAnswer:
        """Never raises; `certificate` is its name of RFC 9773 §4.1."""
        conversation = self._conversation(ca)
        if conversation is None:
            return RenewalInfoAnswer(None, None, f"{ca.host} is not reached")
        answer = ask_renewal_info(conversation, certificate)
        if answer.problem:
            logger.debug("%s: no window for %s: %s", ca.key, certificate, answer.problem)
        return answer

    def close(self) -> None:
        for conversation, _ in self._open.values():
            conversation.close()
        self._open.clear()

    def _conversation(self, ca: Ca) -> Conversation | None:
        now = self._clock()
        if timedelta() <= now - self._down_since.get(ca.key, now - DOWN_FOR) < DOWN_FOR:
            return None
        known = self._open.get(ca.key)
        if known is not None and timedelta() <= now - known[1] < KEPT_FOR:
            return known[0]
        if known is not None:
            known[0].close()
            del self._open[ca.key]
        try:
            conversation = self._begin(ca)
        except OrderFailed:
            self._down_since[ca.key] = now
            return None
        self._open[ca.key] = (conversation, now)
        return conversation
