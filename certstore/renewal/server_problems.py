"""What orders find out about this server as a whole: problems of the main site, so that status and console show them.

They stop nothing. Each stands until the same CA finds it solved.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta

from certstore.acme.account import Account
from certstore.model.renewal.ca import Ca
from certstore.model.snapshot import MAIN
from certstore.model.text import listed
from certstore.store.writer import StoreWriter, UnknownSite
from certstore.store.writer_state import SiteProblem

CLOCK_TOLERANCE = timedelta(minutes=1)
"""Certificates begin about an hour before they are issued, but not at every CA."""


class ServerProblems:
    """May be used from several threads."""

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self._lock = threading.Lock()
        self._found: dict[SiteProblem, dict[str, str]] = {}

    def note_clock(self, ca: Ca, error: timedelta) -> None:
        """`error`: how far the CA's clock is ahead of ours."""
        message = ""
        if abs(error) > CLOCK_TOLERANCE:
            minutes = (
                f"{abs(error) / timedelta(minutes=1):.0f} minutes {'behind' if error > timedelta() else 'ahead of'}"
            )
            message = (
                f"this server's clock is {minutes} that of {ca.host}: certificates seem not valid yet, or expired; "
                "correct it and keep it in sync (chrony, systemd-timesyncd)"
            )
        self._note(SiteProblem.CLOCK_OFF, ca, message)

    def note_contact(self, account: Account) -> None:
        message = ""
        if account.refused_contact:
            kept = f"keeps {listed(account.contact)}" if account.contact else "has none"
            message = (
                f"{account.ca.host} refuses acme.contact {listed(account.refused_contact)} ({account.refusal}) and "
                f"{kept}; correct it in edge.yaml. Orders go on"
            )
        self._note(SiteProblem.CONTACT_REFUSED, account.ca, message)

    def _note(self, problem: SiteProblem, ca: Ca, message: str) -> None:
        with self._lock:
            found = self._found.setdefault(problem, {})
            if found.get(ca.key) == message:
                return
            found[ca.key] = message
            text = "; ".join(filter(None, found.values())) or None
            with suppress(UnknownSite):
                self._writer.set_problem(MAIN, problem, text)
