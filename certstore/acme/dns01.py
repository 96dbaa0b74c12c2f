"""dns-01 (RFC 8555 §8.4): a digest of the key authorization in a TXT record at `_acme-challenge.` of the name.

The one type that proves wildcards. A name and its wildcard share the record's place, with a value each. What goes wrong
for one name is kept until its self-check, so that the other names of the order are not given up for it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from josepy.b64 import b64encode

from certstore.acme.challenge_kind import ChallengeKind, ProbeContext, Proof, Publishing, WayProbe
from certstore.acme.dns.bounds import Bounds, never
from certstore.acme.dns.record_journal import RecordJournal
from certstore.acme.dns.records import DnsRecords, Trial, Wanted
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.acme.dns.zones import NotLocated, Zones
from certstore.acme.dns_facts import Resolver
from certstore.acme.order_context import Interrupted
from certstore.model.challenge import ChallengeType
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.preflight_facts import CannotProve, PreflightFinding, Severity, WayFacts
from certstore.model.renewal.probe_targets import ProbeTargets
from certstore.model.settings.dns import DNS_PORT, Rfc2136Settings
from certstore.model.settings.models import AcmeSettings
from certstore.net.lanes import Budget

TYPE = ChallengeType.DNS_01
_LABEL = "_acme-challenge."


def dns01(
    layout: Layout, acme: AcmeSettings, base: Path, wait: Callable[[float], bool] = never, port: int = DNS_PORT
) -> ChallengeKind:
    """The kind for this store. Only the store's writer may use it. `base` is the folder of edge.yaml, `port` that of
    the zones' servers. `wait` returns True when the process is to stop."""
    if acme.dns is None:
        return _not_set_up()
    return make_kind(DnsRecords(acme.dns, base, zones_of(acme, port), RecordJournal(layout), wait), wait)


def zones_of(acme: AcmeSettings, port: int = DNS_PORT) -> Zones:
    return Zones(Resolver(acme.resolver), _allowed_servers(acme), port)


def make_kind(records: DnsRecords, wait: Callable[[float], bool] = never) -> ChallengeKind:
    proofs = _Proofs(records, wait)
    return ChallengeKind(
        TYPE,
        publish=proofs.publish,
        withdraw=proofs.withdraw,
        self_check=proofs.self_check,
        probing=proofs.probing,
        needs_addresses=False,
        remove_stale=proofs.mark_stale,
        tidy=proofs.tidy,
    )


def record_name(name: str) -> str:
    """RFC 8555 §8.4, and §7.1.3 for wildcards."""
    return _LABEL + name.removeprefix("*.")


def record_value(key_authorization: str) -> str:
    """RFC 8555 §8.4."""
    encoded: bytes = b64encode(hashlib.sha256(key_authorization.encode("ascii")).digest())
    return encoded.decode("ascii")


def _allowed_servers(acme: AcmeSettings) -> Callable[[str], bool]:
    """Name servers with public addresses and those that the settings name; others with `acme.probe_private`. A name's
    owner chooses its servers, and must not have this server look around in its own network."""
    targets = ProbeTargets(allows_private=acme.probe_private)
    named = {acme.resolver.host} if acme.resolver is not None else set()
    for _, way in acme.dns.ways() if acme.dns is not None else ():
        if isinstance(way, Rfc2136Settings):
            named.add(way.server.host)
    return lambda address: address in named or targets.allow(address, DNS_PORT)


class _Proofs:
    def __init__(self, records: DnsRecords, wait: Callable[[float], bool]) -> None:
        self._records = records
        self._wait = wait
        self._faults: dict[str, CannotWrite | NotLocated] = {}
        self._lock = threading.Lock()

    def publish(self, proofs: Sequence[Proof], publishing: Publishing) -> None:
        wanted = [Wanted(record_name(each.name), record_value(each.key_authorization)) for each in proofs]
        faults = self._records.put(wanted, publishing.wait, publishing.tell)
        with self._lock:
            self._faults |= faults

    def withdraw(self, proofs: Iterable[Proof]) -> None:
        values = [record_value(proof.key_authorization) for proof in proofs]
        with self._lock:
            for value in values:
                self._faults.pop(value, None)
        self._records.remove(values)

    def mark_stale(self, thumbprints: Collection[str], needed: Collection[Proof]) -> int:
        """Before any order of this process, as later ones may not be told from these. `tidy` removes them."""
        return self._records.mark_leftovers(
            {record_value(each.key_authorization) for each in needed if each.type == TYPE}
        )

    def tidy(self) -> None:
        self._records.remove_leftovers()

    def self_check(self, proof: Proof) -> Failure | None:
        """The zone's servers have been asked already, when the record was put there."""
        with self._lock:
            fault = self._faults.pop(record_value(proof.key_authorization), None)
        return None if fault is None else _failure(proof.name, fault)

    @contextmanager
    def probing(self, context: ProbeContext) -> Iterator[WayProbe]:
        yield lambda name, addresses, budget: self._probe(name, budget, may_write=context.may_write)

    def _probe(self, name: str, budget: Budget, *, may_write: bool) -> WayFacts:
        """Write a harmless record where the real one will be, and remove it."""
        try:
            bounds = Bounds(budget.left, self._wait, budget)
            trial = self._records.try_out(record_name(name), bounds, may_write=may_write)
        except Interrupted:
            return WayFacts(TYPE, needs_addresses=False, is_whole=False)
        if budget.is_over:  # what failed then failed for want of time
            return WayFacts(TYPE, needs_addresses=False, is_whole=False)
        finding = _finding(name, trial)
        return WayFacts(TYPE, findings=(finding,) if finding is not None else (), needs_addresses=False)


def _failure(name: str, fault: CannotWrite | NotLocated) -> Failure:
    cause, advice = _cause_of(fault), getattr(fault, "remedy", "")
    return Failure(cause, f"could not prove {name} by {TYPE}: {fault}", (name,), advice=advice)


def _cause_of(fault: CannotWrite | NotLocated) -> Cause:
    if isinstance(fault, NotLocated):
        return Cause.DNS
    return Cause.SETTINGS if fault.needs_person else Cause.DNS_PROVIDER


def _finding(name: str, trial: Trial) -> PreflightFinding | None:
    fault = trial.fault
    if fault is not None:
        message = f"could not write the TXT record for {name}: {fault}"
        failure = _failure(name, fault)
        is_sure = isinstance(fault, CannotWrite)
        code, severity = ("dns_record", Severity.FATAL) if is_sure else ("dns_zone", Severity.DOUBTFUL)
        return PreflightFinding(code, severity, message, failure.remedy, failure.cause, name)
    if trial.unseen is not None:
        remedy = (
            "If your zone's servers just take longer, acme.dns.propagation_seconds says how long an order waits. If "
            "the record never appears, check what writes it."
        )
        return PreflightFinding("dns_unseen", Severity.DOUBTFUL, trial.unseen, remedy, Cause.DNS_PROVIDER, name)
    return None


def _not_set_up() -> ChallengeKind:
    """Without `acme.dns`."""

    def cannot_prove(name: str) -> CannotProve:
        reason = f"{TYPE} is not set up"
        if name.startswith("*."):
            reason = f"{name} is a wildcard, which only {TYPE} can prove, and {reason}"
        return CannotProve(
            reason, "Set acme.dns in edge.yaml: how to write into the zone of the name.", is_missing=True
        )

    @contextmanager
    def probing(context: ProbeContext) -> Iterator[WayProbe]:
        yield lambda name, addresses, budget: WayFacts(TYPE, needs_addresses=False)

    return ChallengeKind(
        TYPE,
        publish=lambda proofs, publishing: None,
        withdraw=lambda proofs: None,
        self_check=lambda proof: Failure(Cause.SETTINGS, cannot_prove(proof.name).reason, (proof.name,)),
        probing=probing,
        cannot_prove=cannot_prove,
        needs_addresses=False,
    )
