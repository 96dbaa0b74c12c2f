"""dns-persist-01 (draft-ietf-acme-dns-persist): a standing TXT record that a person has put into the zone.

The edge writes nothing: it looks whether the record is there, and shows what it has to be where it isn't. As the draft
moves, the type is used only where `acme.challenges` or a site's `challenges` name it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from certstore.acme.challenge_kind import ChallengeKind, ProbeContext, Proof, Prover, WayProbe
from certstore.acme.dns.bounds import Bounds, never
from certstore.acme.dns.zones import NotLocated, Zones
from certstore.acme.order_context import Interrupted
from certstore.files.clock import Clock, utc_now
from certstore.model.challenge import ChallengeType
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.preflight_facts import PreflightFinding, Severity, WayFacts
from certstore.model.renewal.standing_record import (
    StandingAccount,
    StandingOffer,
    find_fault,
    nearest_fault,
    read_issuers,
    record_name,
    record_places,
    record_value,
)
from certstore.net.lanes import Budget

TYPE = ChallengeType.DNS_PERSIST_01
LOOK_SECONDS = 15.0
_PLACES_MOST = 6


def dns_persist01(zones: Zones, wait: Callable[[float], bool] = never, clock: Clock = utc_now) -> ChallengeKind:
    """`wait` takes seconds and returns True when the process is to stop."""
    look = _Look(zones, wait, clock)
    return ChallengeKind(
        TYPE,
        publish=lambda proofs, publishing: None,
        withdraw=lambda proofs: None,
        self_check=partial(_self_check, look),
        probing=partial(_probing, look),
        needs_addresses=False,
        read=_read,
    )


def account_of(prover: Prover) -> StandingAccount:
    return StandingAccount(prover.url, prover.key_authorization("").removeprefix("."))


def _read(name: str, challenge: Mapping[str, Any], account: Prover) -> Proof:
    """The challenge has no token (§3.1). Kept is what a record has to match."""
    try:
        issuers = read_issuers(challenge)
    except ValueError as error:
        raise ValueError(f"the CA sent a {TYPE} challenge for {name} that can't be used: {error}") from None
    own = account_of(account)
    return Proof(name, "", json.dumps([issuers, own.url, own.thumbprint]), TYPE)


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks at the records of a name."""

    zones: Zones
    wait: Callable[[float], bool]
    clock: Clock

    def find_fault(self, name: str, issuers: Collection[str], account: StandingAccount, budget: Budget) -> str | None:
        """None where a record allows the order. Raises Interrupted."""
        bounds, faults = Bounds(budget.left, self.wait, budget), []
        for place, needs_wildcard in list(record_places(name))[:_PLACES_MOST]:
            try:
                texts = self.zones.texts(place, bounds)
            except NotLocated:
                continue
            for text in sorted(texts):
                fault = find_fault(text, place, issuers, account, self.clock(), needs_wildcard=needs_wildcard)
                if fault is None:
                    return None
                faults.append(f"{fault} ({place})")
        if faults:
            return f"no TXT record at {record_name(name)} allows it: {nearest_fault(faults)}"
        return f"there is no TXT record at {record_name(name)}"


def _self_check(look: _Look, proof: Proof) -> Failure | None:
    issuers, url, thumbprint = json.loads(proof.key_authorization)
    fault = look.find_fault(proof.name, issuers, StandingAccount(url, thumbprint), Budget(LOOK_SECONDS))
    if fault is None:
        return None
    remedy = "certedge preflight shows the record to put into the zone."
    return Failure(Cause.SETTINGS, f"could not prove {proof.name} by {TYPE}: {fault}", (proof.name,), advice=remedy)


@contextmanager
def _probing(look: _Look, context: ProbeContext) -> Iterator[WayProbe]:
    def probe(name: str, addresses: Sequence[str], budget: Budget) -> WayFacts:
        offer = context.standing or StandingOffer(context.identities)
        if context.account is None or not offer.issuers:
            return WayFacts(TYPE, findings=(_unknown(name, has_account=context.account is not None),))
        try:
            fault = look.find_fault(name, offer.issuers, context.account, budget)
        except Interrupted:
            return WayFacts(TYPE, is_whole=False)
        if fault is None:
            return WayFacts(TYPE)
        return WayFacts(TYPE, findings=(_missing(name, fault, offer, context.account),))

    yield probe


def _missing(name: str, fault: str, offer: StandingOffer, account: StandingAccount) -> PreflightFinding:
    remedy = f'Put this record into the zone: {record_name(name)}. TXT "{record_value(name, offer, account)}"'
    message = f"{name} can't be proven by {TYPE}: {fault}"
    return PreflightFinding("standing_record", Severity.FATAL, message, remedy, Cause.SETTINGS, name)


def _unknown(name: str, *, has_account: bool) -> PreflightFinding:
    if has_account:
        message = f"the CA does not say under which names it offers {TYPE}, so the record of {name} was not checked"
        return PreflightFinding("standing_record", Severity.DOUBTFUL, message, "", Cause.REQUEST_REFUSED, name)
    message = f"the record of {name} for {TYPE} depends on the account at the CA, and there is none yet"
    remedy = "Register it first: certedge account register"
    return PreflightFinding("standing_record", Severity.DOUBTFUL, message, remedy, Cause.ACCOUNT, name)
