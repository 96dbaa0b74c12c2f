"""Asks the CAs for the windows in which they want certificates renewed (RFC 9773), on one thread.

Thousands of certificates share one conversation per CA, and a CA that is down is not tried again and again. Decides
nothing: an answer becomes a part of the site's renewal state.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

from certstore.acme.network import Conversation, OrderFailed
from certstore.acme.renewal_info import RenewalInfoAnswer, ask_renewal_info
from certstore.model.record import Outcome, Record
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.decision import LiveCertificate
from certstore.model.renewal.state import SuggestedWindow
from certstore.renewal.attempt import live_certificate_id
from certstore.renewal.context import RenewalContext
from certstore.renewal.sites import ACME_SOURCE
from certstore.store.writer import UnknownSite

logger = logging.getLogger(__name__)

KEPT_FOR = timedelta(minutes=10)
"""A directory may change, and a connection does not last."""
DOWN_FOR = timedelta(minutes=1)

_NO_ID = RenewalInfoAnswer(None, None, "the certificate has no identifier that a CA knows")


class AriClient:
    """`begin` opens a conversation with a CA, or raises OrderFailed. Use it from one thread."""

    def __init__(self, begin: Callable[[Ca], Conversation], clock: Callable[[], datetime]) -> None:
        self._begin = begin
        self._clock = clock
        self._open: dict[str, tuple[Conversation, datetime]] = {}
        self._down_since: dict[str, datetime] = {}

    def ask(self, ca: Ca, certificate: str) -> RenewalInfoAnswer:
        """Never raises. `certificate` is its identifier of RFC 9773 §4.1."""
        conversation = self._conversation(ca)
        if conversation is None:
            return RenewalInfoAnswer(None, None, f"{ca.host} can't be reached")
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


class RenewalWindows:
    """Keeps the windows in the renewal states up to date. `on_answer` is called with the site after each question."""

    def __init__(self, context: RenewalContext, on_answer: Callable[[str], None]) -> None:
        self._context = context
        self._on_answer = on_answer
        self._client = AriClient(context.begin, context.clock)
        self._thread = ThreadPoolExecutor(1, "window")
        self._asking: set[str] = set()
        self._lock = threading.Lock()

    def update(self, site: str, live: LiveCertificate) -> None:
        """Ask for this certificate's window, unless that is being done already."""
        with self._lock:
            if site in self._asking:
                return
            self._asking.add(site)
        with suppress(RuntimeError):  # while stopping
            self._thread.submit(self._update, site, live)

    def stop(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _update(self, site: str, live: LiveCertificate) -> None:
        context = self._context
        try:
            ca = next((ca for ca in context.cas if ca.key == live.ca), context.cas[0])
            answer, now = self._ask(site, ca), context.clock()
            before = context.memory.update(
                site,
                lambda state: state.after_info(live.fingerprint, answer.window, now, answer.retry_after),
                is_durable=False,
            )
            self._note_explanation(site, ca, before.window_for(live.fingerprint), answer.window)
        finally:
            with self._lock:
                self._asking.discard(site)
            self._on_answer(site)

    def _ask(self, site: str, ca: Ca) -> RenewalInfoAnswer:
        try:
            certificate = live_certificate_id(self._context.writer, site)
            return self._client.ask(ca, certificate) if certificate is not None else _NO_ID
        except Exception:
            # Without any answer the site would be asked about at once again, without end, and never be renewed.
            logger.exception("%s: asking the CA for its window failed", site)
            return _NO_ID

    def _note_explanation(
        self, site: str, ca: Ca, before: SuggestedWindow | None, window: SuggestedWindow | None
    ) -> None:
        """RFC 9773 §4.2: the page is for the administrator, so a new one goes on record."""
        url = window.explanation_url if window is not None else None
        if window is None or url is None or (before is not None and before.explanation_url == url):
            return
        message = (
            f"the CA asks for renewal between {window.start:%Y-%m-%d %H:%M} and {window.end:%Y-%m-%d %H:%M} UTC: {url}"
        )
        record = Record(
            self._context.clock(), "renewal_info", Outcome.NOTED, "explained", message, source=f"{ACME_SOURCE}{ca.key}"
        )
        with suppress(UnknownSite):
            self._context.writer.add_record(site, record)
