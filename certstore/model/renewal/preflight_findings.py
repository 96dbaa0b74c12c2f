"""What a preflight means: gathered facts about a directory and about names, turned into findings for people.

A finding is *fatal* when the CA is bound to see the same (no such name, a broken zone, CAA, a stranger's answer from a
public address); *doubtful* when looking from inside may deceive (refused, timed out, private addresses: NAT without
hairpin, split DNS and missing IPv6 look like that). Pure; the facts are gathered by `certstore.acme.preflight`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from certstore.model.renewal.caa import judge_caa
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.preflight_facts import (
    Answer,
    DirectoryFacts,
    DirectoryStep,
    Lookup,
    NameFacts,
    PreflightFinding,
    ProbeFacts,
    Severity,
)

MAX_NAMES = 100
MAX_NAMES_BY_PROFILE = {"tlsserver": 25, "shortlived": 25}


def judge_directory(facts: DirectoryFacts) -> list[PreflightFinding]:
    """Nothing when the directory answered."""
    if facts.step is DirectoryStep.DONE:
        return []
    host = facts.url.split("/")[2]
    message, remedy = _DIRECTORY[facts.step]
    found = (
        f"{message.format(host=host, url=facts.url)} ({facts.seen})"
        if facts.seen
        else message.format(host=host, url=facts.url)
    )
    return [PreflightFinding(f"directory_{facts.step}", Severity.FATAL, found, remedy, Cause.CA_UNREACHABLE)]


_DIRECTORY = {
    DirectoryStep.DNS: (
        "the CA's host {host} can't be resolved on this server",
        "Look at this server's resolver (/etc/resolv.conf); it has to resolve names of the internet.",
    ),
    DirectoryStep.TCP: (
        "no connection to the CA's host {host} comes about",
        "Let this server connect to the internet on port 443 (firewall), or set HTTPS_PROXY for the service.",
    ),
    DirectoryStep.PROXY: (
        "the proxy that HTTPS_PROXY names does not let us reach {host}",
        "Have the proxy allow CONNECT to the CA's host, or correct HTTPS_PROXY.",
    ),
    DirectoryStep.TLS: (
        "the connection to {host} is not trusted",
        "A proxy that opens TLS, a wrong clock or old roots cause this; for your own CA name its root in acme.ca_file.",
    ),
    DirectoryStep.HTTP: (
        "{url} answers with an error",
        "See whether the CA announces a disturbance, or a proxy answers in its place.",
    ),
    DirectoryStep.CONTENT: (
        "what {url} answers is no ACME directory",
        "Check acme.directory; a proxy's own page looks like this too.",
    ),
}


def judge_order(names: Sequence[str], profile: str | None) -> list[PreflightFinding]:
    """What is wrong with the order itself."""
    limit = MAX_NAMES_BY_PROFILE.get(profile or "", MAX_NAMES)
    if len(names) <= limit:
        return []
    message = f"the site has {len(names)} names, {limit} fit into one certificate" + (
        f" of profile {profile}" if profile else ""
    )
    return [
        PreflightFinding(
            "too_many_names",
            Severity.FATAL,
            message,
            "Remove names, or split the site into several.",
            Cause.TOO_MANY_NAMES,
        )
    ]


def judge_name(
    facts: NameFacts, *, identities: Sequence[str] = (), account_url: str | None = None
) -> list[PreflightFinding]:
    """All that stands in the name's way; empty when the CA should succeed."""
    findings = _judge_addresses(facts)
    if not findings:
        findings += [finding for probe in facts.probes if (finding := _judge_probe(facts.name, probe)) is not None]
    return findings + judge_caa(facts.name, facts.caa, identities=identities, account_url=account_url)


def _judge_addresses(facts: NameFacts) -> list[PreflightFinding]:
    name, lookups = facts.name, {facts.ipv4, facts.ipv6}
    if Lookup.SERVER_FAILURE in lookups:
        return [
            PreflightFinding(
                "dns_server_failure",
                Severity.FATAL,
                f"the DNS answers SERVFAIL for {name}: its servers are broken, or its DNSSEC signatures are",
                "Have the zone's provider look at its servers and its DNSSEC (dnsviz.net shows what is wrong).",
                Cause.DNS,
                name,
            )
        ]
    if Lookup.NO_SUCH_NAME in lookups and Lookup.FOUND not in lookups:
        return [_no_address("no_such_name", f"the name {name} does not exist in the DNS", name)]
    if lookups == {Lookup.NO_DATA}:
        return [_no_address("no_address", f"{name} exists in the DNS but has neither an A nor an AAAA record", name)]
    if Lookup.TIMED_OUT in lookups and Lookup.FOUND not in lookups:
        return [
            PreflightFinding(
                "dns_timed_out",
                Severity.DOUBTFUL,
                f"no DNS server answered for {name}",
                "Look at this server's resolver, or name one in acme.resolver.",
                Cause.DNS,
                name,
            )
        ]
    return []


def _no_address(code: str, message: str, name: str) -> PreflightFinding:
    remedy = "Create an A (and AAAA) record that leads to this server, or remove the name from the site."
    return PreflightFinding(code, Severity.FATAL, message, remedy, Cause.NO_SUCH_NAME, name)


_UNANSWERED = frozenset({Answer.REFUSED, Answer.TIMED_OUT, Answer.UNREACHABLE})
_WORDS = {
    Answer.REFUSED: "refuses connections on port 80",
    Answer.TIMED_OUT: "does not answer on port 80",
    Answer.UNREACHABLE: "can't be reached from this server",
    Answer.NO_HTTP: "answers on port 80, but not in HTTP",
    Answer.WRONG: "answers on port 80, but it is not this edge",
    Answer.REDIRECT_LOOP: "redirects in a circle",
    Answer.TOO_MANY_REDIRECTS: "redirects more than ten times",
    Answer.REDIRECT_ELSEWHERE: "redirects to another server that is not this edge",
    Answer.REDIRECT_FORBIDDEN: "redirects to where no CA follows (only http and https on ports 80 and 443 are)",
}


def _judge_probe(name: str, probe: ProbeFacts) -> PreflightFinding | None:
    if probe.answer is Answer.OURS:
        return None
    is_private = not _is_public(probe.address)
    seen = f" ({probe.seen})" if probe.seen else ""
    message = f"{name} has the address {probe.address}, which {_WORDS[probe.answer]}{seen}"
    kind = "AAAA" if ":" in probe.address else "A"
    if probe.answer in _UNANSWERED:
        remedy = (
            f"Let port 80 of {probe.address} reach this server, or remove the {kind} record. From inside this may look "
            "worse than it is (NAT without hairpin, no IPv6 here): the CA is asked all the same."
        )
        return PreflightFinding(f"address_{probe.answer}", Severity.DOUBTFUL, message, remedy, Cause.CONNECTION, name)
    remedy = f"Point the {kind} record at this server, or remove it: the CA asks every address, IPv6 first."
    if is_private:
        remedy += " The address is a private one, so the CA may see another: it is asked all the same."
    severity = Severity.DOUBTFUL if is_private else Severity.FATAL
    return PreflightFinding(f"address_{probe.answer}", severity, message, remedy, Cause.WRONG_ANSWER, name)


def _is_public(address: str) -> bool:
    return ipaddress.ip_address(address).is_global


def failure_of(findings: Sequence[PreflightFinding]) -> Failure:
    """The fatal findings as one failure: the first leads, all names are at fault."""
    fatal = [finding for finding in findings if finding.severity is Severity.FATAL]
    names = tuple(dict.fromkeys(finding.name for finding in fatal if finding.name))
    detail = "; ".join(dict.fromkeys(finding.message for finding in fatal))
    return Failure(fatal[0].cause, detail, names)


def fatal_names(findings: Sequence[PreflightFinding]) -> set[str]:
    return {finding.name for finding in findings if finding.name and finding.severity is Severity.FATAL}
