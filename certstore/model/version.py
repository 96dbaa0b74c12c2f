"""One version of a site as its `meta.json` describes it. Values only: `store.versions` reads and writes the files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certstore.model.certificate.bundle import KeyPair
from certstore.model.certificate.findings import Finding
from certstore.model.snapshot import ServedCertificate


@dataclass(frozen=True, slots=True)
class Version:
    """The content of `meta.json`. `digest` stands for all files of the version; `source` is where it came from."""

    site: str
    number: int
    made_at: datetime
    source: str
    digest: str
    fingerprint: str
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    issuer: str
    serial: str
    key_kind: str
    key_bits: int
    is_self_signed: bool
    chain_length: int
    has_rsa_pair: bool
    problems: tuple[Finding, ...]

    @property
    def served(self) -> ServedCertificate:
        facts = {name: getattr(self, name) for name in ServedCertificate.__slots__ if name != "version"}
        return ServedCertificate(version=self.number, **facts)

    def to_json(self) -> dict[str, Any]:
        """Everything but `site` and `number`, which the folder's path already holds."""
        facts = {name: getattr(self, name) for name in self.__slots__ if name not in ("site", "number", "problems")}
        facts |= {name: facts[name].isoformat() for name in ("made_at", "not_before", "not_after")}
        return facts | {
            "dns_names": list(self.dns_names),
            "problems": [[problem.code, problem.message] for problem in self.problems],
        }

    @classmethod
    def from_json(cls, site: str, number: int, facts: dict[str, Any]) -> Version:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError on anything else."""
        times = {name: datetime.fromisoformat(facts[name]) for name in ("made_at", "not_before", "not_after")}
        plain = {name: facts[name] for name in cls.__slots__ if name in facts}
        problems = tuple(Finding(code, message) for code, message in facts["problems"])
        return cls(
            **{**plain, **times, "dns_names": tuple(facts["dns_names"]), "problems": problems}, site=site, number=number
        )


def chain_length(pair: KeyPair) -> int:
    """How many intermediates follow the leaf."""
    return pair.chain_pem.count(b"-----BEGIN CERTIFICATE-----")
