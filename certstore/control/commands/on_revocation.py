"""The command that revokes a certificate: what takes its place first, then the revocation, then a note of it.

If the process is killed in between, the command can be repeated: what it revokes is on disk before another version
becomes live, and a CA says that it knows of the revocation.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from certstore.control.commands import requests, results
from certstore.control.commands.on_network import order_now
from certstore.control.commands.on_store import served
from certstore.control.exposed_keys import ExposedKeys
from certstore.control.protocol import Fault, RequestFailed
from certstore.files.clock import utc_now
from certstore.model.duty import Duty
from certstore.model.layout import CERT, FULLCHAIN_RSA, PRIVKEY, PRIVKEY_RSA
from certstore.model.progress import Tell, tell_nobody
from certstore.model.record import Outcome, Record
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.revocation import Follows, Revocation, RevocationReason, Successor, decide_successor
from certstore.model.settings.models import Source
from certstore.model.version import Version
from certstore.renewal.sites import ACME_SOURCE
from certstore.store.revocations import candidates, find_begun, forget_begun, note_begun, note_revoked, read_revocation
from certstore.store.versions import VersionUnusable, read_version
from certstore.store.writer import StoreWriter, UnknownVersion
from certstore.store.writer_state import SiteProblem

if TYPE_CHECKING:
    from certstore.acme.account import Account
    from certstore.control.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class _Issued:
    """Where a version came from. `account` None: its own key has to sign."""

    version: Version
    ca: Ca
    account: Account | None


def revoke(upkeep: Upkeep, request: requests.RevokeRequest, tell: Tell) -> results.RevokeResult:
    writer = upkeep.writer
    entry = writer.site(request.site)
    begun = find_begun(writer.layout, entry.site) if request.version is None else None
    issued = _find(upkeep, request, begun)
    version, now = issued.version, upkeep.maintenance.clock()
    live = writer.live_version(entry.site)
    successor = decide_successor(
        is_live=live is not None and live.number == version.number,
        orders=request.orders and entry.source is Source.ACME,
        candidates=candidates(writer.layout, version, entry.host, now),
        reason=request.reason,
    )
    if live is not None and live.number == version.number:
        note_begun(writer.layout, version, Revocation(now, request.reason, issued.ca.key))
    if successor.follows is Follows.ORDERED:
        try:
            _order_another(upkeep, request, tell)
        except RequestFailed:
            forget_begun(writer.layout, version)
            raise
    tell(f"{issued.ca.host}: revoking version {version.number}")
    is_new = _revoke_at_ca(upkeep, issued, request)
    note_revoked(writer.layout, version, Revocation(now, request.reason, issued.ca.key))
    message = f"version {version.number} is revoked at {issued.ca.key} ({request.reason.value})"
    message += "" if is_new else "; it had been revoked there before"
    if begun is not None and successor.follows is Follows.NOT_LIVE:
        message += "; this ends the revocation that was interrupted, and what was live stays live"
    record = Record(now, "revoke", Outcome.DONE, request.reason.value, message, version.number, source=issued.ca.key)
    writer.add_record(entry.site, record)
    _let_follow(upkeep, version, successor, request)
    forget_begun(writer.layout, version)
    return results.RevokeResult(
        entry.site,
        version.number,
        version.fingerprint,
        request.reason,
        issued.ca.key,
        message,
        _notes(writer, version, entry.host, request),
        served(writer, entry.host),
    )


def exposed_keys(upkeep: Upkeep, duty: Duty) -> ExposedKeys:
    """Not begun yet."""

    def revoke_old(site: str, version: int) -> None:
        request = requests.RevokeRequest(site, version, RevocationReason.KEY_COMPROMISE, orders=False)
        revoke(upkeep, request, tell_nobody)

    maintenance = upkeep.maintenance
    return ExposedKeys(upkeep.writer, duty, maintenance.check_soon, revoke_old, clock=maintenance.clock)


def _find(upkeep: Upkeep, request: requests.RevokeRequest, begun: Version | None) -> _Issued:
    """`begun`: whose revocation an earlier command left half done. Raises RequestFailed for what can't be revoked."""
    writer, site = upkeep.writer, request.site
    live = writer.live_version(site)
    meant = begun or live
    number = request.version if request.version is not None else meant.number if meant is not None else None
    if number is None:
        raise RequestFailed(Fault.INVALID, f"{site} has no live certificate", f"see: certedge cert history {site}")
    try:
        version = read_version(writer.layout, site, number)
    except VersionUnusable:
        raise UnknownVersion(f"{site} has no version {number}") from None
    # One that is live still may have been cut short by a kill: what was to follow is made up for.
    is_live = live is not None and live.number == number
    if (known := read_revocation(writer.layout, site, number)) is not None and not is_live:
        forget_begun(writer.layout, version)
        raise RequestFailed(Fault.INVALID, f"version {number} was revoked on {known.at:%Y-%m-%d} ({known.reason})")
    if version.is_self_signed:
        raise RequestFailed(Fault.INVALID, f"version {number} is self-signed: there is no CA that could revoke it")
    context = upkeep.maintenance.context
    ca = context.cas[0]
    if version.source.startswith(ACME_SOURCE):
        key = version.source.removeprefix(ACME_SOURCE)
        known_ca = next((each for each in context.cas if each.key == key), None) or context.accounts.ca_of(key)
        if known_ca is None:
            found = f"version {number} was ordered from {key}, and neither settings nor store say where that is"
            raise RequestFailed(Fault.INVALID, found, "set acme.directory to this CA for the time being")
        return _Issued(version, known_ca, context.accounts.load(known_ca))
    return _Issued(version, ca, None)


def _order_another(upkeep: Upkeep, request: requests.RevokeRequest, tell: Tell) -> None:
    """The new certificate is live when this returns."""
    ordered = order_now(upkeep, request.site, tell, force=True, new_key=request.reason.spends_key)
    if ordered.outcome is not results.OrderOutcome.DONE:
        raise RequestFailed(
            Fault.REFUSED,
            f"nothing is revoked, as no other certificate could be ordered: {ordered.message}",
            f"{ordered.remedy}\nto revoke it all the same: --no-order".strip(),
        )


def _revoke_at_ca(upkeep: Upkeep, issued: _Issued, request: requests.RevokeRequest) -> bool:
    """All certificates of the version. False where each was revoked before."""
    from certstore.acme.network import OrderFailed
    from certstore.acme.revoke import revoke as revoke_at

    folder = upkeep.writer.layout.version(issued.version.site, issued.version.number)
    pairs = [(CERT, PRIVKEY)] + ([(FULLCHAIN_RSA, PRIVKEY_RSA)] if issued.version.has_rsa_pair else [])
    try:
        with closing(upkeep.maintenance.context.begin(issued.ca, is_patient=False)) as anonymous:
            done = [revoke_at(anonymous, issued.account, *_read(folder, *pair), request.reason) for pair in pairs]
    except OrderFailed as failed:
        remedy = failed.failure.remedy
        if issued.account is None:
            remedy = f"a certificate that another CA issued can be revoked only there. {remedy}"
        found = f"{issued.ca.host} did not revoke it: {failed.failure.detail}"
        raise RequestFailed(Fault.REFUSED, found, remedy) from None
    return any(done)


def _read(folder: Path, certificate: str, key: str) -> tuple[bytes, bytes]:
    return (folder / certificate).read_bytes(), (folder / key).read_bytes()


def _let_follow(upkeep: Upkeep, version: Version, successor: Successor, request: requests.RevokeRequest) -> None:
    writer, site = upkeep.writer, version.site
    if successor.follows is Follows.EARLIER:
        result = writer.rollback(site, successor.version, source="revoke")
        if result.outcome in (Outcome.DONE, Outcome.NOTED):
            return
    if successor.follows in (Follows.EARLIER, Follows.SAME):
        message = (
            f"version {version.number} is live although it was revoked on {utc_now():%Y-%m-%d} "
            f"({request.reason.value}): some clients refuse it; install or order another certificate"
        )
        writer.set_problem(site, SiteProblem.LIVE_REVOKED, message)
    if request.reason.spends_key and successor.follows is Follows.SAME:
        memory = upkeep.maintenance.memory
        memory.put(site, replace(memory.state(site), key_is_spent=True))


def _notes(writer: StoreWriter, version: Version, host: str, request: requests.RevokeRequest) -> tuple[str, ...]:
    """What else has the key that is spent."""
    if not request.reason.spends_key:
        return ()
    others = candidates(writer.layout, version, host, utc_now())
    same = [each.number for each in others if each.has_same_key and each.is_usable]
    return tuple(f"version {number} has the same key and is not revoked" for number in sorted(same))
