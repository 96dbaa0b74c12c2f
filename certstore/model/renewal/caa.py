"""Whether CAA records (RFC 8659) let a CA issue for a name, with our challenge type and account (RFC 8657). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from certstore.model.renewal.failure import Cause
from certstore.model.renewal.preflight_facts import CaaFacts, Lookup, PreflightFinding, Severity
from certstore.model.text import listed, shown

_KNOWN_TAGS = frozenset({"issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"})


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why one record does not allow the order. `names_ca`: it does name our CA."""

    names_ca: bool
    rule: str
    remedy: str


def caa_findings(
    name: str, facts: CaaFacts, *, method: str, identities: Sequence[str], account_url: str | None
) -> list[PreflightFinding]:
    """`method` is the challenge type. `identities` are the CA's names in CAA records; whether the records allow a CA
    that does not publish them is doubtful."""
    if facts.lookup is Lookup.SERVER_FAILURE:
        message = f"the DNS answers SERVFAIL when asked for the CAA records of {name}, so no CA may issue for it"
        remedy = "Ask the zone's DNS provider to repair its servers or DNSSEC; they must answer CAA queries too."
        return [PreflightFinding("caa_server_failure", Severity.FATAL, message, remedy, Cause.DNS, name)]
    if facts.lookup is not Lookup.FOUND:
        return []
    unknown = sorted({shown(tag) for critical, tag, _ in facts.records if critical and tag.lower() not in _KNOWN_TAGS})
    if unknown:
        rule = f"contain the critical tag {unknown[0]!r}, which CAs do not know, so none may issue for {name}"
        return [_forbidden(name, facts, rule, "Remove that record, or clear its critical flag.")]
    tag, issue = _that_apply(name, facts)
    if not issue:
        return []
    if not identities:
        return [_unknown_ca(name, facts, issue)]
    obstacles = []
    for value in issue:
        obstacle = _obstacle(name, tag, value, method, identities, account_url)
        if obstacle is None:
            return []
        obstacles.append(obstacle)
    # A record that names our CA is closer to what the administrator wanted than one that names another.
    nearest = min(obstacles, key=lambda obstacle: not obstacle.names_ca)
    return [_forbidden(name, facts, nearest.rule, nearest.remedy)]


def _that_apply(name: str, facts: CaaFacts) -> tuple[str, list[str]]:
    """The tag and the values that decide: for a wildcard those of `issuewild`, if there are any (RFC 8659 §4.3)."""
    values = {tag: [value for _, each, value in facts.records if each.lower() == tag] for tag in ("issuewild", "issue")}
    tag = "issuewild" if name.startswith("*.") and values["issuewild"] else "issue"
    return tag, values[tag]


def _obstacle(
    name: str, tag: str, value: str, method: str, identities: Sequence[str], account_url: str | None
) -> _Obstacle | None:
    """None when this value of `issue` or `issuewild` allows the order (RFC 8659 §4.2, RFC 8657 §3 and §4)."""
    issuer, *rest = (part.strip() for part in value.split(";"))
    if issuer.lower().rstrip(".") not in {identity.lower() for identity in identities}:
        remedy = f'Add the record `CAA 0 {tag} "{identities[0]}"` there, or remove the CAA records.'
        return _Obstacle(False, f"allow {f'only {shown(issuer)}' if issuer else 'no CA'} to issue for {name}", remedy)
    for key, _, given in (part.partition("=") for part in rest if part):
        parameter, given = key.strip().lower(), given.strip()
        if parameter == "validationmethods" and method not in [each.strip().lower() for each in given.split(",")]:
            rule = f"allow this CA to issue for {name} only by {shown(given)}; this edge proves names by {method}"
            return _Obstacle(True, rule, f"Add {method} to the validationmethods there, or remove that parameter.")
        if parameter == "accounturi" and account_url is not None and given != account_url:
            rule = f"allow this CA to issue for {name} only to the account {shown(given)}; this edge has {account_url}"
            return _Obstacle(True, rule, "Put this edge's account into the accounturi there, or remove that parameter.")
    return None


def _unknown_ca(name: str, facts: CaaFacts, issue: Sequence[str]) -> PreflightFinding:
    issuers = [value.partition(";")[0].strip() for value in issue]
    allowed = f"only {listed([each for each in issuers if each])}" if any(issuers) else "no CA"
    message = (
        f"the CAA records at {facts.domain} allow {allowed} to issue for {name}, and the CA does not say its names"
    )
    remedy = "Check that these records allow your CA, by the name in its documentation. It is asked anyway."
    return PreflightFinding("caa_unknown", Severity.DOUBTFUL, message, remedy, Cause.CAA, name)


def _forbidden(name: str, facts: CaaFacts, rule: str, remedy: str) -> PreflightFinding:
    message = f"the CAA records at {facts.domain} {rule}"
    return PreflightFinding("caa_forbids", Severity.FATAL, message, remedy, Cause.CAA, name)
