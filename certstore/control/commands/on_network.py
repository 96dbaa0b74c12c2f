"""The commands that order, check and warn.

They wait for networks, so they never run on the writer's thread: control gives each its own. A failed order is a result
that says why. The modules that do the work take long to import; they come with the upkeep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from certstore.control.commands import requests, results
from certstore.control.commands.on_store import install_result
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.progress import Tell
from certstore.model.renewal.ca import find_ca
from certstore.model.renewal.choice import Ways, way_of
from certstore.model.renewal.decision import Keep, SiteToRenew, decide_renewal, fraction_of
from certstore.model.renewal.failure import Cause
from certstore.model.renewal.preflight_facts import DirectoryFacts, PreflightFinding, Severity
from certstore.model.renewal.preflight_findings import account_findings
from certstore.model.renewal.standing_record import record_name, record_value
from certstore.model.renewal.ways import failed_by_name
from certstore.model.settings.mail_address import parse_address
from certstore.model.settings.models import Settings, Source
from certstore.model.snapshot import SiteEntry
from certstore.renewal.sites import IMPORT_SOURCE
from certstore.store.writer import StoreWriter, UnknownSite

if TYPE_CHECKING:
    from certstore.acme.account import Account
    from certstore.control.upkeep import Upkeep
    from certstore.renewal.context import RenewalContext

_ACCOUNT_CAUSES = frozenset({Cause.TERMS, Cause.EXTERNAL_ACCOUNT, Cause.ACCOUNT})


@contextmanager
def opened_upkeep(writer: StoreWriter, settings: Settings, base: Path) -> Iterator[Upkeep]:
    """For a single command, where no control runs."""
    from certstore.control.upkeep import Upkeep
    from certstore.renewal.order_sharing import AskingNobody

    orders = AskingNobody("the service does not run on this node") if settings.cluster is not None else None
    upkeep = Upkeep(writer, settings, base, orders=orders)
    try:
        upkeep.maintenance.remove_stale()
        yield upkeep
    finally:
        upkeep.stop()


def order(upkeep: Upkeep, request: requests.OrderRequest, tell: Tell) -> results.OrderResult:
    """Order now, whether it is due or not."""
    entry = _acme_entry(upkeep, request.site)
    return _order(upkeep, entry, tell, force=request.force, new_key=request.new_key, is_detached=request.detached)


def order_now(upkeep: Upkeep, site: str, tell: Tell, *, force: bool, new_key: bool) -> results.OrderResult:
    """Raises RequestFailed for a site whose certificate is not ordered."""
    return _order(upkeep, _acme_entry(upkeep, site), tell, force=force, new_key=new_key)


def renew(upkeep: Upkeep, request: requests.RenewRequest, tell: Tell) -> results.RenewResult:
    entries = upkeep.maintenance.entries()
    chosen = [_acme_entry(upkeep, site) for site in request.sites] or [
        entry for entry in entries.values() if entry.source is Source.ACME
    ]
    outcomes: list[results.NotDue | results.OrderResult] = []
    for entry in chosen:
        target = _target(upkeep, entry)
        if not request.force and (until := _not_due_until(upkeep, target)) is not None:
            outcomes.append(results.NotDue(entry.site, results.Untouched.NOT_DUE, until, f"not due before {until}"))
            continue
        tell(f"{entry.site}:")
        outcomes.append(_order(upkeep, entry, tell, force=request.ignores_limits))
    return results.RenewResult(tuple(outcomes))


def _not_due_until(upkeep: Upkeep, target: SiteToRenew) -> str | None:
    """None if due. The pause after a failed attempt does not count for a person who asks."""
    maintenance = upkeep.maintenance
    state = replace(maintenance.memory.state(target.site), next_attempt=None)
    decision = decide_renewal(target, state, maintenance.clock(), fraction=fraction_of(target.site, target.live))
    if isinstance(decision, Keep):
        return decision.until.isoformat(timespec="seconds") if decision.until is not None else "it changes"
    return None


def _order(
    upkeep: Upkeep, entry: SiteEntry, tell: Tell, *, force: bool, new_key: bool = False, is_detached: bool = False
) -> results.OrderResult:
    attempted = upkeep.maintenance.attempt_now(entry.site, tell, force=force, new_key=new_key, is_detached=is_detached)
    next_attempt, names = attempted.state.next_attempt, attempted.order
    result = results.OrderResult(
        site=attempted.site,
        outcome=results.OrderOutcome.DONE,
        findings=_notes(attempted.findings),
        message="",
        names=names.names if names is not None else None,
        left_out=names.left_out if names is not None else None,
        next_attempt=next_attempt.replace(microsecond=0) if next_attempt is not None else None,
    )
    if (failure := attempted.failure) is not None:
        return replace(
            result,
            outcome=results.OrderOutcome.FAILED,
            cause=failure.cause.value,
            message=failure.detail,
            remedy=failure.remedy,
            names_at_fault=failure.names,
            link=failure.link,
        )
    if (hold := attempted.hold) is not None:
        remedy = "wait, or use --ignore-limits"
        return replace(result, outcome=results.OrderOutcome.HELD, message=hold.message, remedy=remedy)
    taken = attempted.result
    assert taken is not None, "an attempt ends in a certificate, a failure or a hold"  # noqa: S101
    return replace(result, version=taken.version, fingerprint=taken.fingerprint, message=taken.message)


def preflight(upkeep: Upkeep, request: requests.PreflightRequest, tell: Tell) -> results.PreflightResult:
    """Checks and orders nothing, for any site, wherever its certificate comes from."""
    from certstore.acme.dns_persist01 import account_of

    entry, context = _entry(upkeep, request.site), upkeep.maintenance.context
    target = _target(upkeep, entry)
    ca = context.cas[0]
    tell(f"{ca.host}: the CA's directory")
    directory = context.preflight.check_directory(ca)
    account = context.accounts.load(ca)
    lacking = _lacking(context, directory, has_account=account is not None)
    for finding in lacking:
        tell(f"{finding.severity}: {finding.message}")
    state = upkeep.maintenance.memory.state(entry.site)
    checked = context.preflight.check(
        target.names,
        directory,
        profile=context.sites.profile(entry.site),
        account_url=account.url if account is not None else None,
        account=account_of(account) if account is not None else None,
        ways=Ways(
            context.sites.challenges(entry.site), failed_by_name(state.failed_ways), context.sites.barred(entry.site)
        ),
        tell=tell,
    )
    ways = tuple(map(way_of, checked.choices))
    records = _standing_records(target.names, directory, account)
    return results.PreflightResult(
        entry.site, ca.url, target.names, _notes((*lacking, *checked.findings)), ways, records
    )


def _lacking(context: RenewalContext, directory: DirectoryFacts, *, has_account: bool) -> list[PreflightFinding]:
    """What the account that the first order registers would fail for."""
    from certstore.acme.network import OrderFailed

    acme = context.settings.acme
    found = account_findings(
        directory,
        has_account=has_account,
        agrees_to_terms=acme.agree_to_terms,
        has_external_account=acme.external_account is not None,
    )
    if has_account:
        return found
    try:
        context.account_settings(context.cas[0])
    except OrderFailed as failed:  # the key of the external account can't be read
        failure = failed.failure
        code = failure.cause.value
        found.append(PreflightFinding(code, Severity.FATAL, failure.detail, failure.remedy, failure.cause))
    return found


def _standing_records(
    names: Iterable[str], directory: DirectoryFacts, account: Account | None
) -> tuple[results.StandingRecord, ...]:
    """Those that would prove the names for good, where the CA offers that. A wildcard's covers its domain too."""
    from certstore.acme.dns_persist01 import account_of

    offer, names = directory.standing, tuple(names)
    if offer is None or account is None:
        return ()
    own, covered = account_of(account), {name[2:] for name in names if name.startswith("*.")}
    return tuple(
        results.StandingRecord(record_name(name), record_value(name, offer, own))
        for name in names
        if name not in covered
    )


def _notes(findings: Iterable[PreflightFinding]) -> tuple[results.PreflightNote, ...]:
    graver_first = sorted(findings, key=lambda each: each.severity is not Severity.FATAL)
    return tuple(map(results.PreflightNote.of, graver_first))


def show_accounts(upkeep: Upkeep, request: requests.ShowAccountsRequest, tell: Tell) -> results.AccountsResult:
    return accounts_of(upkeep)


def accounts_of(upkeep: Upkeep) -> results.AccountsResult:
    """Read from disk, without the network."""
    context = upkeep.maintenance.context
    accounts = []
    for ca in context.cas:
        account = context.accounts.load(ca)
        if account is None:
            accounts.append(results.AccountFacts(ca.key, ca.url, None, (), None))
        else:
            accounts.append(results.AccountFacts(ca.key, ca.url, account.url, account.contact, account.made_at))
    return results.AccountsResult(tuple(accounts))


def register_accounts(upkeep: Upkeep, request: requests.RegisterAccountsRequest, tell: Tell) -> results.AccountsResult:
    """At every configured CA. Sites that waited for an account are retried at once."""
    maintenance = upkeep.maintenance
    for ca in maintenance.context.cas:
        tell(f"{ca.host}: account")
        with closing(maintenance.context.begin(ca, is_patient=False)) as conversation:
            maintenance.context.account(ca, conversation, agrees=request.agree_to_terms)
    for site, state in maintenance.memory.states().items():
        if state.failure is not None and state.failure.cause in _ACCOUNT_CAUSES:
            maintenance.memory.put(site, replace(state, next_attempt=None))
            maintenance.check_soon(site)
    return accounts_of(upkeep)


def roll_over_accounts(upkeep: Upkeep, request: requests.RollOverAccountsRequest, tell: Tell) -> results.AccountsResult:
    """At every CA with an account. Refused while an order runs, which would go on with the old key."""
    maintenance = upkeep.maintenance
    context = maintenance.context

    def refuse_while_ordering() -> None:
        if maintenance.is_any_busy:
            raise RequestFailed(Fault.BUSY, "an order is under way, with the account's present key", "try again soon")

    known = [ca for ca in context.cas if context.accounts.load(ca) is not None]
    if not known:
        raise RequestFailed(Fault.INVALID, "there is no account yet", "register one: certedge account register")
    for ca in known:
        tell(f"{ca.host}: a new key for the account")
        with closing(context.begin(ca, is_patient=False)) as conversation:
            context.accounts.roll_over(ca, conversation, before=refuse_while_ordering)
    return accounts_of(upkeep)


def send_test_mail(upkeep: Upkeep, request: requests.TestMailRequest, tell: Tell) -> results.MailResult:
    try:
        recipients = [parse_address(each) for each in request.to]
    except ValueError as error:
        raise RequestFailed(Fault.INVALID, str(error)) from None
    sent, refused = upkeep.notifier.test(recipients)
    if not sent and not refused:
        remedy = "add an address and reload, or give one with --to"
        raise RequestFailed(Fault.INVALID, "notify.to in edge.yaml names no recipient", remedy)
    return results.MailResult(
        tuple(sent), tuple(results.RefusedRecipient(each.recipient, each.reason) for each in refused)
    )


def import_certificate(upkeep: Upkeep, request: requests.ImportRequest, tell: Tell) -> results.InstallResult:
    """The certificate is renewed when its time comes, not before."""
    writer, source = upkeep.writer, f"{IMPORT_SOURCE}{request.program}"
    return install_result(writer, writer.install_files(request.site, request.files, source=source, doing="import"))


def adopt_account(upkeep: Upkeep, request: requests.AdoptAccountRequest, tell: Tell) -> results.AdoptResult:
    """An account that exists at this CA is kept."""
    accounts, ca = upkeep.maintenance.context.accounts, find_ca(request.directory)
    if accounts.load(ca) is not None:
        return results.AdoptResult(
            ca.key, results.AdoptOutcome.KEPT, f"an account at {ca.key} exists already; it is kept"
        )
    try:
        accounts.adopt(ca, request.key, request.url, request.contact)
    except ValueError:
        raise RequestFailed(Fault.INVALID, f"the account key for {ca.key} can't be used") from None
    return results.AdoptResult(ca.key, results.AdoptOutcome.ADOPTED, f"the account at {ca.key} is imported")


def _entry(upkeep: Upkeep, site: str) -> SiteEntry:
    entry = upkeep.maintenance.entries().get(site)
    if entry is None:
        raise UnknownSite(site)
    return entry


def _acme_entry(upkeep: Upkeep, site: str) -> SiteEntry:
    entry = _entry(upkeep, site)
    if entry.source is not Source.ACME:
        found = f"{site} has `certificate: {entry.source}`, so none is ordered"
        raise RequestFailed(Fault.INVALID, found, f"to have it ordered: certedge site set {site} --certificate acme")
    return entry


def _target(upkeep: Upkeep, entry: SiteEntry) -> SiteToRenew:
    target = upkeep.maintenance.context.sites.to_renew(entry)
    if target is None:
        found = f"{entry.site} does not own its host {entry.host}: another site declares it"
        raise RequestFailed(Fault.INVALID, found, f"see: certedge explain {entry.host}")
    return target
