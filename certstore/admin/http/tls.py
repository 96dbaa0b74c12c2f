"""The console's TLS context: always on the store's live main certificate, without a restart and without a watcher.

The listener's context has a certificate only so that the listener can start. Before a handshake chooses a certificate,
it is moved to the context of the version that is live at that moment (one `readlink` if nothing changed). Open
connections keep theirs.
"""

from __future__ import annotations

import logging
import ssl

from certstore.model.layout import Layout
from certstore.model.snapshot import MAIN
from certstore.net.tls_server import load_version, words_of
from certstore.store.versions import live_number, stand_ins

logger = logging.getLogger(__name__)


class LiveTlsContext:
    """`listening` is for the listener. Raises OSError or ssl.SSLError if there is no main certificate."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._number = live_number(layout, MAIN)
        loaded = self._first(self._number)
        self._current = self._load(loaded)
        self.listening = self._load(loaded)
        self.listening.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        """Called with or without a server name: the console has one certificate."""
        number = live_number(self._layout, MAIN)
        if number != self._number:
            try:
                self._current = self._load(number)
                self._number = number
            except (OSError, ssl.SSLError) as error:
                # The next handshake tries again; until then the last good one is served.
                logger.error("the console can't load version %s of the main certificate: %s", number, error)
        connection.context = self._current

    def _first(self, number: int | None) -> int | None:
        """The live version, or the one that workers serve where that can't be loaded."""
        for each in (number, *stand_ins(self._layout, MAIN, number or 0)):
            try:
                self._load(each)
            except OSError as error:
                logger.error("the console can't load version %s of the main certificate: %s", each, words_of(error))
            else:
                return each
        return number

    def _load(self, number: int | None) -> ssl.SSLContext:
        if number is None:
            raise FileNotFoundError("there is no main certificate")
        folder = self._layout.version(MAIN, number)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A ticket would be bound to the listener's context and its first certificate.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        load_version(context, folder)
        return context
