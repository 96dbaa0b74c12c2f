"""Checks before an order what the CA will check: gathers facts and returns what they mean as findings.

The owner of a name chooses its DNS servers and addresses. So each name has its time, and all names together have one:
what is not known by then is doubtful, and the CA is asked all the same.

Decides nothing: `preflight_findings` says what a fact means, and `partial_order` what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import requests

from certstore.acme.challenge_kind import ChallengeKinds, ProbeContext, WayProbe
from certstore.acme.dns_facts import Resolver
from certstore.acme.order_context import Interrupted
from certstore.model.progress import Tell, tell_nobody
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.choice import CheckedWay, NameChoice, Ways, choose_way
from certstore.model.renewal.preflight_facts import (
    CaaFacts,
    CannotProve,
    DirectoryFacts,
    DirectoryStep,
    Lookup,
    NameFacts,
    PreflightFinding,
    WayFacts,
)
from certstore.model.renewal.preflight_findings import directory_findings, order_findings, way_findings
from certstore.model.renewal.standing_record import StandingAccount, read_offer
from certstore.net.bounded_http import bounded, reason_of
from certstore.net.lanes import Budget, gather

NAME_SECONDS = 20.0
PREFLIGHT_SECONDS = 60.0
"""Time for all names of an order together."""
ADDRESSES_MOST = 4
"""Addresses of one name that are asked; a CA asks one or two."""
_AT_ONCE = 8
_DIRECTORY_SECONDS = 15


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Checked:
    """What a preflight found, and how each name would be proven."""

    findings: tuple[PreflightFinding, ...]
    choices: tuple[NameChoice, ...]


@dataclass(frozen=True, slots=True)
class Preflight:
    """`ca_file` as in the settings. `is_stopping` says that the process is to stop, and `node_at` which other node of a
    cluster has an address, empty for none. May be used from several threads. Raises OSError if the store can't be
    written, and Interrupted."""

    resolver: Resolver
    kinds: ChallengeKinds
    ca_file: Path | None = None
    is_stopping: Callable[[], bool] = never
    name_seconds: float = NAME_SECONDS
    seconds: float = PREFLIGHT_SECONDS
    node_at: Callable[[str], str] = lambda address: ""

    def check(
        self,
        names: Sequence[str],
        directory: DirectoryFacts,
        *,
        profile: str | None = None,
        account_url: str | None = None,
        account: StandingAccount | None = None,
        ways: Ways | None = None,
        may_write: bool = True,
        tell: Tell = tell_nobody,
    ) -> Checked:
        """All findings about an order for these names. `directory` is the result of `check_directory`."""
        findings: list[PreflightFinding] = []

        def note(found: Sequence[PreflightFinding]) -> None:
            for finding in found:
                tell(f"{finding.severity}: {finding.message}")
            findings.extend(found)

        note(directory_findings(directory) + order_findings(names, profile))
        choices = []
        context = ProbeContext(self.resolver, directory.identities, account_url, directory.standing, account, may_write)
        for choice in self.choose(names, context, ways or Ways(), tell=tell):
            note(choice.findings)
            tell(f"{choice.name}: {choice.why}")
            choices.append(choice)
        return Checked(tuple(findings), tuple(choices))

    def choose(
        self, names: Sequence[str], context: ProbeContext, ways: Ways, *, tell: Tell = tell_nobody
    ) -> Iterator[NameChoice]:
        """How to prove each name in turn; several names are looked up at a time."""
        budget = Budget(self.seconds)
        with ExitStack() as publications:
            probes = {
                kind.type: publications.enter_context(kind.probing(context))
                for kind in self.kinds
                if kind.type in ways.types
            }

            def check_name(name: str) -> NameChoice:
                tell(f"{name}: checking DNS, addresses and CAA")
                checks = _NameChecks(self, context, name, Budget(self.name_seconds, budget))
                return choose_way(name, list(checks.run(ways.of(name), probes, ways.barred)), ways.failed.get(name, ()))

            found = gather(check_name, names, at_once=_AT_ONCE, budget=budget, check=self._check_stop)
            for name, choice in zip(names, found, strict=True):
                yield choice if choice is not None else _unknown(name, ways)

    def _check_stop(self) -> None:
        if self.is_stopping():
            raise Interrupted

    def check_directory(self, ca: Ca) -> DirectoryFacts:
        """How far this server gets towards the CA. Never raises."""
        verify: str | bool = str(self.ca_file) if self.ca_file is not None else True
        try:
            with bounded(requests.Session()) as session:
                response = session.get(ca.url, timeout=_DIRECTORY_SECONDS, verify=verify)
        except requests.exceptions.ProxyError as error:
            return DirectoryFacts(ca.url, DirectoryStep.PROXY, reason_of(error))
        except requests.exceptions.SSLError as error:
            return DirectoryFacts(ca.url, DirectoryStep.TLS, reason_of(error))
        except requests.exceptions.ConnectionError as error:
            step = DirectoryStep.DNS if _is_dns(error) else DirectoryStep.TCP
            return DirectoryFacts(ca.url, step, reason_of(error))
        except requests.exceptions.Timeout as error:
            return DirectoryFacts(ca.url, DirectoryStep.HTTP, reason_of(error))
        except requests.exceptions.RequestException as error:
            return DirectoryFacts(ca.url, DirectoryStep.HTTP, reason_of(error))
        except OSError as error:
            return DirectoryFacts(ca.url, DirectoryStep.TLS, reason_of(error))  # ca_file is missing
        return _read(ca, response)


@dataclass(slots=True)
class _NameChecks:
    """The checks of one name. What the DNS says about it is asked once, and only where a way needs it."""

    preflight: Preflight
    context: ProbeContext
    name: str
    budget: Budget
    caa: CaaFacts | None = None
    lookups: tuple[Lookup, Lookup] | None = None
    addresses: Sequence[str] = ()

    def run(
        self, types: Sequence[str], probes: Mapping[str, WayProbe], barred: Mapping[str, CannotProve]
    ) -> Iterator[CheckedWay]:
        """Each type in turn. Of those behind the first that is open, only the CAA records are known."""
        is_found = False
        for type_ in types:
            kind = self.preflight.kinds.find(type_)
            if kind is None:
                continue
            if (cannot := barred.get(type_) or kind.cannot_prove(self.name)) is not None:
                yield CheckedWay(type_, cannot=cannot)
            elif is_found:
                unasked = WayFacts(type_, needs_addresses=False)
                yield CheckedWay(type_, tuple(self._mean(unasked)), is_checked=False)
            else:
                way = CheckedWay(type_, tuple(self._findings(probes[type_], needs_addresses=kind.needs_addresses)))
                is_found = way.is_open
                yield way

    def _findings(self, probe: WayProbe, *, needs_addresses: bool) -> list[PreflightFinding]:
        if needs_addresses and self.lookups is None:
            self._look_up()
        way = probe(self.name, self.addresses if needs_addresses else (), self.budget)
        probes = tuple(replace(each, node=self.preflight.node_at(each.address)) for each in way.probes)
        is_whole = way.is_whole and not self.budget.is_over
        return self._mean(replace(way, probes=probes, needs_addresses=needs_addresses, is_whole=is_whole))

    def _mean(self, way: WayFacts) -> list[PreflightFinding]:
        if self.caa is None:
            self.caa = self.context.resolver.caa(self.name.removeprefix("*."), self.budget)
        ipv4, ipv6 = self.lookups or (Lookup.NO_DATA, Lookup.NO_DATA)
        facts = NameFacts(self.name, ipv4, ipv6, self.caa)
        return way_findings(facts, way, identities=self.context.identities, account_url=self.context.account_url)

    def _look_up(self) -> None:
        resolver, left = self.context.resolver, self.budget.left
        ipv4, ipv4_addresses = resolver.addresses(self.name, version=4, seconds=left)
        ipv6, ipv6_addresses = resolver.addresses(self.name, version=6, seconds=self.budget.left)
        self.lookups = ipv4, ipv6
        self.addresses = _some(ipv6_addresses, ipv4_addresses) if Lookup.FOUND in self.lookups else ()


def _unknown(name: str, ways: Ways) -> NameChoice:
    """Nothing is known of the name yet, and the time for all names is over."""
    facts = NameFacts(name, Lookup.TIMED_OUT, Lookup.TIMED_OUT, CaaFacts(Lookup.TIMED_OUT))
    checked = [
        CheckedWay(type_, cannot=ways.barred[type_])
        if type_ in ways.barred
        else CheckedWay(type_, tuple(way_findings(facts, WayFacts(type_, is_whole=False))))
        for type_ in ways.of(name)
    ]
    return choose_way(name, checked, ways.failed.get(name, ()))


def _some(ipv6: Sequence[str], ipv4: Sequence[str]) -> Sequence[str]:
    """A few addresses of a name, of each family if it has both: one may have thousands."""
    half = max(ADDRESSES_MOST // 2, ADDRESSES_MOST - len(ipv4))
    chosen = ipv6[:half]
    return (*chosen, *ipv4[: ADDRESSES_MOST - len(chosen)])


def _read(ca: Ca, response: requests.Response) -> DirectoryFacts:
    if not response.ok:
        return DirectoryFacts(ca.url, DirectoryStep.HTTP, f"{response.status_code} {response.reason}")
    try:
        facts = response.json()
        meta = facts.get("meta") or {}
        identities, standing = tuple(map(str, meta.get("caaIdentities") or ())), read_offer(meta)
        terms = str(meta["termsOfService"])[:500] if meta.get("termsOfService") else None
        needs_external = meta.get("externalAccountRequired") is True
        is_directory = all(isinstance(facts.get(name), str) for name in ("newNonce", "newAccount", "newOrder"))
    except (ValueError, AttributeError, TypeError, RecursionError):
        is_directory, identities, standing, terms, needs_external = False, (), None, None, False
    if not is_directory:
        kind = (response.headers.get("Content-Type") or "no type").partition(";")[0][:60]
        return DirectoryFacts(ca.url, DirectoryStep.CONTENT, f"{kind} from {urlsplit(response.url).netloc}")
    return DirectoryFacts(
        ca.url,
        DirectoryStep.DONE,
        identities=identities,
        standing=standing,
        terms=terms,
        needs_external_account=needs_external,
    )


def _is_dns(error: BaseException) -> bool:
    """Whether name resolution is the cause; the library wraps its errors several times."""
    text = str(error)
    return "NameResolutionError" in text or "Failed to resolve" in text or "getaddrinfo" in text
