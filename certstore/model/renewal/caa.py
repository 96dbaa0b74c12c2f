"""Whether CAA records (RFC 8659) let a CA issue for a name, by http-01 and for our account (RFC 8657). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from certstore.model.renewal.failure import Cause
from certstore.model.renewal.preflight_facts import CaaFacts, Lookup, PreflightFinding, Severity

_KNOWN_TAGS = frozenset({"issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"})
_METHOD = "http-01"


def judge_caa(
    name: str, facts: CaaFacts, *, identities: Sequence[str], account_url: str | None
) -> list[PreflightFinding]:
    """`identities` are the CA's names in CAA records; when the CA does not say them, who is allowed can't be judged."""
    if facts.lookup is Lookup.SERVER_FAILURE:
        message = f"the DNS answers SERVFAIL when asked for the CAA records of {name}; a CA must refuse then"
        remedy = "Have the zone's provider mend its DNS servers or DNSSEC: they must answer for CAA too."
        return [PreflightFinding("caa_server_failure", Severity.FATAL, message, remedy, Cause.DNS, name)]
    if facts.lookup is not Lookup.FOUND:
        return []
    unknown = sorted({tag for critical, tag, _ in facts.records if critical and tag.lower() not in _KNOWN_TAGS})
    if unknown:
        return [_forbidden(name, facts, f"a critical record {unknown[0]!r} that CAs do not understand")]
    issue = [value for _, tag, value in facts.records if tag.lower() == "issue"]
    if not issue or not identities:
        return []
    reasons = [_obstacle(value, identities, account_url) for value in issue]
    if None in reasons:
        return []
    # What stops the record that names our CA says more than that others do not name it.
    told = sorted((reason for reason in reasons if reason is not None), key=lambda reason: reason.startswith("only"))
    return [_forbidden(name, facts, told[0])]


def _obstacle(value: str, identities: Sequence[str], account_url: str | None) -> str | None:
    """Why this `issue` value does not allow us; None when it does (RFC 8659 §4.2, RFC 8657 §3 and §4)."""
    issuer, *rest = (part.strip() for part in value.split(";"))
    if issuer.lower().rstrip(".") not in {identity.lower() for identity in identities}:
        return f"only {issuer}" if issuer else "only nobody"
    parameters = [part.partition("=") for part in rest if part]
    for key, _, given in parameters:
        if key.strip().lower() == "validationmethods" and _METHOD not in [
            method.strip().lower() for method in given.split(",")
        ]:
            return f"the validation methods {given.strip()}, and http-01 is not among them"
        if key.strip().lower() == "accounturi" and account_url is not None and given.strip() != account_url:
            return f"the account {given.strip()}, and ours is {account_url}"
    return None


def _forbidden(name: str, facts: CaaFacts, allowed: str) -> PreflightFinding:
    message = f"the CAA records at {facts.domain} allow {allowed} for {name}"
    remedy = "Add a CAA record that allows this CA, or remove the CAA records."
    return PreflightFinding("caa_forbids", Severity.FATAL, message, remedy, Cause.CAA, name)
