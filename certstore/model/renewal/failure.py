"""Why an order failed: the causes, whether only a person can mend them, and what that person has to do.

One `Failure` feeds the site's record, `status`, metrics and mail. Holds words for people, never a key or a token.
Knows nothing of protocols: `acme_problems` and `preflight_findings` turn what was found into a cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Cause(StrEnum):
    """What kind of thing went wrong."""

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
    CAA = "caa"
    CONNECTION = "connection"
    WRONG_ANSWER = "wrong_answer"
    TOO_MANY_NAMES = "too_many_names"
    OWN_LISTENER = "own_listener"
    REQUEST_REFUSED = "request_refused"
    INTAKE = "intake"
    STORAGE = "storage"
    SETTINGS = "settings"
    INTERNAL = "internal"


_ONLY_A_PERSON = frozenset(
    {
        Cause.PAUSED,
        Cause.TERMS,
        Cause.EXTERNAL_ACCOUNT,
        Cause.ACCOUNT,
        Cause.REJECTED_NAME,
        Cause.NO_SUCH_NAME,
        Cause.CAA,
        Cause.TOO_MANY_NAMES,
        Cause.SETTINGS,
        Cause.STORAGE,
    }
)
_AT_THE_CA = frozenset(
    {Cause.CA_UNREACHABLE, Cause.CA_ERROR, Cause.RATE_LIMITED, Cause.PAUSED, Cause.REJECTED_NAME, Cause.ACCOUNT}
)

REMEDIES: Mapping[Cause, str] = {
    Cause.CA_UNREACHABLE: "Let this server reach the CA's address on port 443 (firewall, proxy, DNS, clock).",
    Cause.CA_ERROR: "Nothing to do now: the CA has a fault of its own and is tried again.",
    Cause.RATE_LIMITED: "Nothing to do now: the CA's limit is waited for.",
    Cause.PAUSED: "Open the CA's link below and let it issue for the name again.",
    Cause.TERMS: "Read the CA's terms of service, then run: certedge account register --agree-to-terms",
    Cause.EXTERNAL_ACCOUNT: "Put the key id and the HMAC key that the CA gave you into acme.external_account.",
    Cause.ACCOUNT: "Look at the account with: certedge account show",
    Cause.REJECTED_NAME: "The CA does not issue for this name: remove it from the site or use another CA.",
    Cause.NO_SUCH_NAME: "Create the name's A or AAAA record, or remove the name from the site.",
    Cause.DNS: "Have the name's DNS servers or its DNSSEC looked at; the CA gets no valid answer from them.",
    Cause.CAA: "Allow this CA (and this account and http-01, where they are named) in the zone's CAA records.",
    Cause.CONNECTION: "Let the internet reach this server on port 80 at every address that the name has.",
    Cause.WRONG_ANSWER: "Point every A and AAAA record of the name at this server; another one answered on port 80.",
    Cause.TOO_MANY_NAMES: "Remove names from the site, or split it into several sites.",
    Cause.OWN_LISTENER: "Add a listener of kind http to edge.yaml, and see with `certedge status` that it runs.",
    Cause.REQUEST_REFUSED: "Look at the CA's message; the site's profile or key type may be one it does not offer.",
    Cause.INTAKE: "Look at the site with: certedge site show; what the CA sent was not accepted.",
    Cause.STORAGE: "Free space on the store's disk, and see that the service may write there.",
    Cause.SETTINGS: "Correct the setting that is named.",
    Cause.INTERNAL: "Look at the log of the control process; it is tried again.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt. `names` are those at fault (empty: not a matter of names), `detail` is for people.

    `retry_after` is the earliest instant the CA wants to be asked again, `link` a page it points the person to.
    """

    cause: Cause
    detail: str
    names: tuple[str, ...] = ()
    retry_after: datetime | None = None
    link: str | None = None

    @property
    def needs_person(self) -> bool:
        """No amount of waiting mends it."""
        return self.cause in _ONLY_A_PERSON

    @property
    def is_at_ca(self) -> bool:
        """Another CA might well issue where this one did not."""
        return self.cause in _AT_THE_CA

    @property
    def remedy(self) -> str:
        return REMEDIES[self.cause]

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"cause": self.cause.value, "detail": self.detail}
        if self.names:
            facts["names"] = list(self.names)
        if self.retry_after is not None:
            facts["retry_after"] = self.retry_after.isoformat()
        if self.link is not None:
            facts["link"] = self.link
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Failure:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError on anything else."""
        retry_after = facts.get("retry_after")
        return cls(
            Cause(facts["cause"]),
            facts["detail"],
            tuple(facts.get("names", ())),
            datetime.fromisoformat(retry_after) if retry_after else None,
            facts.get("link"),
        )
