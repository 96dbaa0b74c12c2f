"""`certedge cert show`: everything about one version of a site, from its files."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certstore.cli.certificates import edge_with_site
from certstore.cli.completion import SiteKey
from certstore.cli.context import AsJson, Config, argument
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import reader, status
from certstore.cli.output import BAD, WARNING, Cell, print_facts, print_json, print_lines, remaining, utc
from certstore.files.clock import utc_now
from certstore.model.layout import FULLCHAIN, FULLCHAIN_RSA

if TYPE_CHECKING:
    from certstore.model.certificate.x509_facts import CertificateFacts


@dataclass(frozen=True, slots=True)
class _Shown:
    """A certificate and what servers send after it, as clients get them."""

    pem: str
    leaf: CertificateFacts
    chain: tuple[CertificateFacts, ...]

    @property
    def tlsa(self) -> str:
        """The association data of a TLSA record 3 1 1 (RFC 6698 §2.1): it changes only with the key."""
        return hashlib.sha256(self.leaf.spki).hexdigest()

    def to_json(self) -> dict[str, Any]:
        leaf = self.leaf
        return {
            "names": list(leaf.dns_names),
            "subject": _subject(leaf),
            "issuer": leaf.issuer_text,
            "serial": leaf.serial,
            "not_before": leaf.not_before.isoformat(),
            "not_after": leaf.not_after.isoformat(),
            "key": f"{leaf.key_kind} {leaf.key_bits}",
            "fingerprint": leaf.fingerprint,
            "tlsa_3_1_1": self.tlsa,
            "chain": [
                {"subject": _subject(each), "issuer": each.issuer_text, "not_after": each.not_after.isoformat()}
                for each in self.chain
            ],
            "pem": self.pem,
        }


def show(
    site: SiteKey,
    version: Annotated[int | None, argument("VERSION", "The version (default: the live one).", min=1)] = None,
    pem: Annotated[bool, typer.Option("--pem", help="Print certificate and chain in PEM, and nothing else.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show a certificate as clients get it: names, validity, chain, fingerprint, and its TLSA record for DANE."""
    attempted = f"show the certificate of {site}"
    edge = edge_with_site(site, config, attempted)
    known = status.history(reader.Store(edge.layout), site)
    wanted = (each for each in known if (each.is_live if version is None else each.version.number == version))
    facts = next(wanted, None)
    if facts is None:
        which = "no live certificate: clients get the main one" if version is None else f"no version {version}"
        raise CommandFailed(attempted, f"{site} has {which}", f"see: certedge cert history {site}", Exit.FAILED)
    folder = edge.layout.version(site, facts.version.number)
    names = [FULLCHAIN] + ([FULLCHAIN_RSA] if facts.version.has_rsa_pair else [])
    shown = [_read((folder / name).read_bytes()) for name in names]
    if as_json:
        print_json({"site": site, **facts.to_json(), "certificates": [each.to_json() for each in shown]})
    elif pem:
        sys.stdout.write("".join(each.pem for each in shown))
    else:
        _print(site, facts, shown)


def _read(content: bytes) -> _Shown:
    from certstore.model.certificate.x509_facts import read_pem

    leaf, *chain = read_pem(content)
    return _Shown(content.decode("ascii"), leaf, tuple(chain))


def _print(site: str, facts: status.VersionFacts, shown: list[_Shown]) -> None:
    version, revoked = facts.version, facts.revocation
    pairs: list[tuple[str, str | Cell]] = [
        ("site", site),
        ("version", f"{version.number}{' (live)' if facts.is_live else ''}"),
        ("made", f"{utc(version.made_at)} from {version.source}"),
    ]
    if revoked is not None:
        pairs.append(("revoked", Cell(f"{utc(revoked.at)} at {revoked.ca} ({revoked.reason})", BAD)))
    print_facts(pairs)
    for each in shown:
        leaf = each.leaf
        left = remaining(leaf.not_after, utc_now())
        print_lines("")
        print_facts(
            [
                ("names", " ".join((*leaf.dns_names, *leaf.other_names))),
                ("subject", _subject(leaf)),
                ("issuer", leaf.issuer_text),
                ("serial", leaf.serial),
                ("valid from", utc(leaf.not_before)),
                ("valid until", Cell(f"{utc(leaf.not_after)} ({left})", BAD if left == "expired" else "")),
                ("key", f"{leaf.key_kind} {leaf.key_bits}"),
                ("SHA-256", leaf.fingerprint),
                ("TLSA 3 1 1", each.tlsa),
                *(
                    ("chain" if position == 0 else "then", f"{_subject(link)} (until {link.not_after:%Y-%m-%d})")
                    for position, link in enumerate(each.chain)
                ),
            ]
        )
    print_lines(*(Cell(f"problem: {problem.message}", WARNING) for problem in version.problems))


def _subject(facts: CertificateFacts) -> str:
    from certstore.model.certificate.x509_names import name_text

    return name_text(facts.fields.subject)
