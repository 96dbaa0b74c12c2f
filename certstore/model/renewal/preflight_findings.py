"""What a preflight found, for people: turns the facts about a directory and about names into findings.

A finding is *fatal* when the CA is bound to see the same: no such name, a broken zone, CAA, another server's answer at
a public address. It is *doubtful* when the view from inside may deceive: NAT without hairpin, split DNS and missing
IPv6 look like refused, timed out or private addresses. Pure; `certstore.acme.preflight` gathers the facts.
"""

from __future__ import annotations

from collections.abc import Sequence

from certstore.model.renewal.caa import caa_findings
from certstore.model.renewal.failure import REMEDIES, Cause, Failure
from certstore.model.renewal.preflight_facts import (
    Answer,
    CannotProve,
    DirectoryFacts,
    DirectoryStep,
    Lookup,
    NameFacts,
    PreflightFinding,
    ProbeFacts,
    Severity,
    WayFacts,
)
from certstore.model.renewal.probe_targets import is_public

MAX_NAMES = 100
MAX_NAMES_BY_PROFILE = {"tlsserver": 25, "shortlived": 25}


def directory_findings(facts: DirectoryFacts) -> list[PreflightFinding]:
    """None when the directory answered."""
    if facts.step is DirectoryStep.DONE:
        return []
    message, remedy = _DIRECTORY[facts.step]
    message = message.format(host=facts.url.split("/")[2], url=facts.url)
    if facts.seen:
        message += f" ({facts.seen})"
    return [PreflightFinding(f"directory_{facts.step}", Severity.FATAL, message, remedy, Cause.CA_UNREACHABLE)]


def account_findings(
    directory: DirectoryFacts, *, has_account: bool, agrees_to_terms: bool, has_external_account: bool
) -> list[PreflightFinding]:
    """What the settings lack for the account that the first order registers. Nothing where there is an account."""
    if has_account or directory.step is not DirectoryStep.DONE:
        return []
    found = []
    if directory.terms and not agrees_to_terms:
        message = f"the CA's terms of service have not been agreed to: {directory.terms}"
        remedy = f"{REMEDIES[Cause.TERMS]}, or set acme.agree_to_terms: true"
        found.append(PreflightFinding("terms", Severity.FATAL, message, remedy, Cause.TERMS))
    if directory.needs_external_account and not has_external_account:
        message = "the CA registers an account only for its customers (external account binding)"
        remedy = REMEDIES[Cause.EXTERNAL_ACCOUNT]
        found.append(PreflightFinding("external_account", Severity.FATAL, message, remedy, Cause.EXTERNAL_ACCOUNT))
    return found


_DIRECTORY = {
    DirectoryStep.DNS: (
        "this server could not resolve the name of the CA's host {host}",
        "Check this server's resolver (/etc/resolv.conf): it must resolve names on the internet.",
    ),
    DirectoryStep.TCP: (
        "could not connect to the CA's host {host}",
        "Allow this server to connect to the internet on port 443 (firewall), or set HTTPS_PROXY for the service.",
    ),
    DirectoryStep.PROXY: (
        "the proxy in HTTPS_PROXY did not let this server connect to the CA's host {host}",
        "Allow CONNECT to the CA's host on the proxy, or correct HTTPS_PROXY.",
    ),
    DirectoryStep.TLS: (
        "could not verify the TLS certificate of the CA's host {host}",
        "Check clock, root certificates and TLS-intercepting proxies; set acme.ca_file to the root of your own CA.",
    ),
    DirectoryStep.HTTP: (
        "the CA's directory {url} answered with an error",
        "Check whether the CA reports an outage, and whether a proxy answers in its place.",
    ),
    DirectoryStep.CONTENT: (
        "{url} answered, but not with an ACME directory",
        "Check acme.directory in edge.yaml, and whether a proxy answers with its own page.",
    ),
}


def order_findings(names: Sequence[str], profile: str | None) -> list[PreflightFinding]:
    """What is wrong with the order itself."""
    limit = MAX_NAMES_BY_PROFILE.get(profile or "", MAX_NAMES)
    if len(names) <= limit:
        return []
    kind = f"a certificate with the profile {profile}" if profile else "one certificate"
    message = f"the site has {len(names)} names, but {kind} holds at most {limit}"
    remedy = "Remove names from the site, or split it into several sites."
    return [PreflightFinding("too_many_names", Severity.FATAL, message, remedy, Cause.TOO_MANY_NAMES)]


def way_findings(
    facts: NameFacts, way: WayFacts, *, identities: Sequence[str] = (), account_url: str | None = None
) -> list[PreflightFinding]:
    """Everything that keeps the CA from issuing for the name by this way; empty when it should succeed."""
    findings = list(way.findings)
    if way.needs_addresses:
        about_addresses = _address_findings(facts)
        probed = (_probe_finding(facts.name, probe) for probe in way.probes)
        findings += about_addresses or [finding for finding in probed if finding is not None]
    if not way.is_whole:
        findings.append(_unfinished(facts.name))
    return findings + caa_findings(
        facts.name, facts.caa, method=way.type, identities=identities, account_url=account_url
    )


def cannot_finding(name: str, cannot: CannotProve) -> PreflightFinding:
    """A type can't prove the name at all."""
    code = "challenge_not_set_up" if cannot.is_missing else "challenge_unfit"
    return PreflightFinding(code, Severity.FATAL, cannot.reason, cannot.remedy, Cause.SETTINGS, name)


def _unfinished(name: str) -> PreflightFinding:
    message = f"{name} was not checked to the end: its DNS or web servers take too long to answer"
    remedy = "Check its name servers, and ports 80 and 443 at each of its addresses. The CA is asked anyway."
    return PreflightFinding("check_unfinished", Severity.DOUBTFUL, message, remedy, Cause.CONNECTION, name)


SLOW_CODES = frozenset({"check_unfinished", "dns_timed_out", f"address_{Answer.TIMED_OUT}"})
"""Findings about servers that let others wait. A CA will wait for them too."""


def is_slow(findings: Sequence[PreflightFinding]) -> bool:
    """Whether an order after these findings is likely to take long."""
    return any(each.code in SLOW_CODES for each in findings)


def _address_findings(facts: NameFacts) -> list[PreflightFinding]:
    name, lookups = facts.name, {facts.ipv4, facts.ipv6}
    if Lookup.SERVER_FAILURE in lookups:
        message = f"the DNS answered SERVFAIL for {name}: its name servers or its DNSSEC signatures are broken"
        remedy = "Ask the zone's DNS provider to check its servers and DNSSEC (dnsviz.net shows what is wrong)."
        return [PreflightFinding("dns_server_failure", Severity.FATAL, message, remedy, Cause.DNS, name)]
    if Lookup.NO_SUCH_NAME in lookups and Lookup.FOUND not in lookups:
        return [_no_address("no_such_name", f"the name {name} does not exist in the DNS", name)]
    if lookups == {Lookup.NO_DATA}:
        return [_no_address("no_address", f"{name} exists in the DNS, but has neither an A nor an AAAA record", name)]
    if Lookup.TIMED_OUT in lookups and Lookup.FOUND not in lookups:
        message = f"no DNS server answered when asked for the addresses of {name}"
        remedy = "Check this server's resolver, or set another one in acme.resolver."
        return [PreflightFinding("dns_timed_out", Severity.DOUBTFUL, message, remedy, Cause.DNS, name)]
    return []


def _no_address(code: str, message: str, name: str) -> PreflightFinding:
    remedy = "Create an A (and AAAA) record that points to this server, or remove the name from the site."
    return PreflightFinding(code, Severity.FATAL, message, remedy, Cause.NO_SUCH_NAME, name)


_UNANSWERED = frozenset({Answer.REFUSED, Answer.TIMED_OUT, Answer.UNREACHABLE})
_WORDS = {
    Answer.REFUSED: "which refuses connections on port {port}",
    Answer.TIMED_OUT: "which does not answer in time on port {port}",
    Answer.UNREACHABLE: "which can't be reached from this server",
    Answer.NO_TLS: "where another server answers on port {port}, and not with TLS",
    Answer.NO_HTTP: "where another server answers on port {port}, and not with HTTP",
    Answer.WRONG: "where another server answers on port {port}",
    Answer.REDIRECT_LOOP: "where another server answers, with redirects in a loop",
    Answer.TOO_MANY_REDIRECTS: "where another server answers, with more than ten redirects",
    Answer.REDIRECT_ELSEWHERE: "where another server answers, with a redirect to one that is not this edge",
    Answer.REDIRECT_FORBIDDEN: "where another server answers, with a redirect that CAs do not follow "
    "(they accept http and https on ports 80 and 443 of public servers)",
}


def _probe_finding(name: str, probe: ProbeFacts) -> PreflightFinding | None:
    if probe.answer is Answer.OURS:
        return None
    if probe.answer is Answer.NOT_ASKED:
        return _not_asked(name, probe.address)
    if probe.is_own and probe.answer is Answer.REFUSED:
        return _own_without_listener(name, probe)
    is_private = not is_public(probe.address)
    # Of a server in the operator's own network the owner of a name learns no more than that.
    answer = probe.answer if probe.answer in _UNANSWERED or not is_private else Answer.WRONG
    if probe.node:
        return _node_finding(name, probe, answer)
    message = f"{name} has the address {probe.address}, {_WORDS[answer].format(port=probe.port)}"
    kind = "AAAA" if ":" in probe.address else "A"
    if answer in _UNANSWERED:
        remedy = (
            f"Make port {probe.port} of {probe.address} reach this server, or remove the {kind} record. "
            "From inside, NAT without hairpin or missing IPv6 can look the same, so the CA is asked anyway."
        )
        return PreflightFinding(f"address_{answer}", Severity.DOUBTFUL, message, remedy, Cause.CONNECTION, name)
    remedy = f"Point the {kind} record to this server, or remove it: the CA asks every address, IPv6 first."
    if is_private:
        remedy += " As the address is private, the CA may see another one, so it is asked anyway."
    severity = Severity.DOUBTFUL if is_private else Severity.FATAL
    return PreflightFinding(f"address_{answer}", severity, message, remedy, Cause.WRONG_ANSWER, name)


def _node_finding(name: str, probe: ProbeFacts, answer: Answer) -> PreflightFinding:
    """Of a node of the cluster that is not as the others: it has not got the token, or can't be reached."""
    node, port = probe.node, probe.port
    is_silent = answer in _UNANSWERED
    what = _WORDS[answer].format(port=port) if is_silent else f"which answers on port {port}, without this node's token"
    message = f"{name} has the address {probe.address} of the node {node}, {what}"
    remedy = f"See how {node} is: certedge cluster status. If it is gone for good, remove its address from the name."
    severity, cause = Severity.FATAL, Cause.WRONG_ANSWER
    if is_silent:
        severity, cause = Severity.DOUBTFUL, Cause.CONNECTION
        remedy += " From here, NAT without hairpin can look the same, so the CA is asked anyway."
    return PreflightFinding(f"address_{answer}", severity, message, remedy, cause, name)


def _own_without_listener(name: str, probe: ProbeFacts) -> PreflightFinding:
    """The CA is bound to see the same: no network lies between this server and itself."""
    address, port = probe.address, probe.port
    message = f"{name} has the address {address}, which is this server's, but nothing listens there on port {port}"
    host = f"[{address}]" if ":" in address else address
    remedy = (
        f'Add a listener for it to edge.yaml: {{kind: http, listen: "[::]:{port}"}} takes IPv6 and IPv4,'
        f' "{host}:{port}" this address alone.'
    )
    return PreflightFinding("address_without_listener", Severity.FATAL, message, remedy, Cause.CONNECTION, name)


def _not_asked(name: str, address: str) -> PreflightFinding:
    message = f"{name} has the address {address}, which no CA on the internet can reach; this server did not ask it"
    remedy = (
        "Point the name to a public address. If names have private addresses inside your network, or your CA is there, "
        "set acme.probe_private: true. The CA is asked anyway."
    )
    return PreflightFinding("address_not_asked", Severity.DOUBTFUL, message, remedy, Cause.CONNECTION, name)


def failure_of(findings: Sequence[PreflightFinding]) -> Failure:
    """The fatal findings as one failure: the first gives cause and advice, and all their names are at fault."""
    fatal = [finding for finding in findings if finding.severity is Severity.FATAL]
    names = tuple(dict.fromkeys(finding.name for finding in fatal if finding.name))
    detail = "; ".join(dict.fromkeys(finding.message for finding in fatal))
    return Failure(fatal[0].cause, detail, names, advice=fatal[0].remedy)


def fatal_names(findings: Sequence[PreflightFinding]) -> set[str]:
    return {finding.name for finding in findings if finding.name and finding.severity is Severity.FATAL}
