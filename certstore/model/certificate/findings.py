"""What was found in certificates and keys that came in: the codes, and the words for people.

A refusal means that nothing of the drop is served; a problem is noted and served all the same. Messages name files and
names, say what was found and what to do, and never hold anything out of a file. Knows nothing of how things are found.
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


class Refusal(StrEnum):
    """Nothing of the drop is served. Those in `FORCIBLE` a person may overrule, because the person might be right."""

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


FORCIBLE = {
    Refusal.EXPIRED: Problem.EXPIRED,
    Refusal.NOT_YET_VALID: Problem.NOT_YET_VALID,
    Refusal.WRONG_NAME: Problem.NAME_NOT_COVERED,
}
"""The refusals that `force` turns into a problem, and into which."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `code` is a `Problem` or a `Refusal`, `message` plain words with what to do."""

    code: str
    message: str
    is_forcible: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was accepted, for all these reasons (at least one)."""

    findings: tuple[Finding, ...]

    @property
    def is_forcible(self) -> bool:
        """Whether `force` would have let it through: every reason has to be one that a person may overrule."""
        return all(finding.is_forcible for finding in self.findings)

    @property
    def message(self) -> str:
        return "; ".join(finding.message for finding in self.findings)


def refusal(code: Refusal, message: str) -> Finding:
    return Finding(code, message, is_forcible=code in FORCIBLE)
