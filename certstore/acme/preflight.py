"""Checks before an order what the CA will check: gathers facts and returns what they mean as findings.

The owner of a name chooses its DNS servers and addresses. So each name has its time, and all names together have one:
what is not known by then is doubtful, and the CA is asked all the same.

Decides nothing: `preflight_findings` says what a fact means, and `partial_order` what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from certstore.acme.challenge_kind import AddressProbe, ChallengeKind
from certstore.acme.dns_facts import Resolver
from certstore.acme.order_context import Interrupted
from certstore.model.progress import Tell, tell_nobody
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.preflight_facts import (
    CaaFacts,
    DirectoryFacts,
    DirectoryStep,
    Lookup,
    NameFacts,
    PreflightFinding,
)
from certstore.model.renewal.preflight_findings import directory_findings, name_findings, order_findings
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
class Preflight:
    """`ca_file` as in the settings. `is_stopping` says that the process is to stop. May be used from several threads.
    Raises OSError if the store can't be written, and Interrupted."""

    resolver: Resolver
    kind: ChallengeKind
    ca_file: Path | None = None
    is_stopping: Callable[[], bool] = never
    name_seconds: float = NAME_SECONDS
    seconds: float = PREFLIGHT_SECONDS

    def check(
        self,
        names: Sequence[str],
        directory: DirectoryFacts,
        *,
        profile: str | None = None,
        account_url: str | None = None,
        tell: Tell = tell_nobody,
    ) -> list[PreflightFinding]:
        """All findings about an order for these names. `directory` is the result of `check_directory`."""
        findings: list[PreflightFinding] = []

        def note(found: list[PreflightFinding]) -> None:
            for finding in found:
                tell(f"{finding.severity}: {finding.message}")
            findings.extend(found)

        note(directory_findings(directory) + order_findings(names, profile))
        for facts in self.gather(names, tell=tell):
            found = name_findings(
                facts, method=self.kind.type, identities=directory.identities, account_url=account_url
            )
            note(found)
            if not found:
                tell(f"{facts.name}: no problem found")
        return findings

    def gather(self, names: Sequence[str], *, tell: Tell = tell_nobody) -> Iterator[NameFacts]:
        """The facts of each name in turn; several names are looked up at a time."""
        budget = Budget(self.seconds)
        with self.kind.probing(self.resolver) as probe:

            def check_name(name: str) -> NameFacts:
                tell(f"{name}: checking DNS, addresses and CAA")
                return self._facts(name, probe, Budget(self.name_seconds, budget))

            found = gather(check_name, names, at_once=_AT_ONCE, budget=budget, check=self._check_stop)
            for name, facts in zip(names, found, strict=True):
                yield facts if facts is not None else _unknown(name)

    def _check_stop(self) -> None:
        if self.is_stopping():
            raise Interrupted

    def _facts(self, name: str, probe: AddressProbe, budget: Budget) -> NameFacts:
        ipv4, ipv4_addresses = self.resolver.addresses(name, version=4, seconds=budget.left)
        ipv6, ipv6_addresses = self.resolver.addresses(name, version=6, seconds=budget.left)
        probes = []
        for address in _some(ipv6_addresses, ipv4_addresses):
            if budget.is_over:
                break
            probes.append(probe(name, address, budget))
        is_known = Lookup.FOUND in (ipv4, ipv6)
        caa = self.resolver.caa(name, budget)
        return NameFacts(name, ipv4, ipv6, tuple(probes) if is_known else (), caa, is_whole=not budget.is_over)

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


def _unknown(name: str) -> NameFacts:
    """Nothing is known of the name yet, and the time for all names is over."""
    return NameFacts(name, Lookup.TIMED_OUT, Lookup.TIMED_OUT, (), CaaFacts(Lookup.TIMED_OUT), is_whole=False)


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
        identities = tuple(map(str, (facts.get("meta") or {}).get("caaIdentities") or ()))
        is_directory = all(isinstance(facts.get(name), str) for name in ("newNonce", "newAccount", "newOrder"))
    except (ValueError, AttributeError, TypeError, RecursionError):
        is_directory, identities = False, ()
    if not is_directory:
        kind = (response.headers.get("Content-Type") or "no type").partition(";")[0][:60]
        return DirectoryFacts(ca.url, DirectoryStep.CONTENT, f"{kind} from {urlsplit(response.url).netloc}")
    return DirectoryFacts(ca.url, DirectoryStep.DONE, identities=identities)


def _is_dns(error: BaseException) -> bool:
    """Whether name resolution is the cause; the library wraps its errors several times."""
    text = str(error)
    return "NameResolutionError" in text or "Failed to resolve" in text or "getaddrinfo" in text
