"""`certedge verify`: shakes hands with every listener of edge.yaml and compares what it serves with `live`.

`plan` decides what to ask of whom and what must come; the handshakes are `probe`'s. Expectations come from the same
choice that the workers make, and the bytes from the store.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certstore.cli.context import AsJson, Config, Edge, open_edge
from certstore.cli.explain import read_snapshot
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.output import BAD, GOOD, Cell, print_json, print_lines, print_table, short

if TYPE_CHECKING:
    import ipaddress

    from certstore.cli.probe import Probe
    from certstore.model.settings import ListenerSettings
    from certstore.model.snapshot import ServedCertificate, SiteEntry, Snapshot

TIMEOUT_SECONDS = 10.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Check:
    """One question to one listener; `expected` is None where there is no TLS, only an answer to get."""

    listener: ListenerSettings
    probe: Probe
    expected: ServedCertificate | None


@dataclass(frozen=True, slots=True)
class Verdict:
    check: Check
    served_fingerprint: str | None
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        expected = self.check.expected
        return {
            "listener": str(self.check.listener.listen),
            "kind": self.check.listener.kind.value,
            "server_name": self.check.probe.server_name,
            "certificate": expected.site if expected else None,
            "version": expected.version if expected else None,
            "fingerprint": expected.fingerprint if expected else None,
            "served_fingerprint": self.served_fingerprint,
            "ok": self.problem is None,
            "problem": self.problem,
        }


def verify(
    site: Annotated[
        list[str] | None,
        typer.Option("--site", metavar="SITE", show_default=False, help="Only this site (and main); may be repeated."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one answer may take.")] = TIMEOUT_SECONDS,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Connect to every listener, compare the whole chain that it serves with the store."""
    edge = open_edge(config)
    attempted = "verify what the listeners serve"
    if not edge.settings.listeners:
        raise CommandFailed(attempted, f"{edge.config} has no listeners", "add some under `listeners:`", Exit.USAGE)
    snapshot = read_snapshot(edge, attempted)
    entries = _chosen(snapshot, site, attempted)
    checks = list(plan(edge.settings.listeners, snapshot, entries, edge.settings.trusted_proxies, datetime.now(UTC)))
    verdicts = _run(edge, checks, timeout)
    _report(verdicts, as_json=as_json)
    if any(verdict.problem for verdict in verdicts):
        raise typer.Exit(Exit.PROBLEMS)


def _chosen(snapshot: Snapshot, sites: Sequence[str] | None, attempted: str) -> list[SiteEntry]:
    """Main first, then those asked for, else all."""
    for unknown in (site for site in sites or () if site not in snapshot.sites):
        raise CommandFailed(attempted, f"there is no site {unknown!r:.100}", "those there are: certedge site list")
    keys = sites or sorted(snapshot.sites)
    return [snapshot.main, *(snapshot.sites[key] for key in keys if key != snapshot.main.site)]


def plan(
    listeners: Sequence[ListenerSettings],
    snapshot: Snapshot,
    entries: Sequence[SiteEntry],
    trusted_proxies: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network],
    now: datetime,
) -> Iterator[Check]:
    """Every listener with no server name and with each site's host; an RSA client too where a version has two pairs."""
    from certstore.cli.probe import Probe, reachable_address
    from certstore.model.selection import select
    from certstore.model.settings import ListenerKind

    for listener in listeners:
        address = reachable_address(listener.listen)
        with_header = listener.accept_proxy_protocol and _is_trusted(address.host, trusted_proxies)
        if listener.kind in (ListenerKind.HTTP, ListenerKind.HEALTH):
            yield Check(listener, Probe(listener.kind, address, entries[0].host, with_header), None)
            continue
        for server_name in (None, *(entry.host for entry in entries)):
            expected = select(snapshot, server_name, is_mail=listener.kind.is_mail, now=now).certificate
            for rsa_only in (False, True) if expected.has_rsa_pair else (False,):
                yield Check(listener, Probe(listener.kind, address, server_name, with_header, rsa_only), expected)


def _is_trusted(host: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Whether the listener takes us, who connect from the address that we connect to, for a proxy."""
    import ipaddress

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _run(edge: Edge, checks: Sequence[Check], timeout: float) -> list[Verdict]:
    """A few at a time: this shares the machine with what it examines."""
    from concurrent.futures import ThreadPoolExecutor

    expected = _Chains(edge)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        verdicts = []
        for done, verdict in enumerate(pool.map(lambda check: judge(check, expected, timeout), checks), 1):
            verdicts.append(verdict)
            if sys.stderr.isatty() and (done % 50 == 0 or done == len(checks)):
                sys.stderr.write(f"\r{done} of {len(checks)} " + ("\n" if done == len(checks) else ""))
        return verdicts


def judge(check: Check, chains: _Chains, timeout: float) -> Verdict:
    """Ask, and say in words what is wrong with the answer."""
    from certstore.cli.probe import ProbeFailed, http_status, served_chain

    if check.probe.address.port == 0:
        return Verdict(check, None, "its port is chosen by the system at each start, so it can't be found here")
    try:
        if check.expected is None:
            status = http_status(check.probe, timeout)
            is_unwell = check.listener.kind.value == "health" and status != 200
            return Verdict(check, None, f"the answer is {status}, not 200" if is_unwell else None)
        served = served_chain(check.probe, timeout)
        wanted = chains.of(check.expected, rsa=check.probe.rsa_only)
    except ProbeFailed as failure:
        return Verdict(check, None, str(failure))
    except OSError as error:
        return Verdict(check, None, f"the store can't be read: {error.filename}: {error.strerror}")
    return Verdict(check, _fingerprint(served), difference(served, wanted, check.expected, chains))


class _Chains:
    """The chains that the store holds, as DER, and which version a leaf is of."""

    def __init__(self, edge: Edge) -> None:
        self._layout = edge.layout

    def of(self, certificate: ServedCertificate, *, rsa: bool) -> list[bytes]:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        from certstore.model.layout import FULLCHAIN, FULLCHAIN_RSA

        path = self._layout.version(certificate.site, certificate.version) / (FULLCHAIN_RSA if rsa else FULLCHAIN)
        return [each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(path.read_bytes())]

    def version_with(self, site: str, fingerprint: str) -> int | None:
        from certstore.versions import read_versions

        found = [each.number for each in read_versions(self._layout, site) if each.fingerprint == fingerprint]
        return found[0] if found else None


def difference(
    served: Sequence[bytes], wanted: Sequence[bytes], expected: ServedCertificate, chains: _Chains
) -> str | None:
    """What is wrong with the chain that came, in words; None when it is the expected one to the last byte."""
    if list(served) == list(wanted):
        return None
    if not served:
        return "it sent no certificate"
    if served[0] == wanted[0]:
        return f"the right certificate, but {len(served) - 1} certificates of a chain instead of {len(wanted) - 1}" + (
            "" if len(served) != len(wanted) else ", not the same ones"
        )
    found = _fingerprint(served) or ""
    version = chains.version_with(expected.site, found)
    what = f"version {version}" if version is not None else f"another certificate ({short(found)}…)"
    return f"it serves {what}, live is version {expected.version} of {expected.site} ({short(expected.fingerprint)}…)"


def _fingerprint(chain: Sequence[bytes]) -> str | None:
    return hashlib.sha256(chain[0]).hexdigest() if chain else None


def _report(verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    bad = [verdict for verdict in verdicts if verdict.problem]
    if as_json:
        print_json({"checks": [verdict.to_json() for verdict in verdicts]})
        return
    rows = []
    for verdict in verdicts:
        check = verdict.check
        kind = f"{check.listener.kind}{' (RSA)' if check.probe.rsa_only else ''}"
        want = f"{check.expected.site} {check.expected.version}" if check.expected else "an answer"
        result = Cell(f"WRONG: {verdict.problem}", BAD) if verdict.problem else Cell("ok", GOOD)
        rows.append((kind, str(check.listener.listen), check.probe.server_name or "(none)", want, result))
    print_table(("listener", "address", "server name", "expected", "result"), rows)
    summary = f"{len(verdicts)} checked, {len(bad)} wrong" if bad else f"{len(verdicts)} checked, all as in the store"
    print_lines(Cell(summary, BAD if bad else GOOD))
