"""Checks before an order what the CA will check: gathers facts and returns what they mean as findings.

Decides nothing: `preflight_findings` says what a fact means, and `partial_order` what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from certstore.acme.challenge_kind import AddressProbe, ChallengeKind
from certstore.acme.dns_facts import Resolver
from certstore.model.progress import Tell, tell_nobody
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.preflight_facts import DirectoryFacts, DirectoryStep, Lookup, NameFacts, PreflightFinding
from certstore.model.renewal.preflight_findings import directory_findings, name_findings, order_findings
from certstore.net.bounded_http import bounded, reason_of

_AT_ONCE = 8
_DIRECTORY_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Preflight:
    """`ca_file` as in the settings. May be used from several threads. Raises OSError if the store can't be written."""

    resolver: Resolver
    kind: ChallengeKind
    ca_file: Path | None = None

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
        with self.kind.probing(self.resolver) as probe, ThreadPoolExecutor(_AT_ONCE, "preflight") as pool:

            def check_name(name: str) -> NameFacts:
                tell(f"{name}: checking DNS, addresses and CAA")
                return self._facts(name, probe)

            yield from pool.map(check_name, names)

    def _facts(self, name: str, probe: AddressProbe) -> NameFacts:
        ipv4, ipv4_addresses = self.resolver.addresses(name, version=4)
        ipv6, ipv6_addresses = self.resolver.addresses(name, version=6)
        probes = tuple(probe(name, address) for address in (*ipv6_addresses, *ipv4_addresses))
        is_known = Lookup.FOUND in (ipv4, ipv6)
        caa = self.resolver.caa(name)
        return NameFacts(name, ipv4, ipv6, probes if is_known else (), caa)

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
