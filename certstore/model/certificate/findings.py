"""What was found in certificates and keys that came in: the codes, and the messages for people.

A refusal means that nothing of the files is served; with a problem they are served, and the problem is noted. Messages
name files and host names, say what was found and what to do, and never quote a file's content.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Problem(StrEnum):
    """Noted; does not stop a certificate from being served."""

    MISSING_INTERMEDIATE = "missing_intermediate"
    SELF_SIGNED = "self_signed"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NAME_NOT_COVERED = "name_not_covered"
    INTERMEDIATE_EXPIRED = "intermediate_expired"
    INTERMEDIATE_NOT_YET_VALID = "intermediate_not_yet_valid"
    CLIENTS_REFUSE = "clients_refuse"
    MUST_STAPLE = "must_staple"
    MANY_NAMES = "many_names"
    RARE_KEY = "rare_key"
    LEFT_OUT = "left_out"
    CHAIN_COMPLETED = "chain_completed"
    UNUSABLE_NAME = "unusable_name"


class Refusal(StrEnum):
    """Nothing of the files is served. You may overrule those in `FORCIBLE`, because you might know better."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    INCOMPLETE_PEM = "incomplete_pem"
    NO_KEY = "no_key"
    NO_CERTIFICATE = "no_certificate"
    KEY_MISMATCH = "key_mismatch"
    ENCRYPTED_KEY = "encrypted_key"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105  # a code
    UNSUPPORTED_KEY = "unsupported_key"
    WEAK_KEY = "weak_key"
    WEAK_SIGNATURE = "weak_signature"
    BROKEN_SIGNATURE = "broken_signature"
    CA_LEAF = "ca_leaf"
    NOT_FOR_SERVERS = "not_for_servers"
    NO_DNS_NAMES = "no_dns_names"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_NAME = "wrong_name"
    CLIENTS_REFUSE = "clients_refuse"
    MISSING_INTERMEDIATE = "missing_intermediate"
    FAULT = "fault"
    UNSERVABLE = "unservable"


FORCIBLE = {
    Refusal.EXPIRED: Problem.EXPIRED,
    Refusal.NOT_YET_VALID: Problem.NOT_YET_VALID,
    Refusal.WRONG_NAME: Problem.NAME_NOT_COVERED,
    Refusal.CLIENTS_REFUSE: Problem.CLIENTS_REFUSE,
    Refusal.MISSING_INTERMEDIATE: Problem.MISSING_INTERMEDIATE,
}
"""The refusals that `force` overrules, and the problem that each one becomes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. `code` is a `Problem` or a `Refusal`; `message` also says what to do."""

    code: str
    message: str
    is_forcible: bool = False

    def to_json(self) -> dict[str, str]:
        return {"code": str(self.code), "message": self.message}


@dataclass(frozen=True, slots=True)
class Piece:
    """Something in a file that is of no use: a reason to refuse where it may be what is missing, else only a note.

    `found` is what it is, with the file's name; `remedy` is what to do when it is needed.
    """

    code: str
    found: str
    remedy: str = ""

    def as_refusal(self) -> Finding:
        return Finding(self.code, f"{self.found}; {self.remedy}" if self.remedy else self.found)

    def as_note(self) -> Finding:
        return Finding(Problem.LEFT_OUT, f"{self.found}; the certificate and its key are whole without it")


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was accepted, for all these reasons (at least one)."""

    findings: tuple[Finding, ...]

    @property
    def is_forcible(self) -> bool:
        """Whether `force` would overrule it: that needs every reason to be in `FORCIBLE`."""
        return all(finding.is_forcible for finding in self.findings)

    @property
    def message(self) -> str:
        return "; ".join(finding.message for finding in self.findings)


def refusal(code: Refusal, message: str) -> Finding:
    return Finding(code, message, is_forcible=code in FORCIBLE)
