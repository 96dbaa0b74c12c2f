"""Why an order failed: the causes, which of them only a person can remove, and what that person has to do.

One `Failure` feeds the site's record, `status`, metrics and mail. It holds text for people, never a key or a token.
Knows nothing of protocols: `acme_problems` and `preflight_findings` turn what was found into a cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from certstore.model.json_facts import Kept


class Cause(StrEnum):
    CA_UNREACHABLE = "ca_unreachable"
    CA_ERROR = "ca_error"
    RATE_LIMITED = "rate_limited"
    PAUSED = "paused"
    TERMS = "terms"
    EXTERNAL_ACCOUNT = "external_account"
    ACCOUNT = "account"
    REJECTED_NAME = "rejected_name"
    NO_SUCH_NAME = "no_such_name"
    DNS = "dns"
    DNS_PROVIDER = "dns_provider"
    CAA = "caa"
    CONNECTION = "connection"
    WRONG_ANSWER = "wrong_answer"
    TOO_MANY_NAMES = "too_many_names"
    OWN_LISTENER = "own_listener"
    REQUEST_REFUSED = "request_refused"
    INTAKE = "intake"
    STORAGE = "storage"
    CLUSTER = "cluster"
    SETTINGS = "settings"
    INTERNAL = "internal"


_ONLY_A_PERSON = frozenset({
    Cause.PAUSED, Cause.TERMS, Cause.EXTERNAL_ACCOUNT, Cause.ACCOUNT, Cause.REJECTED_NAME, Cause.NO_SUCH_NAME,
    Cause.CAA, Cause.TOO_MANY_NAMES, Cause.SETTINGS, Cause.STORAGE,
})  # fmt: skip
_AT_THE_CA = frozenset(
    {Cause.CA_UNREACHABLE, Cause.CA_ERROR, Cause.RATE_LIMITED, Cause.PAUSED, Cause.REJECTED_NAME, Cause.ACCOUNT}
)

REMEDIES: Mapping[Cause, str] = {
    Cause.CA_UNREACHABLE: "Let this server reach the CA on port 443: check firewall, proxy, DNS and clock.",
    Cause.CA_ERROR: "Nothing to do for now: the fault is at the CA, and certedge tries again.",
    Cause.RATE_LIMITED: "Nothing to do for now: certedge tries again when the CA's limit allows it.",
    Cause.PAUSED: "The CA has paused orders for this name: open the CA's link below and unpause it.",
    Cause.TERMS: "Read the CA's terms of service, then run: certedge account register --agree-to-terms",
    Cause.EXTERNAL_ACCOUNT: "Put the key ID and the HMAC key that the CA gave you into acme.external_account.",
    Cause.ACCOUNT: "Check the account with: certedge account show",
    Cause.REJECTED_NAME: "The CA does not issue for this name: remove it from the site, or use another CA.",
    Cause.NO_SUCH_NAME: "Create an A or AAAA record for the name, or remove the name from the site.",
    Cause.DNS: "Check the name's DNS servers and DNSSEC (dnsviz.net helps): the CA gets no valid answer from them.",
    Cause.DNS_PROVIDER: "Check the DNS server, provider or program that acme.dns names: the record is not in the zone.",
    Cause.CAA: "Allow this CA in the zone's CAA records, and account and challenge type where they restrict them.",
    Cause.CONNECTION: "Make port 80 of this server, or 443, reachable from the internet at every address of the name.",
    Cause.WRONG_ANSWER: "Point every A and AAAA record of the name to this server: another one answered the CA.",
    Cause.TOO_MANY_NAMES: "Remove names from the site, or split it into several sites.",
    Cause.OWN_LISTENER: "Check that edge.yaml has a listener of kind http, and that the service runs: certedge status",
    Cause.REQUEST_REFUSED: "Read the CA's message: it may not offer the site's profile or key type.",
    Cause.INTAKE: "The store rejected what the CA sent. See the site's problems with: certedge site show SITE",
    Cause.STORAGE: "Free space on the store's disk, and check that the service may write there.",
    Cause.CLUSTER: "Let this node reach the cluster's engine; see: certedge cluster status",
    Cause.SETTINGS: "Correct the setting that the message names.",
    Cause.INTERNAL: "Read the log of the control process and report the fault; certedge tries again.",
}


def what_only_you_can_do(reason: str) -> str | None:
    """The remedy for a kept attempt's reason; None where waiting may help, or the reason is of another kind."""
    return REMEDIES[Cause(reason)] if reason in _ONLY_A_PERSON else None


@dataclass(frozen=True, slots=True)
class Failure(Kept):
    """One failed attempt. `names` are those at fault, and empty where names are not the reason; `detail` is for people.

    `retry_after` is the earliest time at which the CA wants to be asked again, `link` a page of the CA for the
    administrator. `advice` says what to do where more is known than the cause.
    """

    cause: Cause
    detail: str
    names: tuple[str, ...] = ()
    retry_after: datetime | None = None
    link: str | None = None
    advice: str = ""

    @property
    def needs_person(self) -> bool:
        """Waiting does not help."""
        return self.cause in _ONLY_A_PERSON

    @property
    def is_at_ca(self) -> bool:
        """Another CA may issue where this one did not."""
        return self.cause in _AT_THE_CA

    @property
    def remedy(self) -> str:
        return self.advice or REMEDIES[self.cause]
