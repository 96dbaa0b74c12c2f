"""What all attempts share: made once per process from the settings and the writer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from certstore.acme.account import Account, AccountSettings, read_mac_key
from certstore.acme.challenge_kinds import challenge_kinds
from certstore.acme.dns_facts import Resolver
from certstore.acme.network import Conversation, OrderFailed
from certstore.acme.preflight import Preflight
from certstore.acme.token_sharing import TokenSharing
from certstore.files.clock import Clock, utc_now
from certstore.model.renewal.ca import Ca, configured_cas
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.preflight_findings import directory_findings, failure_of
from certstore.model.settings.models import Settings
from certstore.renewal.memory import RenewalMemory
from certstore.renewal.order_sharing import OneNode, OrderSharing
from certstore.renewal.server_problems import ServerProblems
from certstore.renewal.sites import RenewalSites
from certstore.store.writer import StoreWriter

DOWN_FOR = timedelta(seconds=30)
"""How long a CA that could not be reached is taken to be out of reach for every site."""


class RenewalContext:
    """May be used from several threads. `wait` returns True when the process is to stop."""

    def __init__(
        self,
        writer: StoreWriter,
        settings: Settings,
        base: Path,
        memory: RenewalMemory,
        wait: Callable[[float], bool],
        clock: Clock = utc_now,
        sharing: TokenSharing | None = None,
        orders: OrderSharing | None = None,
    ) -> None:
        acme, layout = settings.acme, writer.layout
        self.writer = writer
        self.settings = settings
        self.memory = memory
        self.wait = wait
        self.clock = clock
        self.cas = configured_cas(acme)
        self.sites = RenewalSites(writer, acme, self.cas)
        self.orders = orders or OneNode()
        self.orders.bind(memory)
        self.accounts = self.orders.accounts(layout)
        self.journal = self.orders.journal(layout)
        self.kinds = challenge_kinds(layout, settings, base, wait=wait, sharing=sharing)
        self._base = base
        self._ca_file = base / acme.ca_file if acme.ca_file is not None else None
        self.preflight = Preflight(
            Resolver(acme.resolver), self.kinds, self._ca_file, lambda: wait(0), node_at=self.orders.node_at
        )
        self._server_problems = ServerProblems(writer)
        self._down: dict[str, tuple[datetime, Failure]] = {}
        self._down_lock = threading.Lock()

    def ca(self, key: str) -> Ca:
        return next(ca for ca in self.cas if ca.key == key)

    def begin(self, ca: Ca, *, is_patient: bool = True) -> Conversation:
        """Raises OrderFailed, which says at which step the directory could not be reached.

        For a CA that was found down a moment ago the failure is the same again, so that thousands of sites do not wait
        for it one by one. With `is_patient` False, for a person who asks, it is tried all the same.
        """
        now = self.clock()
        with self._down_lock:
            known = self._down.get(ca.key)
        if known is not None and is_patient and timedelta() <= now - known[0] < DOWN_FOR:
            raise OrderFailed(known[1])
        try:
            conversation = Conversation.begin(ca.url, ca_file=self._ca_file)
            self._server_problems.note_clock(ca, conversation.network.clock_error)
            return conversation
        except OrderFailed as failed:
            findings = directory_findings(self.preflight.check_directory(ca))
            if not findings:
                raise
            failure = replace(failure_of(findings), retry_after=failed.failure.retry_after)
            with self._down_lock:
                self._down[ca.key] = (now, failure)
            raise OrderFailed(failure) from None

    def account(self, ca: Ca, conversation: Conversation, *, agrees: bool = False, asks_again: bool = False) -> Account:
        """The account at this CA, which is registered or updated first where needed. With `asks_again`, a contact that
        it refused is sent once more. Raises OrderFailed, OSError."""

        def before_new() -> None:
            now = self.clock()
            with self.memory.ledger(ca) as ledger:
                if (hold := ledger.find_account_hold(now)) is not None:
                    raise OrderFailed(Failure(Cause.RATE_LIMITED, hold.message, retry_after=hold.until))
                ledger.note_account(now)

        settings = self.account_settings(ca, agrees=agrees)
        account = self.accounts.ensure(ca, conversation, settings, before_new=before_new, asks_again=asks_again)
        self._server_problems.note_contact(account)
        return account

    def account_settings(self, ca: Ca, *, agrees: bool = False) -> AccountSettings:
        """An external account belongs to the first CA. Raises OrderFailed."""
        acme = self.settings.acme
        external = acme.external_account if ca == self.cas[0] else None
        return AccountSettings(
            acme.contact,
            agrees or acme.agree_to_terms,
            external.key_id if external else None,
            read_mac_key(self._base / external.hmac_key_file) if external else None,
        )

    def update_contacts(self) -> None:
        """Give accounts a contact that was changed in edge.yaml. One that does not exist yet is not registered here."""
        for ca in self.cas:
            try:
                account = self.accounts.load(ca)
                wanted = self.settings.acme.contact
                if account is not None and wanted and set(wanted) != set(account.contact):
                    with closing(self.begin(ca)) as conversation:
                        self.account(ca, conversation, asks_again=True)
            except (OrderFailed, OSError):
                continue  # the next order tries again

    def tidy(self) -> None:
        """Have every challenge type remove what earlier processes left at servers of others. It may take a while."""
        for kind in self.kinds:
            kind.tidy()

    def remove_stale(self, live_fingerprint: Callable[[str], str | None]) -> tuple[int, int]:
        """Clear what a kill left behind, before the first order of this process; how many orders and tokens.

        An order whose certificate is live has ended, and only the tokens of orders that will be resumed are needed.
        """
        stale = self.journal.stale(live_fingerprint, self.clock())
        for site, order in stale.items():
            self.kinds.withdraw(order.published if order is not None else ())
            self.journal.remove(site)
        tokens = self.kinds.remove_stale(self.accounts.thumbprints(), self.journal.published())
        return len(stale), tokens
