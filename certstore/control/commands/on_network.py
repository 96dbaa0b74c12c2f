"""The verbs that order, check and warn: JSON-able arguments in, JSON-able facts out, as in `verbs`.

They wait for networks, so they never run on the writer's thread: control gives each a thread of its own. An order that
fails is a result, whose facts say why; only what could not even be tried raises VerbFailed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from certstore.acme.network import OrderFailed
from certstore.acme.order_context import Interrupted
from certstore.control.commands.on_store import VERBS, Arguments, intake_facts
from certstore.control.protocol import Fault, RequestFailed, unpack_bytes
from certstore.model.renewal.ca import find_ca
from certstore.model.renewal.decision import Keep, RenewalReason, SiteToRenew, decide_renewal, fraction_of
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.preflight_facts import DirectoryFacts, PreflightFinding, Severity
from certstore.model.settings.mail_address import parse_address
from certstore.model.settings.models import Source
from certstore.model.snapshot import SiteEntry
from certstore.notify.smtp import MailServerFailed
from certstore.renewal.attempt import Attempted, Tell
from certstore.renewal.loop import SiteBusy
from certstore.renewal.sites import IMPORT_SOURCE
from certstore.store.writer import InvalidSite, NotWritable, UnknownSite

if TYPE_CHECKING:
    from certstore.control.upkeep import Upkeep

Command = Callable[["Upkeep", Arguments, Tell], dict[str, Any]]

_ACCOUNT_CAUSES = frozenset({Cause.TERMS, Cause.EXTERNAL_ACCOUNT, Cause.ACCOUNT})


def perform_care(upkeep: Upkeep, command: str, args: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Raises VerbFailed, OSError."""
    act = CARE_VERBS.get(command)
    if act is None:
        there_are = ", ".join((*VERBS, *CARE_VERBS))
        raise RequestFailed(Fault.BAD_REQUEST, f"there is no verb {command!r:.60}; there are: {there_are}")
    arguments = Arguments(args)
    try:
        return act(upkeep, arguments, tell)
    except Interrupted:
        found = "the control process is ending; an order under way is picked up when it runs again"
        raise RequestFailed(Fault.BUSY, found, "see how it ended: certedge status") from None
    except UnknownSite:
        raise _no_site(arguments.text("site")) from None
    except (InvalidSite, NotWritable) as error:
        raise RequestFailed(Fault.INVALID, str(error)) from None
    except OrderFailed as failed:
        raise RequestFailed(Fault.REFUSED, failed.failure.detail, failed.failure.remedy) from None
    except MailServerFailed as failed:
        raise RequestFailed(Fault.UNREACHABLE, str(failed), "correct notify.smtp in edge.yaml") from None


def _request(upkeep: Upkeep, arguments: Arguments, tell: Tell) -> dict[str, Any]:
    """Order now, whether it is due or not."""
    entry = _acme_entry(upkeep, arguments.site())
    return _attempted(upkeep, entry, tell, force=arguments.flag("force"))


def _renew(upkeep: Upkeep, arguments: Arguments, tell: Tell) -> dict[str, Any]:
    """The named sites, or all that are ordered for: those due, or with `force` every one."""
    named, force = arguments.texts("sites"), arguments.flag("force")
    entries = upkeep.maintenance.entries()
    chosen = [_acme_entry(upkeep, site) for site in named] or [
        entry for entry in entries.values() if entry.source is Source.ACME
    ]
    results = []
    for entry in chosen:
        target = _target(upkeep, entry)
        if not force and (until := _not_due_until(upkeep, target)) is not None:
            results.append(
                {"site": entry.site, "outcome": "not_due", "due": until, "message": f"not due before {until}"}
            )
            continue
        tell(f"{entry.site}:")
        results.append(_attempted(upkeep, entry, tell, force=force))
    return {"sites": results}


def _not_due_until(upkeep: Upkeep, target: SiteToRenew) -> str | None:
    """A person who asks does not wait out a failed attempt: only a certificate that is fine is left alone."""
    maintenance = upkeep.maintenance
    state = replace(maintenance.memory.state(target.site), next_attempt=None)
    decision = decide_renewal(target, state, maintenance.clock(), fraction=fraction_of(target.site, target.live))
    if isinstance(decision, Keep):
        return decision.until.isoformat(timespec="seconds") if decision.until is not None else "it changes"
    return None


def _attempted(upkeep: Upkeep, entry: SiteEntry, tell: Tell, *, force: bool) -> dict[str, Any]:
    try:
        attempted = upkeep.maintenance.attempt_now(entry.site, tell, reason=RenewalReason.ASKED_FOR, force=force)
    except SiteBusy:
        found = f"an order for {entry.site} is under way"
        raise RequestFailed(Fault.BUSY, found, f"see how it ended: certedge site show {entry.site}") from None
    return _attempt_facts(attempted)


def _attempt_facts(attempted: Attempted) -> dict[str, Any]:
    facts: dict[str, Any] = {"site": attempted.site, "outcome": "done", "findings": _findings(attempted.findings)}
    if (result := attempted.result) is not None:
        facts |= {"version": result.version, "fingerprint": result.fingerprint, "message": result.message}
    if attempted.order is not None:
        facts |= {"names": list(attempted.order.names), "left_out": list(attempted.order.left_out)}
    if (failure := attempted.failure) is not None:
        facts |= {"outcome": "failed", **failure_facts(failure)}
    if (hold := attempted.hold) is not None:
        facts |= {"outcome": "held", "message": hold.message, "remedy": "wait, or ask with --force"}
    next_attempt = attempted.state.next_attempt
    facts["next_attempt"] = next_attempt.isoformat(timespec="seconds") if next_attempt else None
    return facts


def failure_facts(failure: Failure) -> dict[str, Any]:
    return {
        "cause": failure.cause.value,
        "message": failure.detail,
        "remedy": failure.remedy,
        "names_at_fault": list(failure.names),
        "link": failure.link,
    }


def _preflight(upkeep: Upkeep, arguments: Arguments, tell: Tell) -> dict[str, Any]:
    """Looks and orders nothing, for any site, whatever its certificate comes from."""
    entry, tools = _entry(upkeep, arguments.site()), upkeep.maintenance.context
    target = _target(upkeep, entry)
    ca = tools.cas[0]
    tell(f"{ca.host}: the CA's directory")
    directory: DirectoryFacts = tools.preflight.check_directory(ca)
    account = tools.accounts.load(ca)
    findings = tools.preflight.check(
        target.names,
        directory,
        profile=tools.sites.profile(entry.site),
        account_url=account.url if account is not None else None,
        tell=tell,
    )
    return {"site": entry.site, "ca": ca.url, "names": list(target.names), "findings": _findings(findings)}


def _findings(findings: tuple[PreflightFinding, ...] | list[PreflightFinding]) -> list[dict[str, Any]]:
    graver_first = sorted(findings, key=lambda each: each.severity is not Severity.FATAL)
    return [
        {
            "code": each.code,
            "severity": each.severity.value,
            "name": each.name,
            "message": each.message,
            "remedy": each.remedy,
        }
        for each in graver_first
    ]


def _show_account(upkeep: Upkeep, arguments: Arguments, tell: Tell) -> dict[str, Any]:
    tools = upkeep.maintenance.context
    accounts = []
    for ca in tools.cas:
        account = tools.accounts.load(ca)
        accounts.append(
            {
                "ca": ca.key,
                "directory": ca.url,
                "url": account.url if account is not None else None,
                "contact": list(account.contact) if account is not None else [],
                "made_at": account.made_at.isoformat() if account is not None and account.made_at else None,
            }
        )
    return {"accounts": accounts}


def _register_account(upkeep: Upkeep, arguments: Arguments, tell: Tell) -> dict[str, Any]:
    """At every configured CA. Sites that waited for an account are tried at once."""
    maintenance = upkeep.maintenance
    for ca in maintenance.context.cas:
        tell(f"{ca.host}: account")
        with closing(maintenance.context.begin(ca, is_patient=False)) as conversation:
            maintenance.context.account(ca, conversation, agrees=arguments.flag("agree_to_terms"))
    for site, state in maintenance.memory.states().items():
        if state.failure is not None and state.failure.cause in _ACCOUNT_CAUSES:
            maintenance.memory.put(site, replace(state, next_attempt=None))
            maintenance.check_soon(site)
    return _show_account(upkeep, arguments, tell)


def _test_mail(upkeep: Upkeep, arguments: Arguments, tell: Tell) -> dict[str, Any]:
    notify = upkeep.settings.notify
    try:
        recipients = [parse_address(each) for each in arguments.texts("to")] or list(notify.to)
    except ValueError as error:
        raise RequestFailed(Fault.INVALID, str(error)) from None
    if not recipients:
        raise RequestFailed(
            Fault.INVALID, "notify.to in edge.yaml names nobody", "add an address and reload, or give one with --to"
        )
    refused = upkeep.notifier.send_test(recipients)
    return {
        "sent": [each for each in recipients if each not in {item.recipient for item in refused}],
        "refused": [{"recipient": each.recipient, "reason": each.reason} for each in refused],
    }


def _import_certificate(upkeep: Upkeep, arguments: Arguments, tell: Tell) -> dict[str, Any]:
    """A certificate that another program ordered or was given: renewed when its time comes, not before."""
    source = f"{IMPORT_SOURCE}{arguments.text('program')}"
    site, writer = arguments.site(), upkeep.writer
    result = writer.take_in(site, arguments.files(), source=source, doing="import")
    return intake_facts(writer, result)


def _adopt_account(upkeep: Upkeep, arguments: Arguments, tell: Tell) -> dict[str, Any]:
    """Another program's account at a CA, unless we have one there."""
    accounts, ca = upkeep.maintenance.context.accounts, find_ca(arguments.text("directory"))
    if accounts.load(ca) is not None:
        return {"ca": ca.key, "outcome": "kept", "message": f"there is an account at {ca.key} already; it is kept"}
    key = unpack_bytes(arguments.text("key"))
    try:
        accounts.adopt(ca, key, arguments.text("url"), tuple(arguments.texts("contact")))
    except ValueError:
        raise RequestFailed(Fault.INVALID, f"the account key for {ca.key} is none that can be used") from None
    return {"ca": ca.key, "outcome": "adopted", "message": f"the account at {ca.key} is taken over"}


CARE_VERBS: dict[str, Command] = {
    "cert.request": _request,
    "cert.renew": _renew,
    "site.preflight": _preflight,
    "account.show": _show_account,
    "account.register": _register_account,
    "notify.test": _test_mail,
    "cert.import": _import_certificate,
    "account.adopt": _adopt_account,
}


def _entry(upkeep: Upkeep, site: str) -> SiteEntry:
    entry = upkeep.maintenance.entries().get(site)
    if entry is None:
        raise _no_site(site)
    return entry


def _no_site(site: str) -> RequestFailed:
    return RequestFailed(Fault.NOT_FOUND, f"there is no site {site}", "see: certedge site list, certedge site add")


def _acme_entry(upkeep: Upkeep, site: str) -> SiteEntry:
    entry = _entry(upkeep, site)
    if entry.source is not Source.ACME:
        found = f"the certificate of {site} comes from: {entry.source}"
        raise RequestFailed(Fault.INVALID, found, f"have it ordered: certedge site set {site} --certificate acme")
    return entry


def _target(upkeep: Upkeep, entry: SiteEntry) -> SiteToRenew:
    target = upkeep.maintenance.context.sites.to_renew(entry)
    if target is None:
        found = f"{entry.site} does not own its host {entry.host}: another site declares it"
        raise RequestFailed(Fault.INVALID, found, f"see: certedge explain {entry.host}")
    return target
