"""One attempt to get a certificate for one site, from the preflight to the new version: gathers facts, asks the
decisions, does what they say, and notes the outcome.

It runs on its own thread and may take minutes; everything that it touches takes its own lock. The loop decides when one
is due. Every attempt ends in a state, a record and a log line, with its challenges withdrawn. It has two parts, which
may run on different threads: the check waits for the site's own servers, the order for the CA.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from certstore.acme import keys
from certstore.acme.account import Account
from certstore.acme.dns_persist01 import account_of
from certstore.acme.issue import Issuer
from certstore.acme.network import Conversation, OrderFailed
from certstore.acme.order_context import Interrupted, OrderContext
from certstore.acme.order_journal import OrderRequest
from certstore.acme.preflight import Checked
from certstore.acme.renewal_info import certificate_id
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import CERT, PRIVKEY, PRIVKEY_RSA
from certstore.model.progress import Tell
from certstore.model.record import Outcome, Record
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
from certstore.model.renewal.preflight_findings import failure_of, fatal_names, is_slow
from certstore.model.renewal.rate_limits import Hold
from certstore.model.renewal.state import RenewalState
from certstore.model.text import listed
from certstore.renewal.attempt_ways import AttemptWays
from certstore.renewal.context import RenewalContext
from certstore.renewal.order_sharing import OrderHold, OrderNotAllowed
from certstore.renewal.sites import ACME_SOURCE
from certstore.store.activation import CAME_LATE
from certstore.store.writer import IntakeResult, InvalidSite, StoreWriter, UnknownSite

logger = logging.getLogger(__name__)

_LONGEST_HOLD = timedelta(hours=6)
"""The clock may be set right meanwhile."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """How an attempt ended: with the `result` of importing the certificate, with a `failure`, or with a `hold` where
    our own count of the CA's limits leaves no room."""

    site: str
    state: RenewalState
    result: IntakeResult | None = None
    failure: Failure | None = None
    hold: Hold | None = None
    order: OrderFor | None = None
    findings: tuple[PreflightFinding, ...] = ()


class Attempt:
    """One site's attempt. Call `run` once."""

    def __init__(
        self,
        context: RenewalContext,
        site: SiteToRenew,
        reason: RenewalReason,
        tell: Tell,
        *,
        ignores_limits: bool = False,
        new_key: bool = False,
        is_detached: bool = False,
        only_resumes: bool = False,
    ) -> None:
        """`new_key`: even where the site's settings keep it. `is_detached`: without asking other nodes. `only_resumes`:
        nothing is ordered anew."""
        self._only_resumes = only_resumes
        self._take = context.orders.take_detached if is_detached else context.orders.take
        self._hold: OrderHold | None = None
        self._context = context
        self._site = site
        self._reason = reason
        self._tell = tell
        self._ignores_limits = ignores_limits
        self._new_key = new_key
        self._state = context.memory.state(site.site)
        self._ca = context.ca(select_ca(self._state, [ca.key for ca in context.cas]))
        self._order: OrderFor | None = None
        self._ways = AttemptWays(
            context.sites.challenges(site.site), self._state, context.clock, context.sites.barred(site.site)
        )
        self._checked = Checked((), ())

    @property
    def site(self) -> str:
        return self._site.site

    def run(self) -> Attempted:
        """Both parts. Raises only Interrupted, when the process is to stop, and OrderNotAllowed, where another node has
        the site."""
        return self.check() or self.order()

    def check(self) -> Attempted | None:
        """The first part: everything before the order. None where `order` is to follow. Raises as `run`."""
        self._hold = self._take(self._site.site)
        is_over = True
        try:
            self._look_again()
            ended = self._settled(self._check)
            is_over = ended is not None
            return ended
        finally:
            if is_over:
                self._hold.release()

    def _look_again(self) -> None:
        """Another node may have had the site until now, and may have ordered. Raises OrderNotAllowed."""
        context, site = self._context, self._site.site
        self._state = context.memory.state(site)
        is_other = False
        with suppress(UnknownSite):  # the check says so
            live, before = context.sites.live(context.writer.site(site)), self._site.live
            is_other = live is not None and (before is None or live.fingerprint != before.fingerprint)
        is_over = self._only_resumes and context.journal.load(site) is None
        if is_over or (is_other and self._reason is not RenewalReason.ASKED_FOR):
            found = f"{site} has got a certificate meanwhile"
            raise OrderNotAllowed(found, f"to see it: certedge site show {site}")

    def order(self) -> Attempted:
        """The second part. Raises as `run`."""
        hold = self._hold
        assert hold is not None, "the check came first"  # noqa: S101
        try:
            ended = self._settled(self._place)
        finally:
            hold.release()
        assert ended is not None, "an order ends in a certificate, a failure or a hold"  # noqa: S101
        return ended

    @property
    def is_slow(self) -> bool:
        """Whether the order is likely to take long, by what the check found and how the last attempt ended."""
        return self._state.failures > 0 or self._ways.is_slow or is_slow(self._checked.findings)

    def _settled(self, part: Callable[[], Attempted | None]) -> Attempted | None:
        try:
            return part()
        except OrderFailed as failed:
            return self._failed(failed.failure)
        except (UnknownSite, InvalidSite) as error:
            self._context.journal.remove(self._site.site)
            return Attempted(self._site.site, self._state, failure=Failure(Cause.SETTINGS, str(error)))
        except OSError as error:
            detail = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return self._failed(Failure(Cause.STORAGE, f"the store could not be read or written: {detail}"))
        except (Interrupted, OrderNotAllowed):
            raise
        except Exception as error:
            # One site's odd case must not end the renewals of all others. The log has where, the record what kind.
            logger.exception("%s: an internal error while ordering", self._site.site)
            return self._failed(Failure(Cause.INTERNAL, f"an internal error of certedge: {type(error).__name__}"))

    def _begin(self) -> AbstractContextManager[Conversation]:
        is_patient = self._reason is not RenewalReason.ASKED_FOR
        return closing(self._context.begin(self._ca, is_patient=is_patient))

    def _check(self) -> Attempted | None:
        context, site = self._context, self._site
        if (hold := self._find_hold(site.names) or self._not_begun()) is not None:
            return self._held(hold)
        self._tell(f"{self._ca.host}: fetching the directory")
        with self._begin() as anonymous:
            account = context.account(self._ca, anonymous)
            identities, standing = tuple(anonymous.meta.caa_identities or ()), anonymous.standing
        directory = DirectoryFacts(self._ca.url, DirectoryStep.DONE, identities=identities, standing=standing)
        self._checked = context.preflight.check(
            site.names,
            directory,
            profile=context.sites.profile(site.site),
            account_url=account.url,
            account=account_of(account),
            may_write=False,
            ways=self._ways.wanted,
            tell=self._tell,
        )
        self._ways.choose(self._checked.choices)
        about_the_order = [each for each in self._checked.findings if each.name is None]
        if any(each.severity is Severity.FATAL for each in about_the_order):
            raise OrderFailed(failure_of(about_the_order))
        # A name that failed at the CA, but has a way left that did not, is not left out.
        failed = tuple(name for name in self._state.failed_names if self._ways.next_of(name) is None)
        state = replace(self._state, failed_names=failed)
        chosen = choose_names(site, state, fatal_names(self._checked.findings), context.clock())
        if isinstance(chosen, HoldBack) or self._is_no_gain(chosen):
            raise OrderFailed(failure_of(self._checked.findings))
        self._order = chosen
        return None

    def _place(self) -> Attempted:
        chosen = self._order
        assert chosen is not None, "the check came first"  # noqa: S101
        if (hold := self._find_hold(chosen.names)) is not None:
            return self._held(hold)
        with self._begin() as anonymous:
            account = self._context.account(self._ca, anonymous)
            files = self._issue_by_any_way(chosen, account, anonymous)
        if (hold := self._not_begun()) is not None:
            return self._held(hold)
        return self._imported(chosen, files)

    def _not_begun(self) -> Hold | None:
        """Where our last order's certificate is not valid yet by our clock: it is kept, and no other one ordered."""
        order, now = self._context.journal.load(self._site.site), self._context.clock()
        begins = order.begins if order is not None else None
        if order is None or begins is None or begins <= now:
            return None
        self._context.journal.keep(replace(order, begun_at=now))  # it must not grow old while it waits
        message = (
            f"the certificate that {self._ca.host} has issued is valid from {begins:%Y-%m-%d %H:%M:%S} UTC and is kept "
            "until then; this server's clock may be behind"
        )
        return Hold(None, min(begins, now + _LONGEST_HOLD), message)

    def _is_no_gain(self, chosen: OrderFor) -> bool:
        """The order is due only for names that were left out, and they would be left out again."""
        live = self._site.live
        is_for_names = self._reason is RenewalReason.NAME_RETURNS
        return is_for_names and live is not None and set(chosen.names) <= set(live.dns_names)

    def _issue_by_any_way(self, chosen: OrderFor, account: Account, anonymous: Conversation) -> list[DroppedFile]:
        """Order again where names failed at the CA that have another way, as far as its limits allow."""
        while True:
            try:
                return self._issue(chosen, account, anonymous)
            except OrderFailed as failed:
                names = failed.failure.names
                if not self._ways.may_go_on(names) or self._find_hold(chosen.names) is not None:
                    raise
                self._tell(failed.failure.detail)
                for name in names:
                    self._tell(f"{name}: going on to {self._ways.next_of(name)}")

    def _issue(self, chosen: OrderFor, account: Account, anonymous: Conversation) -> list[DroppedFile]:
        context, site = self._context, self._site.site
        request = OrderRequest(
            site,
            self._ca.key,
            chosen.names,
            context.sites.key_type(site),
            context.sites.profile(site),
            self._replaces(anonymous),
            context.sites.reuses_key(site) and not self._makes_new_key,
        )
        try:
            return self._issue_as(account, anonymous, request)
        except OrderFailed as failed:
            if failed.failure.cause is not Cause.ACCOUNT:
                raise
            # A CA that was set up anew has lost its accounts.
            self._tell("the CA does not know our account: registering it again")
            fresh = context.accounts.register_again(account, anonymous, context.account_settings(self._ca))
            return self._issue_as(fresh, anonymous, request)

    def _issue_as(self, account: Account, anonymous: Conversation, request: OrderRequest) -> list[DroppedFile]:
        context = self._context

        def note_order() -> None:
            with context.memory.ledger(self._ca) as ledger:
                ledger.note_order(context.clock())

        def note_failed(name: str, way: str) -> None:
            self._ways.note_failed(name, way)
            with context.memory.ledger(self._ca) as ledger:
                ledger.note_failed(name, context.clock())

        order_context = OrderContext(
            context.journal,
            context.kinds,
            context.wait,
            self._tell,
            note_order,
            note_failed,
            note_proven=self._ways.note_proven,
            ways=self._ways.of_order,
            clock=context.clock,
        )
        with closing(account.sign_in(anonymous)) as own:
            issuer = Issuer(own, account, order_context, context.settings.acme.preferred_chain)
            return issuer.issue(request, live_keys(context.writer, request.site) if request.reuses_key else {})

    def _replaces(self, conversation: Conversation) -> str | None:
        live = self._site.live
        if live is None or live.origin is Origin.FILE or not conversation.has("renewalInfo"):
            return None
        return live_certificate_id(self._context.writer, self._site.site)

    @property
    def _makes_new_key(self) -> bool:
        live = self._site.live
        return self._new_key or self._state.key_is_spent or (live is not None and live.is_exposed)

    @property
    def _doing(self) -> str:
        return "renew" if self._site.live is not None else "order"

    @property
    def _source(self) -> str:
        return f"{ACME_SOURCE}{self._ca.key}"

    def _imported(self, chosen: OrderFor, files: list[DroppedFile]) -> Attempted:
        context, site = self._context, self._site.site
        now, hold = context.clock(), self._hold
        assert hold is not None, "the check came first"  # noqa: S101
        state = settle_success(self._ways.settle(self._state), chosen, now)
        # Before the certificate: a kill in between finds the order in the journal, and the names that it lacks here.
        context.memory.put(site, state)
        result = context.writer.install_files(site, files, source=self._source, doing=self._doing, consent=hold.consent)
        context.journal.remove(site)
        if result.reason == CAME_LATE:
            context.memory.put(site, self._state)
            raise OrderNotAllowed(result.message, f"to see what is live: certedge site show {site}")
        with context.memory.ledger(self._ca) as ledger:
            ledger.note_certificate(chosen.names, now)
        if result.outcome not in (Outcome.DONE, Outcome.NOTED):
            cause = Cause.STORAGE if result.outcome is Outcome.FAILED else Cause.INTAKE
            return self._failed(Failure(cause, result.message))
        left_out = f", without {listed(chosen.left_out)}" if chosen.left_out else ""
        logger.info("%s: %s by %s: %s%s", site, self._doing, self._ca.key, result.message, left_out)
        return Attempted(site, state, result, order=chosen, findings=self._checked.findings)

    def _find_hold(self, names: tuple[str, ...]) -> Hold | None:
        if self._ignores_limits or self._context.journal.load(self._site.site) is not None:
            return None  # an order under way was counted when it was made
        now = self._context.clock()
        window = self._state.window_for(self._site.live.fingerprint) if self._site.live is not None else None
        planned = plan_order(self._site, names, now, reason=self._reason, replaces=window is not None)
        with self._context.memory.ledger(self._ca) as ledger:
            return ledger.find_hold(planned, now)

    def _held(self, hold: Hold) -> Attempted:
        site, now = self._site, self._context.clock()
        state = settle_hold(site, self._state, hold, fraction=place_of(f"{site.site} {now.isoformat()}"))
        self._context.memory.put(site.site, state)
        logger.info("%s: waiting until %s: %s", site.site, hold.until.isoformat(timespec="seconds"), hold.message)
        return Attempted(site.site, state, hold=hold, findings=self._checked.findings)

    def _failed(self, failure: Failure) -> Attempted:
        site, now = self._site, self._context.clock()
        state = settle_failure(
            site,
            self._ways.settle(self._state),
            failure,
            now,
            reason=self._reason,
            order=self._order,
            fraction=place_of(f"{site.site} {now.isoformat()}"),
        )
        self._context.memory.put(site.site, state)
        next_attempt = state.next_attempt if state.failure is failure else state.recheck_at
        record = Record(
            now,
            self._doing,
            Outcome.FAILED,
            failure.cause.value,
            failure.detail,
            next_attempt=next_attempt,
            source=self._source,
        )
        self._context.writer.add_record(site.site, record)
        # The record is in the log already.
        logger.info("%s: %d failed in a row; next attempt %s", site.site, state.failures, next_attempt or "at once")
        return Attempted(site.site, state, failure=failure, order=self._order, findings=self._checked.findings)


def live_keys(writer: StoreWriter, site: str) -> dict[str, bytes]:
    """The keys of the live version as PEM, by the part of a key type that they serve. Those that can't be read are left
    out: new ones take their place."""
    found: dict[str, bytes] = {}
    for name in (PRIVKEY, PRIVKEY_RSA):
        with suppress(OSError, ValueError):
            pem = (writer.layout.live(site) / name).read_bytes()
            found.setdefault(keys.part_of(keys.from_pem(pem)), pem)
    return found


def live_certificate_id(writer: StoreWriter, site: str) -> str | None:
    """How the CA names the live certificate (ARI). None where it has no such name or can't be read."""
    try:
        return certificate_id((writer.layout.live(site) / CERT).read_bytes())
    except (OSError, ValueError):
        return None
