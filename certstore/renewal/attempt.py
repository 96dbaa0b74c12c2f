"""One attempt for one site, from preflight to intake: gathers, asks the decisions, does what they say, settles.

Runs on a thread of its own and may take minutes; everything it touches takes its own lock. Whether an attempt is due is
`maintain`'s affair. Every attempt ends in a state, a record and a log line, and its tokens are gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from certstore.acme.account import Account, Accounts, AccountWishes, read_mac_key
from certstore.acme.challenges import Challenges, look_at_own, own_listeners
from certstore.acme.dns_facts import Resolver
from certstore.acme.issue import Interrupted, Issuer, OrderContext
from certstore.acme.network import Conversation, OrderFailed
from certstore.acme.order_journal import OrderJournal, OrderRequest
from certstore.acme.preflight import Preflight
from certstore.acme.renewal_info import certificate_id
from certstore.files.clock import utc_now
from certstore.model import layout as names_of
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.progress import Tell
from certstore.model.record import Outcome, Record
from certstore.model.renewal.ca import Ca, configured_cas
from certstore.model.renewal.decision import Origin, RenewalReason, SiteToRenew, place_of
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.order_decision import (
    choose_names,
    plan_order,
    select_ca,
    settle_failure,
    settle_hold,
    settle_success,
)
from certstore.model.renewal.partial_order import HoldBack, OrderFor
from certstore.model.renewal.preflight_facts import DirectoryFacts, DirectoryStep, PreflightFinding, Severity
from certstore.model.renewal.preflight_findings import failure_of, fatal_names
from certstore.model.renewal.rate_limits import Hold
from certstore.model.renewal.state import RenewalState
from certstore.model.settings.models import Settings
from certstore.model.text import listed
from certstore.renewal.memory import RenewalMemory
from certstore.renewal.sites import ACME_SOURCE, RenewalSites
from certstore.store.writer import IntakeResult, InvalidSite, StoreWriter, UnknownSite

logger = logging.getLogger(__name__)

DOWN_FOR = timedelta(seconds=30)
"""How long a CA that was not reached is taken to be out of reach for everybody."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """How an attempt ended: `result` where the certificate came to intake, `failure` where something failed, `hold`
    where our own count of a limit says no."""

    site: str
    state: RenewalState
    result: IntakeResult | None = None
    failure: Failure | None = None
    hold: Hold | None = None
    order: OrderFor | None = None
    findings: tuple[PreflightFinding, ...] = ()

    @property
    def is_done(self) -> bool:
        return self.result is not None and self.failure is None


@dataclass
class Tools:
    """What attempts share: made once per process from settings and the writer. `down` is when a CA was not reached, and
    why."""

    writer: StoreWriter
    settings: Settings
    base: Path
    memory: RenewalMemory
    wait: Callable[[float], bool]
    clock: Callable[[], datetime] = utc_now
    cas: tuple[Ca, ...] = field(init=False)
    sites: RenewalSites = field(init=False)
    accounts: Accounts = field(init=False)
    journal: OrderJournal = field(init=False)
    challenges: Challenges = field(init=False)
    preflight: Preflight = field(init=False)
    down: dict[str, tuple[datetime, Failure]] = field(init=False, default_factory=dict)
    down_lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        acme, layout = self.settings.acme, self.writer.layout
        self.cas = configured_cas(acme)
        self.sites = RenewalSites(self.writer, acme, self.cas)
        self.accounts = Accounts(layout)
        self.journal = OrderJournal(layout)
        self.challenges = Challenges(layout)
        self.preflight = Preflight(Resolver(acme.resolver), self.challenges, self.ca_file)

    @property
    def ca_file(self) -> Path | None:
        path = self.settings.acme.ca_file
        return self.base / path if path is not None else None

    def ca(self, key: str) -> Ca:
        return next(ca for ca in self.cas if ca.key == key)

    def begin(self, ca: Ca, *, is_patient: bool = True) -> Conversation:
        """Raises OrderFailed; where the directory is not reached, it says at which step.

        Of thousands of sites not each waits for a CA that was found down a moment ago; a person who asks does.
        """
        now = self.clock()
        with self.down_lock:
            known = self.down.get(ca.key)
        if known is not None and is_patient and timedelta() <= now - known[0] < DOWN_FOR:
            raise OrderFailed(known[1])
        try:
            return Conversation.begin(ca.url, ca_file=self.ca_file)
        except OrderFailed as failed:
            facts = self.preflight.look_at_directory(ca)
            if facts.step is DirectoryStep.DONE:
                raise
            seen = f"{ca.host}: {_STEPS[facts.step]}" + (f" ({facts.seen})" if facts.seen else "")
            failure = Failure(Cause.CA_UNREACHABLE, seen, retry_after=failed.failure.retry_after)
            with self.down_lock:
                self.down[ca.key] = (now, failure)
            raise OrderFailed(failure) from None

    def wishes(self, ca: Ca, *, agrees: bool = False) -> AccountWishes:
        """Of the account at this CA; an external account belongs to the first. Raises OrderFailed."""
        acme = self.settings.acme
        external = acme.external_account if ca == self.cas[0] else None
        return AccountWishes(
            acme.contact,
            agrees or acme.agree_to_terms,
            external.key_id if external else None,
            read_mac_key(self.base / external.hmac_key_file) if external else None,
        )

    def account(self, ca: Ca, conversation: Conversation, *, agrees: bool = False) -> Account:
        """Raises OrderFailed."""

        def before_new() -> None:
            now = self.clock()
            with self.memory.ledger(ca) as pages:
                if (hold := pages.ledger.find_account_hold(now)) is not None:
                    raise OrderFailed(Failure(Cause.RATE_LIMITED, hold.message, retry_after=hold.until))
                pages.note_account(now)

        return self.accounts.ensure(ca, conversation, self.wishes(ca, agrees=agrees), before_new=before_new)


_STEPS = {
    DirectoryStep.DNS: "its name can't be resolved here",
    DirectoryStep.TCP: "no connection to it comes about",
    DirectoryStep.PROXY: "the proxy does not let us reach it",
    DirectoryStep.TLS: "its certificate is not trusted here",
    DirectoryStep.HTTP: "it answers with an error",
    DirectoryStep.CONTENT: "what it answers is no ACME directory",
}


class Attempt:
    """One site's attempt; `run` once."""

    def __init__(
        self, tools: Tools, site: SiteToRenew, reason: RenewalReason, tell: Tell, *, ignores_limits: bool = False
    ) -> None:
        self._tools = tools
        self._site = site
        self._reason = reason
        self._tell = tell
        self._ignores_limits = ignores_limits
        self._state = tools.memory.state(site.site)
        self._ca = tools.ca(select_ca(self._state, [ca.key for ca in tools.cas]))
        self._order: OrderFor | None = None
        self._findings: list[PreflightFinding] = []

    def run(self) -> Attempted:
        """Never raises but Interrupted, when the process is to end."""
        try:
            if (hold := self._find_hold(self._site.names)) is not None:
                return self._held(hold)
            return self._attempt()
        except OrderFailed as failed:
            return self._failed(failed.failure)
        except (UnknownSite, InvalidSite) as error:
            self._tools.journal.remove(self._site.site)
            return Attempted(self._site.site, self._state, failure=Failure(Cause.SETTINGS, str(error)))
        except OSError as error:
            detail = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return self._failed(Failure(Cause.STORAGE, detail))
        except Interrupted:
            raise
        except Exception as error:
            # One site's odd case must not end the renewals of all others; the log has where, the record what kind.
            logger.exception("%s: an unforeseen fault while ordering", self._site.site)
            return self._failed(Failure(Cause.INTERNAL, f"{type(error).__name__}, a fault in certedge itself"))

    def _attempt(self) -> Attempted:
        tools, site = self._tools, self._site
        self._tell(f"{self._ca.host}: fetching the directory")
        anonymous = tools.begin(self._ca, is_patient=self._reason is not RenewalReason.ASKED_FOR)
        account = tools.account(self._ca, anonymous)
        directory = DirectoryFacts(
            self._ca.url, DirectoryStep.DONE, identities=tuple(anonymous.meta.caa_identities or ())
        )
        self._findings = tools.preflight.look(
            site.names,
            directory,
            profile=tools.sites.profile(site.site),
            account_url=account.url,
            tell=self._tell,
        )
        if any(each.severity is Severity.FATAL and each.name is None for each in self._findings):
            raise OrderFailed(failure_of([each for each in self._findings if each.name is None]))
        chosen = choose_names(site, self._state, fatal_names(self._findings), tools.clock())
        if isinstance(chosen, HoldBack):
            raise OrderFailed(failure_of(self._findings))
        if self._reason is RenewalReason.NAME_RETURNS and self._is_no_gain(chosen):
            raise OrderFailed(failure_of(self._findings))
        if (hold := self._find_hold(chosen.names)) is not None:
            return self._held(hold)
        self._order = chosen
        return self._taken_in(chosen, self._issued(chosen, account, anonymous))

    def _is_no_gain(self, chosen: OrderFor) -> bool:
        """The names that were to come back are still missing."""
        live = self._site.live
        return live is not None and set(chosen.names) <= set(live.dns_names)

    def _issued(self, chosen: OrderFor, account: Account, anonymous: Conversation) -> list[DroppedFile]:
        tools, site = self._tools, self._site.site
        request = OrderRequest(
            site,
            self._ca.key,
            chosen.names,
            tools.sites.key_type(site),
            tools.sites.profile(site),
            self._replaces(anonymous),
        )
        try:
            return self._issuer(account, anonymous).issue(request)
        except OrderFailed as failed:
            if failed.failure.cause is not Cause.ACCOUNT:
                raise
            # A CA that was set up anew does not know its accounts any more.
            self._tell("the CA does not know our account: it is registered again")
            fresh = tools.accounts.register_again(account, anonymous, tools.wishes(self._ca))
            return self._issuer(fresh, anonymous).issue(request)

    def _issuer(self, account: Account, anonymous: Conversation) -> Issuer:
        tools = self._tools
        listeners = own_listeners(tools.settings)

        def note_order() -> None:
            with tools.memory.ledger(self._ca) as pages:
                pages.note_order(tools.clock())

        def note_failed(name: str) -> None:
            with tools.memory.ledger(self._ca) as pages:
                pages.note_failed(name, tools.clock())

        context = OrderContext(
            tools.journal,
            tools.challenges,
            lambda name, token, content: look_at_own(listeners, name, token, content),
            tools.wait,
            self._tell,
            note_order,
            note_failed,
            tools.clock,
        )
        return Issuer(account.speak(anonymous), account, context, tools.settings.acme.preferred_chain)

    def _replaces(self, conversation: Conversation) -> str | None:
        live = self._site.live
        if live is None or live.origin is Origin.FILE or not conversation.has("renewalInfo"):
            return None
        return live_certificate_id(self._tools.writer, self._site.site)

    def _taken_in(self, chosen: OrderFor, files: list[DroppedFile]) -> Attempted:
        tools, site = self._tools, self._site
        doing = "renew" if site.live is not None else "order"
        now = tools.clock()
        state = settle_success(self._state, chosen, now)
        # Before the certificate: a kill in between finds the order in the journal, and the names that it lacks here.
        tools.memory.put(site.site, state)
        result = tools.writer.install_files(site.site, files, source=f"{ACME_SOURCE}{self._ca.key}", doing=doing)
        tools.journal.remove(site.site)
        with tools.memory.ledger(self._ca) as pages:
            pages.note_certificate(chosen.names, now)
        if result.outcome not in (Outcome.DONE, Outcome.NOTED):
            cause = Cause.STORAGE if result.outcome is Outcome.FAILED else Cause.INTAKE
            return self._failed(Failure(cause, result.message))
        left_out = f", without {listed(chosen.left_out)}" if chosen.left_out else ""
        logger.info("%s: %s by %s: %s%s", site.site, doing, self._ca.key, result.message, left_out)
        return Attempted(site.site, state, result, order=chosen, findings=tuple(self._findings))

    def _find_hold(self, names: tuple[str, ...]) -> Hold | None:
        if self._ignores_limits or self._tools.journal.load(self._site.site) is not None:
            return None  # an order under way was counted when it was made
        now = self._tools.clock()
        window = self._state.window_for(self._site.live.fingerprint) if self._site.live is not None else None
        planned = plan_order(self._site, names, now, reason=self._reason, replaces=window is not None)
        with self._tools.memory.ledger(self._ca) as pages:
            return pages.ledger.find_hold(planned, now)

    def _held(self, hold: Hold) -> Attempted:
        site, now = self._site, self._tools.clock()
        state = settle_hold(site, self._state, hold, fraction=place_of(f"{site.site} {now.isoformat()}"))
        self._tools.memory.put(site.site, state)
        logger.info("%s: waits until %s: %s", site.site, hold.until.isoformat(timespec="seconds"), hold.message)
        return Attempted(site.site, state, hold=hold, findings=tuple(self._findings))

    def _failed(self, failure: Failure) -> Attempted:
        tools, site, now = self._tools, self._site, self._tools.clock()
        state = settle_failure(
            site,
            self._state,
            failure,
            now,
            reason=self._reason,
            order=self._order,
            fraction=place_of(f"{site.site} {now.isoformat()}"),
        )
        tools.memory.put(site.site, state)
        next_attempt = state.next_attempt if state.failure is failure else state.recheck_at
        record = Record(
            now,
            "renew" if site.live is not None else "order",
            Outcome.FAILED,
            failure.cause.value,
            failure.detail,
            next_attempt=next_attempt,
            source=f"{ACME_SOURCE}{self._ca.key}",
        )
        tools.writer.add_record(site.site, record)
        # The record is in the log already.
        logger.info("%s: %d failed in a row; next attempt %s", site.site, state.failures, next_attempt or "at once")
        return Attempted(site.site, state, failure=failure, order=self._order, findings=tuple(self._findings))


def live_certificate_id(writer: StoreWriter, site: str) -> str | None:
    """How the CA names the live certificate (ARI); None where it has no such name or can't be read."""
    try:
        return certificate_id((writer.layout.live(site) / names_of.CERT).read_bytes())
    except (OSError, ValueError):
        return None
