"""The facts that a preflight gathers about a CA's directory and about names, and the findings that follow from them.

Plain values: `certstore.acme.preflight` gathers the facts, `preflight_findings` and `caa` make findings of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from certstore.model.renewal.failure import Cause
from certstore.model.renewal.standing_record import StandingOffer


class Severity(StrEnum):
    FATAL = "fatal"
    DOUBTFUL = "doubtful"


class Lookup(StrEnum):
    """How a DNS query ended. `NO_DATA`: the name exists, but has no such record."""

    FOUND = "found"
    NO_DATA = "no_data"
    NO_SUCH_NAME = "no_such_name"
    SERVER_FAILURE = "server_failure"
    TIMED_OUT = "timed_out"


class Answer(StrEnum):
    """How an address answered when asked for this edge's own token. `NOT_ASKED`: no CA could reach the address."""

    OURS = "ours"
    NOT_ASKED = "not_asked"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    NO_HTTP = "no_http"
    NO_TLS = "no_tls"
    WRONG = "wrong"
    REDIRECT_LOOP = "redirect_loop"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    REDIRECT_ELSEWHERE = "redirect_elsewhere"
    REDIRECT_FORBIDDEN = "redirect_forbidden"


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """One address of a name, and the port that was asked last. What another server said is nobody's business: a name's
    owner could point it at any server. `is_own`: this machine has the address; `node`: this other node of the cluster.
    """

    address: str
    answer: Answer
    port: int = 80
    is_own: bool = False
    node: str = ""


@dataclass(frozen=True, slots=True)
class CaaFacts:
    """The closest CAA record set (RFC 8659 §3), its domain, and how the search for it ended."""

    lookup: Lookup
    domain: str = ""
    records: tuple[tuple[bool, str, str], ...] = ()
    """(critical, tag, value)"""


@dataclass(frozen=True, slots=True)
class CannotProve:
    """Why a challenge type can't prove a name, and what to do. `is_missing`: because it is not set up."""

    reason: str
    remedy: str
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class WayFacts:
    """What was found about proving a name by one challenge type: how its addresses answered, and what the type itself
    has to say. `is_whole` is False where the time for the name was over before everything was asked.
    """

    type: str
    probes: tuple[ProbeFacts, ...] = ()
    findings: tuple[PreflightFinding, ...] = ()
    needs_addresses: bool = True
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What the DNS says about a name, whatever the way to prove it."""

    name: str
    ipv4: Lookup
    ipv6: Lookup
    caa: CaaFacts


class DirectoryStep(StrEnum):
    """The step towards the CA's directory that failed; `DONE` if none did."""

    DNS = "dns"
    TCP = "tcp"
    PROXY = "proxy"
    TLS = "tls"
    HTTP = "http"
    CONTENT = "content"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class DirectoryFacts:
    """`seen` is the error in words, `identities` the CA's names in CAA records (empty if it does not publish them),
    `standing` what it says about dns-persist-01."""

    url: str
    step: DirectoryStep
    seen: str = ""
    identities: tuple[str, ...] = ()
    standing: StandingOffer | None = None
    terms: str | None = None
    """Where its terms of service are, if it has any."""
    needs_external_account: bool = False


@dataclass(frozen=True, slots=True)
class PreflightFinding:
    """`name` is None where it is about the CA or the whole order. `remedy` says what to do."""

    code: str
    severity: Severity
    message: str
    remedy: str
    cause: Cause
    name: str | None = None
