"""The rules that a certificate has to pass before it is served, each with its code and its words.

They are the rules that clients apply to a server: a key and signatures that they accept, a leaf for servers with DNS
names, validity. Values in, findings out; `bundle` chooses between several pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from certstore.model.certificate.chain import Chain
from certstore.model.certificate.client_rules import complaint_of_client
from certstore.model.certificate.findings import Finding, Problem, Refusal, refusal
from certstore.model.certificate.key_form import is_for_pss_only
from certstore.model.certificate.library import Unreadable, ask_library
from certstore.model.certificate.signatures import UNKNOWN_HASH
from certstore.model.certificate.x509_facts import CertificateFacts
from certstore.model.certificate.x509_fields import VALIDITY
from certstore.model.names import covers
from certstore.model.text import listed, shown

_RSA_LEAST = 2048
_RSA_MOST = 8192
_EC_MOST = 384
_WEAK_HASHES = {"md2", "md4", "md5", "sha1", UNKNOWN_HASH}
_SENT_LIMIT = 65_536
"""Go's clients accept no longer handshake message, OpenSSL's not much longer ones, and Java's only half of that."""
_NAMES_LIMIT = 100
_MUST_STAPLE = {5, 17}
CLOCK_TOLERANCE = timedelta(minutes=10)
"""A certificate from a CA whose clock is a little ahead is accepted at once, and noted."""


def check_pair(
    leaf: CertificateFacts, key: PrivateKeyTypes, file: str, now: datetime, names: Collection[str]
) -> tuple[Finding, ...]:
    """Everything that speaks against serving this leaf with this key, which is known to belong to it."""
    of = f"the certificate of {shown(leaf.label)} in {file}"
    return (
        *_check_use(leaf, of),
        *_check_key(leaf, key, of),
        *_check_signature(leaf, of),
        *_check_validity(leaf, of, now),
        *_check_names(leaf, of, names),
    )


def _check_use(leaf: CertificateFacts, of: str) -> Iterator[Finding]:
    if leaf.is_ca:
        yield refusal(
            Refusal.CA_LEAF,
            f"{of} belongs to a certificate authority (CA:TRUE), and clients refuse such a certificate from a server; "
            "get or make one with CA:FALSE",
        )
    if not leaf.is_for_servers:
        yield refusal(
            Refusal.NOT_FOR_SERVERS,
            f"{of} is not meant for servers: its extended key usage lacks serverAuth, or its Netscape type "
            "is another; get one for TLS servers",
        )
    if not leaf.is_ca and not leaf.may_sign:
        yield refusal(
            Refusal.NOT_FOR_SERVERS,
            f"{of} does not allow its key to sign, as every TLS handshake does: its key usage lacks digitalSignature; "
            "get one with it",
        )
    if not leaf.dns_names:
        yield refusal(
            Refusal.NO_DNS_NAMES,
            f"{of} has no DNS names in its subjectAltName, and clients ignore the common name; get one that lists its "
            "host names there",
        )


def _check_key(leaf: CertificateFacts, key: PrivateKeyTypes, of: str) -> Iterator[Finding]:
    if leaf.key_kind == "rsa" and leaf.key_bits < _RSA_LEAST:
        yield _weak_key(leaf, of)
    elif leaf.key_kind == "rsa" and leaf.key_bits > _RSA_MOST:
        yield refusal(
            Refusal.UNSUPPORTED_KEY,
            f"{of} has an RSA key of {leaf.key_bits} bits, which would slow down every handshake; "
            f"use an EC key, or RSA with {_RSA_LEAST} to 4096 bits",
        )
    elif leaf.fields.has_explicit_curve:
        yield explicit_curve(of)
    elif leaf.key_kind not in {"ec", "rsa"}:
        yield refusal(
            Refusal.UNSUPPORTED_KEY,
            f"{of} has {leaf.key_kind} key, which browsers and mail programs do not accept; "
            f"use EC (P-256 or P-384), or RSA with at least {_RSA_LEAST} bits",
        )
    elif isinstance(key, rsa.RSAPrivateKey) and not _is_consistent(key):
        yield refusal(
            Refusal.UNREADABLE,
            f"the private key for {of} is damaged: its numbers do not belong together; copy or export the key again",
        )


def explicit_curve(of: str) -> Finding:
    """The refusal of a certificate whose EC key gives numbers in place of its curve's name."""
    return refusal(
        Refusal.UNSUPPORTED_KEY,
        f"{of} describes its EC curve by numbers instead of its name (explicit parameters), which RFC 5480 forbids and "
        "clients refuse; request a new one with a key that names its curve (openssl ecparam -name prime256v1 -genkey "
        "-param_enc named_curve)",
    )


def _is_consistent(key: rsa.RSAPrivateKey) -> bool:
    """A key that was read without the slow check has to prove itself: what one half signs, the other must verify.

    By RFC 8017 §3.2, and without signing: one large key beside two hundred certificates would sign for seconds.
    """
    try:
        numbers = ask_library(key.private_numbers)
    except Unreadable:
        return False
    p, q, e = numbers.p, numbers.q, numbers.public_numbers.e
    return (
        min(p, q) > 1
        and p * q == numbers.public_numbers.n
        and all(e * exponent % (p - 1) == 1 for exponent in (numbers.d, numbers.dmp1))
        and all(e * exponent % (q - 1) == 1 for exponent in (numbers.d, numbers.dmq1))
        and numbers.iqmp * q % p == 1
    )


def _weak_key(certificate: CertificateFacts, of: str) -> Finding:
    return refusal(
        Refusal.WEAK_KEY,
        f"{of} has an RSA key of {certificate.key_bits} bits, which clients refuse; use at least {_RSA_LEAST} bits",
    )


def _check_signature(certificate: CertificateFacts, of: str) -> Iterator[Finding]:
    if certificate.signature_hash in _WEAK_HASHES:
        how = (
            "an unknown algorithm" if certificate.signature_hash == UNKNOWN_HASH else certificate.signature_hash.upper()
        )
        yield refusal(
            Refusal.WEAK_SIGNATURE,
            f"{of} is signed with {how}, which clients refuse; get a new one that is signed with SHA-256",
        )


def _check_validity(leaf: CertificateFacts, of: str, now: datetime) -> Iterator[Finding]:
    if VALIDITY in leaf.fields.oddities:
        yield _odd_validity(of)
    elif leaf.not_after <= now:
        yield refusal(
            Refusal.EXPIRED, f"{of} expired on {_day(leaf.not_after)}; get a new one, or check this machine's clock"
        )
    elif leaf.not_before > now + CLOCK_TOLERANCE:
        yield refusal(
            Refusal.NOT_YET_VALID,
            f"{of} is not valid before {_day(leaf.not_before)}; install it then, or correct this machine's clock",
        )
    elif leaf.not_before > now:
        yield Finding(Problem.NOT_YET_VALID, f"{of} is not valid before {_day(leaf.not_before)}, in a few minutes")


def _odd_validity(of: str) -> Finding:
    return refusal(
        Refusal.CLIENTS_REFUSE,
        f"{of} has times in a form that clients do not read (RFC 5280 §4.1.2.5), so they refuse it; get a new one",
    )


def _check_names(leaf: CertificateFacts, of: str, names: Collection[str]) -> Iterator[Finding]:
    missing = [name for name in names if not covers(leaf.dns_names, name)]
    if missing and len(missing) == len(names):
        yield refusal(
            Refusal.WRONG_NAME,
            f"{of} is for {listed(leaf.dns_names) or 'no DNS name'}, which covers no name of this site "
            f"({listed(missing)}); install one that does, or correct the site's names",
        )
    elif missing:
        yield Finding(Problem.NAME_NOT_COVERED, f"{of} does not cover {listed(missing)}")


def check_chain(leaf: CertificateFacts, chain: Chain) -> tuple[Finding, ...]:
    """What makes the chain unfit to be sent: clients, and the TLS library itself, would refuse it as a whole."""
    found: list[Finding] = []
    leaf_label = shown(leaf.label)
    if chain.broken is not None:
        found.append(
            refusal(
                Refusal.BROKEN_SIGNATURE,
                f"the signature of the certificate of {shown(chain.broken.label)} does not match its issuer: "
                "the file is damaged or half written; copy it again",
            )
        )
    for each in chain.intermediates:
        of = f"the intermediate certificate {shown(each.label)} of {leaf_label}"
        found.extend(_check_signature(each, of))
        if each.key_kind == "rsa" and each.key_bits < _RSA_LEAST:
            found.append(_weak_key(each, of))
        if each.fields.has_explicit_curve:
            found.append(explicit_curve(of))
        if VALIDITY in each.fields.oddities:
            found.append(_odd_validity(of))
        if not each.is_for_servers:
            found.append(_refused_by_clients(f"{of} is not meant for servers' certificates (extended key usage)"))
    return tuple(found) or tuple(_check_as_client(leaf, chain))


def _check_as_client(leaf: CertificateFacts, chain: Chain) -> Iterator[Finding]:
    """What is sent, as a client sees it; only worth asking when nothing simpler is wrong."""
    sent = (leaf, *chain.intermediates)
    of = f"the certificate of {shown(leaf.label)}"
    if (size := sum(len(each.der) for each in sent)) > _SENT_LIMIT:
        yield refusal(
            Refusal.CLIENTS_REFUSE,
            f"{of} has {size} bytes with its chain, and clients accept at most {_SENT_LIMIT}; get one with fewer names "
            "(100 at most), or split them between several sites",
        )
    elif (complaint := complaint_of_client([each.der for each in sent])) is not None:
        which = (
            of if complaint.position == 0 else f"the intermediate certificate {shown(sent[complaint.position].label)}"
        )
        if complaint.is_unloadable:
            yield refusal(Refusal.UNREADABLE, f"{which} is not well-formed, {complaint.words}; get a new one")
        else:
            yield _refused_by_clients(f"{which} does not verify ({complaint.words})")
    if any(each.signature_hash is None for each in sent):
        yield _refused_by_clients(f"{of} or its chain is signed with Ed25519 or Ed448, which browsers do not know")


def _refused_by_clients(found: str) -> Finding:
    remedy = "get a certificate or a chain without that from the authority"
    return refusal(Refusal.CLIENTS_REFUSE, f"{found}, so clients refuse it; {remedy}")


def chain_problems(leaf: CertificateFacts, chain: Chain, now: datetime) -> Iterator[Finding]:
    """What is worth noting about a chain that is served nevertheless."""
    label = shown(leaf.label)
    if is_for_pss_only(leaf.der):
        yield Finding(
            Problem.RARE_KEY,
            f"the certificate of {label} has an RSA-PSS key, which browsers do not accept; use EC or plain RSA",
        )
    if chain.is_self_signed:
        yield Finding(
            Problem.SELF_SIGNED,
            f"the certificate of {label} is self-signed: clients trust it only if each of them is configured to",
        )
    elif chain.lacks_intermediate:
        issuer = shown(leaf.issuer_text)
        yield Finding(
            Problem.MISSING_INTERMEDIATE,
            f"the intermediate certificate ({issuer}) that signed the certificate of {label} is missing: clients that "
            "do not have it already refuse the connection; add it to the files",
        )
    if not _MUST_STAPLE.isdisjoint(leaf.fields.features):
        yield Finding(
            Problem.MUST_STAPLE,
            f"the certificate of {label} demands a stapled OCSP answer (must-staple, RFC 7633), which the edge does "
            "not send: clients that hold it to that, as Firefox does, refuse the connection; order one without it",
        )
    if any(each.key_kind == "ec" and each.key_bits > _EC_MOST for each in (leaf, *chain.intermediates)):
        yield Finding(
            Problem.RARE_KEY,
            f"the certificate of {label} or its chain has a P-521 key, which Chrome, Edge and Android do not accept; "
            "use P-256 or P-384",
        )
    if leaf.other_names:
        yield Finding(
            Problem.UNUSABLE_NAME,
            f"the certificate of {label} also lists {listed(leaf.other_names)}, which is no host name: clients that "
            "ask for it get the main certificate",
        )
    if len(leaf.fields.names) > _NAMES_LIMIT:
        yield Finding(
            Problem.MANY_NAMES,
            f"the certificate of {label} lists {len(leaf.fields.names)} names, and each handshake carries them all; "
            f"split them between several certificates with at most {_NAMES_LIMIT} names each",
        )
    for each in chain.intermediates:
        if each.not_after <= now:
            yield Finding(
                Problem.INTERMEDIATE_EXPIRED,
                f"the intermediate certificate {shown(each.label)} of {label} expired on {_day(each.not_after)}; "
                "install the chain that the authority provides now",
            )
        elif each.not_before > now:
            yield Finding(
                Problem.INTERMEDIATE_NOT_YET_VALID,
                f"the intermediate certificate {shown(each.label)} of {label} is not valid before "
                f"{_day(each.not_before)}, and clients refuse it until then; install the chain that the "
                "authority provides now",
            )


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
