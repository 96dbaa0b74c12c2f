"""Which checks of the listeners to make, what each should find, and what is wrong with an answer.

`plan` and `difference` decide, `run_check` connects. The expected certificate is chosen as the workers choose it, and
its bytes come from the archive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certstore.model.certificate.pem import find_blocks
from certstore.model.layout import FULLCHAIN, FULLCHAIN_RSA, Layout
from certstore.model.selection import select
from certstore.model.settings.models import ListenerSettings
from certstore.model.snapshot import ServedCertificate, SiteEntry, Snapshot
from certstore.model.trusted_proxies import Network
from certstore.net.own_address import own_listeners
from certstore.store.versions import read_versions
from certstore.verify.probe import Probe, ProbeFailed, http_status, served_chain


@dataclass(frozen=True, slots=True)
class Check:
    """One question to one listener. `expected` is None without TLS, where any answer will do."""

    listener: ListenerSettings
    probe: Probe
    expected: ServedCertificate | None


@dataclass(frozen=True, slots=True)
class CheckResult:
    check: Check
    served_fingerprint: str | None
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        expected = self.check.expected
        return {
            "listener": str(self.check.listener.listen),
            "kind": self.check.listener.kind.value,
            "asked_at": str(self.check.probe.at.address),
            "server_name": self.check.probe.server_name,
            "certificate": expected.site if expected else None,
            "version": expected.version if expected else None,
            "fingerprint": expected.fingerprint if expected else None,
            "served_fingerprint": self.served_fingerprint,
            "ok": self.problem is None,
            "problem": self.problem,
        }


def plan(
    listeners: Sequence[ListenerSettings],
    snapshot: Snapshot,
    entries: Sequence[SiteEntry],
    trusted_proxies: Sequence[Network],
    now: datetime,
) -> Iterator[Check]:
    """Every listener: https without a server name and with each site's host, mail once, as it has one certificate.

    Where a version has two key pairs, an RSA-only client asks too. A listener for IPv6 and IPv4 is asked by IPv6, and
    once by IPv4.
    """
    addresses = [listener.listen for listener in listeners]
    first = entries[0].host
    for listener in listeners:
        kind = listener.kind
        at, *others = own_listeners(listener, trusted_proxies, addresses)
        if kind.is_clear_text:
            for each in (at, *others):
                yield Check(listener, Probe(kind, each, first), None)
            continue
        asked = (first,) if kind.is_mail else (None, *(entry.host for entry in entries))
        for server_name in asked:
            expected = select(snapshot, server_name, is_mail=kind.is_mail, now=now).certificate
            for rsa_only in (False, True) if expected.has_rsa_pair else (False,):
                yield Check(listener, Probe(kind, at, server_name, rsa_only), expected)
        for each in others:
            expected = select(snapshot, first, is_mail=kind.is_mail, now=now).certificate
            yield Check(listener, Probe(kind, each, first), expected)


def run_check(check: Check, chains: Chains, timeout: float, now: datetime) -> CheckResult:
    """Connect, and say in words what is wrong with the answer. The right certificate is wrong once it has expired."""
    if check.probe.at.address.port == 0:
        return CheckResult(check, None, "the system chooses its port at each start, so it can't be found from here")
    try:
        if check.expected is None:
            status = http_status(check.probe, timeout)
            is_unwell = check.listener.kind.value == "health" and status != 200
            return CheckResult(check, None, f"it answered {status} instead of 200" if is_unwell else None)
        served = served_chain(check.probe, timeout)
        wanted = chains.of(check.expected, rsa=check.probe.rsa_only)
    except ProbeFailed as failure:
        return CheckResult(check, None, str(failure))
    except OSError as error:
        return CheckResult(check, None, f"the store can't be read: {error.filename}: {error.strerror}")
    problem = difference(served, wanted, check.expected, chains) or _out_of_date(check.expected, now)
    return CheckResult(check, fingerprint_of(served), problem)


def _out_of_date(expected: ServedCertificate, now: datetime) -> str | None:
    what = f"version {expected.version} of {expected.site}, as in the store, but it"
    if expected.not_after <= now:
        return f"{what} expired on {expected.not_after:%Y-%m-%d %H:%M} UTC"
    if expected.not_before > now:
        return f"{what} is not valid before {expected.not_before:%Y-%m-%d %H:%M} UTC"
    return None


class Chains:
    """The store's chains as DER, and the version to which a leaf belongs."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def of(self, certificate: ServedCertificate, *, rsa: bool) -> list[bytes]:
        path = self._layout.version(certificate.site, certificate.version) / (FULLCHAIN_RSA if rsa else FULLCHAIN)
        return [each.der or b"" for each in find_blocks(path.read_bytes()).blocks]

    def version_with(self, site: str, fingerprint: str) -> int | None:
        found = [each.number for each in read_versions(self._layout, site) if each.fingerprint == fingerprint]
        return found[0] if found else None


def difference(
    served: Sequence[bytes], wanted: Sequence[bytes], expected: ServedCertificate, chains: Chains
) -> str | None:
    """What is wrong with the served chain, in words. None if it is exactly the expected one."""
    if list(served) == list(wanted):
        return None
    if not served:
        return "it sent no certificate"
    if served[0] == wanted[0]:
        return (
            f"the right certificate, but with {len(served) - 1} instead of {len(wanted) - 1} intermediates"
            if len(served) != len(wanted)
            else "the right certificate, but with other intermediates"
        )
    found = fingerprint_of(served) or ""
    version = chains.version_with(expected.site, found)
    what = f"version {version}" if version is not None else f"another certificate ({found[:16]}…)"
    return f"it serves {what}; live is version {expected.version} of {expected.site} ({expected.fingerprint[:16]}…)"


def fingerprint_of(chain: Sequence[bytes]) -> str | None:
    return hashlib.sha256(chain[0]).hexdigest() if chain else None
