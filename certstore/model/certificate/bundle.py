"""From files to a `CertificateBundle`: which key belongs to which certificate, and whether the pair may be served.

`read_bundle` is the one gate for everything that comes in (drops, uploads, answers of a CA). It takes bytes, the names
of the site and the time; it never raises, and never puts a private key into a message. Knows no paths and no store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from certstore.model.certificate.chain import Chain, order_chain
from certstore.model.certificate.checks import chain_problems, check_chain, check_pair, explicit_curve
from certstore.model.certificate.contents import Contents, FoundKey, NotNow, Unlock, read_contents, unlock_here
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import FORCIBLE, Finding, Piece, Problem, Refusal, Refused, refusal
from certstore.model.certificate.key_form import stored_key
from certstore.model.certificate.pem import to_pem
from certstore.model.certificate.x509_facts import CertificateFacts
from certstore.model.text import listed, shown

__all__ = ["CertificateBundle", "DroppedFile", "KeyPair", "Refused", "choose_bundle", "read_bundle"]


type Archive = Callable[[], Iterable[CertificateFacts]]
"""Certificates that were served before, for a leaf that comes without its chain. Asked only then."""


def no_archive() -> Iterable[CertificateFacts]:
    return ()


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
    unread: Collection[Finding] = (),
    archive: Archive = no_archive,
) -> CertificateBundle | Refused:
    """The newest acceptable pair in the files with its chain, or every reason why there is none.

    `names` are those that the site declares, in normal form: a certificate that covers none of them is refused.
    `force` turns what a person may overrule (`FORCIBLE`) into problems. `unlock` opens PKCS #12 files and
    encrypted keys; for files of other people, give one that bounds the work. `unread` tells what lies beside the files
    and could not be read.
    """
    try:
        contents = read_contents(files, password, unlock)
        beside = tuple(Piece(each.code, each.message) for each in unread)
        contents = replace(contents, pieces=(*beside, *contents.pieces))
    except (MemoryError, OSError, NotNow):
        raise
    except Exception as error:  # noqa: BLE001  a stranger's bytes: whatever happens is a reason, never silence
        return _fault(error)
    return choose_bundle(contents, now=now, names=names, force=force, archive=archive)


def choose_bundle(
    contents: Contents,
    *,
    now: datetime,
    names: Collection[str] = (),
    force: bool = False,
    archive: Archive = no_archive,
    needs_chain: bool = False,
) -> CertificateBundle | Refused:
    """The second half of `read_bundle`: decides about contents that were read before, perhaps again for other names or
    with `force`. `needs_chain`: somebody is there who can be asked for the intermediate certificate if it is missing.
    """
    try:
        return _chosen(contents, now, names, archive, force=force, needs_chain=needs_chain)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  as above
        return _fault(error)


def _fault(error: Exception) -> Refused:
    message = (
        f"the files could not be judged because of a fault of this program ({type(error).__name__}); please report it, "
        "with the certificates but without the key"
    )
    return Refused((refusal(Refusal.FAULT, message),))


def _chosen(
    contents: Contents, now: datetime, names: Collection[str], archive: Archive, *, force: bool, needs_chain: bool
) -> CertificateBundle | Refused:
    if contents.faults:
        return Refused(contents.faults)
    candidates = _candidates(contents, now, names, force=force)
    if not candidates:
        return Refused(_why_no_pair(contents))
    chosen = max(candidates, key=_preference)
    if _refusals(chosen):
        return Refused(_refusals(chosen))
    pairs = [chosen]
    if (companion := _companion(chosen, candidates)) is not None:
        pairs.append(companion)
    return _assembled(pairs, contents, now, archive, force=force, needs_chain=needs_chain)


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


def _assembled(
    pairs: list[_Candidate], contents: Contents, now: datetime, archive: Archive, *, force: bool, needs_chain: bool
) -> CertificateBundle | Refused:
    chains = [_chain(each.leaf, contents.certificates, now) for each in pairs]
    completed: list[Finding] = []
    if any(each.lacks_intermediate for each in chains):
        chains, completed = _completed(pairs, chains, contents, archive, now)
    against = [found for pair, chain in zip(pairs, chains, strict=True) for found in check_chain(pair.leaf, chain)]
    against = [_forced(each) if force else each for each in dict.fromkeys(against)]
    if refused := tuple(each for each in against if isinstance(each.code, Refusal)):
        return Refused(refused)
    problems = dict.fromkeys((*pairs[0].findings, *against))
    for pair, chain in zip(pairs, chains, strict=True):
        problems |= dict.fromkeys(chain_problems(pair.leaf, chain, now))
    if contents.pieces and any(each.code == Problem.MISSING_INTERMEDIATE for each in problems):
        # What can't be read may be the intermediate that is missing: the files may still be on their way.
        return Refused(tuple(each.as_refusal() for each in contents.pieces))
    problems |= dict.fromkeys((*completed, *(each.as_note() for each in contents.pieces)))
    missing = [each for each in problems if each.code == Problem.MISSING_INTERMEDIATE]
    if missing and needs_chain and not force:
        return Refused(tuple(refusal(Refusal.MISSING_INTERMEDIATE, each.message) for each in missing))
    made = {pair.leaf.key_kind: _key_pair(pair, chain) for pair, chain in zip(pairs, chains, strict=True)}
    primary = made.get("ec") or made["rsa"]
    return CertificateBundle(primary, made.get("rsa") if "ec" in made else None, tuple(problems))


def _completed(
    pairs: list[_Candidate], chains: list[Chain], contents: Contents, archive: Archive, now: datetime
) -> tuple[list[Chain], list[Finding]]:
    """The chains, with what the archive has for those that lack the first certificate; and a note about each."""
    known = [*contents.certificates, *(each for each in archive() if each.not_before <= now < each.not_after)]
    found: list[Finding] = []
    whole = []
    for pair, chain in zip(pairs, chains, strict=True):
        better = _chain(pair.leaf, known, now) if chain.lacks_intermediate else chain
        if better is not chain and better.intermediates and not any(check_chain(pair.leaf, better)):
            labels = listed([shown(each.label) for each in better.intermediates])
            message = (
                f"the chain of {shown(pair.leaf.label)} was missing and is taken from an earlier version: {labels}"
            )
            found.append(Finding(Problem.CHAIN_COMPLETED, message))
            chain = better
        whole.append(chain)
    return whole, found


def _chain(leaf: CertificateFacts, certificates: Collection[CertificateFacts], now: datetime) -> Chain:
    """The chain, if necessary around a certificate that clients refuse and that another one can stand in for."""
    first = order_chain(leaf, certificates, now)
    if not first.intermediates or not check_chain(leaf, first):
        return first
    for left_out in first.intermediates:
        other = order_chain(leaf, [each for each in certificates if each is not left_out], now)
        if other.intermediates and not check_chain(leaf, other):
            return other
    return first


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
        serial=leaf.serial,
        is_self_signed=chain.is_self_signed,
    )


def _why_no_pair(contents: Contents) -> tuple[Finding, ...]:
    """No certificate and key belong together: what is missing? What could not be read comes first."""
    if contents.pieces:
        return tuple(each.as_refusal() for each in contents.pieces)
    if contents.is_empty:
        where = f" in {', '.join(contents.ignored)}" if contents.ignored else ""
        message = f"there is no content{where}; a certificate and its private key are expected"
        return (refusal(Refusal.EMPTY, message),)
    if contents.locked:
        return contents.locked[:1]
    return (_what_is_missing(contents),)


def _what_is_missing(contents: Contents) -> Finding:
    where = f" (not recognised: {listed(contents.ignored)})" if contents.ignored else ""
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
    leaves = [each for each in contents.certificates if not each.is_ca]
    if not leaves:
        only = listed([f"{each.label} in {file}" for each, file in contents.certificates.items()])
        beside = f"; there is only {only}, of an authority" if only else ""
        return refusal(
            Refusal.NO_CERTIFICATE,
            f"the certificate for the private key in {key_files} is missing{where}{beside}; add it",
        )
    unreadable = [each for each in leaves if each.public_key is None]
    if unreadable and unreadable[0].fields.has_explicit_curve:
        leaf = unreadable[0]
        return explicit_curve(f"the certificate of {shown(leaf.label)} in {contents.certificates[leaf]}")
    if unreadable:
        files = listed([f"{each.label} in {contents.certificates[each]}" for each in unreadable])
        kinds = listed([each.fields.key_algorithm for each in unreadable])
        return refusal(
            Refusal.UNSUPPORTED_KEY,
            f"the certificate of {files} has a key of a kind that is not known here ({kinds}); get one for an EC key "
            "(P-256 or P-384) or an RSA key of 2048 bits or more",
        )
    certificates = listed([f"{each.label} in {file}" for each, file in contents.certificates.items()])
    return refusal(
        Refusal.KEY_MISMATCH,
        f"the private key in {key_files} belongs to none of the certificates ({certificates}){where}; "
        "use the key that the certificate was requested with",
    )
