"""What a preflight gathers about a CA's directory and about names, and the form of what is concluded from it.

Plain values: `certstore.acme.preflight` fills the facts, `preflight_findings` and `caa` judge them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from certstore.model.renewal.failure import Cause


class Severity(StrEnum):
    FATAL = "fatal"
    DOUBTFUL = "doubtful"


class Lookup(StrEnum):
    """How asking the DNS ended. `NO_DATA`: the name exists and has no such record."""

    FOUND = "found"
    NO_DATA = "no_data"
    NO_SUCH_NAME = "no_such_name"
    SERVER_FAILURE = "server_failure"
    TIMED_OUT = "timed_out"


class Answer(StrEnum):
    """What an address said when it was asked for this edge's own token on port 80."""

    OURS = "ours"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    NO_HTTP = "no_http"
    WRONG = "wrong"
    REDIRECT_LOOP = "redirect_loop"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    REDIRECT_ELSEWHERE = "redirect_elsewhere"
    REDIRECT_FORBIDDEN = "redirect_forbidden"


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """One address of a name. `seen` is what came, in words: a status, where a redirect led."""

    address: str
    answer: Answer
    seen: str = ""
    port: int = 80


@dataclass(frozen=True, slots=True)
class CaaFacts:
    """The closest CAA set (RFC 8659 §3), the domain it stands at, and how the climb to it ended."""

    lookup: Lookup
    domain: str = ""
    records: tuple[tuple[bool, str, str], ...] = ()
    """(critical, tag, value)"""


@dataclass(frozen=True, slots=True)
class NameFacts:
    name: str
    ipv4: Lookup
    ipv6: Lookup
    probes: tuple[ProbeFacts, ...]
    caa: CaaFacts


class DirectoryStep(StrEnum):
    """How far towards the CA's directory we came: the step that failed."""

    DNS = "dns"
    TCP = "tcp"
    PROXY = "proxy"
    TLS = "tls"
    HTTP = "http"
    CONTENT = "content"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class DirectoryFacts:
    """`seen` is the error in words; `identities` the CA's names in CAA records (empty: it does not say)."""

    url: str
    step: DirectoryStep
    seen: str = ""
    identities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreflightFinding:
    """`name` None: it is about the CA or the whole order. `remedy` is what to do."""

    code: str
    severity: Severity
    message: str
    remedy: str
    cause: Cause
    name: str | None = None
