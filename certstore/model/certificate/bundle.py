"""From files to a `CertificateBundle`: which key belongs to which certificate, and whether the pair may be served.

`read_bundle` is the one gate for everything that comes in (drops, uploads, answers of a CA). It takes bytes, the names
of the site and the time; it never raises, and never puts a private key into a message. Knows no paths and no store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from certstore.model.certificate.chain import Chain, order_chain
from certstore.model.certificate.checks import chain_problems, check_chain, check_pair
from certstore.model.certificate.contents import Contents, FoundKey, Unlock, read_contents, unlock_here
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import FORCIBLE, Finding, Refusal, Refused, refusal
from certstore.model.certificate.key_form import stored_key
from certstore.model.certificate.pem import to_pem
from certstore.model.certificate.x509_facts import CertificateFacts
from certstore.model.text import listed

__all__ = ["CertificateBundle", "DroppedFile", "KeyPair", "Refused", "choose_bundle", "read_bundle"]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A leaf, its key, and the chain that a server sends after it (intermediates only, in order, maybe empty)."""

    privkey_pem: bytes = field(repr=False)
    cert_pem: bytes = field(repr=False)
    chain_pem: bytes = field(repr=False)
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str
    key_kind: Literal["ec", "rsa"]
    key_bits: int
    issuer: str
    serial: str
    is_self_signed: bool

    @property
    def fullchain_pem(self) -> bytes:
        return self.cert_pem + self.chain_pem

    @property
    def combined_pem(self) -> bytes:
        """Key, leaf, chain in one file."""
        return self.privkey_pem + self.fullchain_pem


@dataclass(frozen=True, slots=True)
class CertificateBundle:
    """What one version of a site holds. `rsa` is only there beside an EC `primary` with the same names."""

    primary: KeyPair
    rsa: KeyPair | None
    problems: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A leaf with its key, and what speaks against it."""

    leaf: CertificateFacts
    key: FoundKey = field(repr=False)
    findings: tuple[Finding, ...]


def read_bundle(
    files: Iterable[DroppedFile],
    *,
    password: bytes | None = None,
    now: datetime,
    names: Collection[str] = (),
    force: bool = False,
    unlock: Unlock = unlock_here,
) -> CertificateBundle | Refused:
    """The newest acceptable pair in the files with its chain, or every reason why there is none.

    `names` are those that the site declares, in normal form: a certificate that covers none of them is refused.
    `force` turns what a person may overrule (`FORCIBLE`) into problems. `unlock` opens PKCS #12 files and
    encrypted keys; for files of other people, give one that bounds the work.
    """
    return choose_bundle(read_contents(files, password, unlock), now=now, names=names, force=force)


def choose_bundle(
    contents: Contents, *, now: datetime, names: Collection[str] = (), force: bool = False
) -> CertificateBundle | Refused:
    """The second half of `read_bundle`: decides about contents that were read before, perhaps again for other names or
    with `force`.
    """
    if contents.faults:
        return Refused(contents.faults)
    candidates = _candidates(contents, now, names, force=force)
    if not candidates:
        return Refused((_why_no_pair(contents),))
    chosen = max(candidates, key=_preference)
    if _refusals(chosen):
        return Refused(_refusals(chosen))
    pairs = [chosen]
    if (companion := _companion(chosen, candidates)) is not None:
        pairs.append(companion)
    return _assembled(pairs, contents, now)


def _candidates(contents: Contents, now: datetime, names: Collection[str], *, force: bool) -> list[_Candidate]:
    candidates = []
    for leaf, file in contents.certificates.items():
        if (key := contents.keys.get(leaf.spki)) is not None:
            findings = check_pair(leaf, key.key, file, now, names)
            candidates.append(_Candidate(leaf, key, tuple(_forced(each) if force else each for each in findings)))
    return candidates


def _forced(finding: Finding) -> Finding:
    return Finding(FORCIBLE[Refusal(finding.code)], finding.message) if finding.is_forcible else finding


def _refusals(candidate: _Candidate) -> tuple[Finding, ...]:
    return tuple(each for each in candidate.findings if isinstance(each.code, Refusal))


def _preference(candidate: _Candidate) -> tuple[bool, bool, bool, datetime, datetime]:
    """Acceptable before refused, faultless before forced, a leaf before a CA; then the newest."""
    is_faultless = not any(each.code in FORCIBLE.values() for each in candidate.findings)
    leaf = candidate.leaf
    return not _refusals(candidate), is_faultless, not leaf.is_ca, leaf.not_before, leaf.not_after


def _companion(chosen: _Candidate, candidates: list[_Candidate]) -> _Candidate | None:
    """The newest acceptable pair of the other key kind with exactly the same names."""
    others = [
        each
        for each in candidates
        if each.leaf.key_kind != chosen.leaf.key_kind
        and set(each.leaf.dns_names) == set(chosen.leaf.dns_names)
        and not each.findings
    ]
    return max(others, key=_preference, default=None)


def _assembled(pairs: list[_Candidate], contents: Contents, now: datetime) -> CertificateBundle | Refused:
    chains = [order_chain(each.leaf, contents.certificates, now) for each in pairs]
    refused = [found for pair, chain in zip(pairs, chains, strict=True) for found in check_chain(pair.leaf, chain)]
    if refused:
        return Refused(tuple(dict.fromkeys(refused)))
    problems = dict.fromkeys(pairs[0].findings)
    for pair, chain in zip(pairs, chains, strict=True):
        problems |= dict.fromkeys(chain_problems(pair.leaf, chain, now))
    made = {pair.leaf.key_kind: _key_pair(pair, chain) for pair, chain in zip(pairs, chains, strict=True)}
    primary = made.get("ec") or made["rsa"]
    return CertificateBundle(primary, made.get("rsa") if "ec" in made else None, tuple(problems))


def _key_pair(candidate: _Candidate, chain: Chain) -> KeyPair:
    leaf = candidate.leaf
    return KeyPair(
        privkey_pem=stored_key(candidate.key.key, candidate.key.came_as, leaf.der),
        cert_pem=to_pem("CERTIFICATE", leaf.der),
        chain_pem=b"".join(to_pem("CERTIFICATE", each.der) for each in chain.intermediates),
        dns_names=leaf.dns_names,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        fingerprint=leaf.fingerprint,
        key_kind="ec" if leaf.key_kind == "ec" else "rsa",
        key_bits=leaf.key_bits,
        issuer=leaf.issuer_text,
        serial=f"{leaf.certificate.serial_number:x}",
        is_self_signed=chain.is_self_signed,
    )


def _why_no_pair(contents: Contents) -> Finding:
    """No certificate and key belong together: what is missing?"""
    where = f" (not recognised: {listed(contents.ignored)})" if contents.ignored else ""
    if contents.is_empty:
        return refusal(Refusal.EMPTY, "there is no content; a certificate and its private key are expected")
    if contents.locked:
        return contents.locked[0]
    if not contents.certificates and not contents.keys:
        return refusal(
            Refusal.UNREADABLE,
            f"neither a certificate nor a private key was found{where}; put both there, as PEM, DER or PKCS #12",
        )
    if not contents.keys:
        certificate = listed([each.label for each in contents.certificates])
        return refusal(
            Refusal.NO_KEY, f"the private key for the certificate of {certificate} is missing{where}; add it"
        )
    key_files = listed(list(dict.fromkeys(key.file for key in contents.keys.values())))
    if not contents.certificates:
        return refusal(
            Refusal.NO_CERTIFICATE, f"the certificate for the private key in {key_files} is missing{where}; add it"
        )
    certificates = listed([f"{each.label} in {file}" for each, file in contents.certificates.items()])
    return refusal(
        Refusal.KEY_MISMATCH,
        f"the private key in {key_files} belongs to none of the certificates ({certificates}); "
        "use the key that the certificate was requested with",
    )
