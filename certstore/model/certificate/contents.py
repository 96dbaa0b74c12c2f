"""Recognises what files hold, by content and never by name: certificates, private keys, or neither.

PEM in any mixture, DER, PKCS #12 and PKCS #7; encrypted keys when there is a password. Everything found goes into one
`Contents`; `bundle` decides what belongs together. No part of a file's content ever gets into a finding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import crypto

from certstore.model.certificate.collections import certificates_of_pkcs7, open_pkcs12
from certstore.model.certificate.der import DerKind, kind_of, structures
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Finding, Piece, Refusal, refusal
from certstore.model.certificate.key_algorithm import why_not_loaded
from certstore.model.certificate.library import Unreadable, ask_library
from certstore.model.certificate.pem import FILE_LIMIT, Block, bare_base64, find_blocks, looks_like_pem, plain_bytes
from certstore.model.certificate.x509_facts import CertificateFacts, public_key_of, read_certificate
from certstore.model.text import shown

PROTECTED_LIMIT = 5
"""PKCS #12 files and encrypted keys in one drop: opening each may take seconds."""
_CERTIFICATES_LIMIT = 200
_KEYS_LIMIT = 20
_STRUCTURES_LIMIT = 500

_PKCS12, _PRIVATE_KEY = "the PKCS #12 file", "the private key"
_REMOVE_PASSWORD = {
    _PKCS12: "openssl pkcs12 -in FILE -nodes -out FILE.pem",
    _PRIVATE_KEY: "openssl pkey -in FILE -out FILE.pem",
}
_USE_ANOTHER = "which browsers and mail programs do not accept; use EC (P-256 or P-384), or RSA with 2048 to 4096 bits"
_KEY_LABELS = {"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "DSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"}
_CERTIFICATE_ENDINGS = ("CERTIFICATE", "PKCS7", "CMS", "PKCS12", "PKCS #7 SIGNED DATA")
_HARMLESS_LABELS = {
    *("EC PARAMETERS", "DH PARAMETERS", "X9.42 DH PARAMETERS", "DSA PARAMETERS", "PUBLIC KEY", "RSA PUBLIC KEY"),
    *("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST", "X509 CRL", "SSH2 PUBLIC KEY"),
}
"""What lies beside certificates everywhere, and is never missed."""
_LABELS_WITH_HEADERS = {"EC PRIVATE KEY", "RSA PRIVATE KEY", "DSA PRIVATE KEY"}
"""RFC 1421: Proc-Type and DEK-Info say how the key is encrypted. Blocks of other labels have none (RFC 7468 §2)."""


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A private key that could be read, and the bytes that it was read from. `spki` is its public half in DER."""

    key: PrivateKeyTypes = field(repr=False)
    came_as: bytes = field(repr=False)
    spki: bytes = field(repr=False)
    file: str


@dataclass(frozen=True, slots=True)
class Contents:
    """Certificates and keys in the order found, without duplicates.

    Any of the `faults` refuses the files as a whole: there is too much of them. `pieces` could not be read and `locked`
    are keys that could not be opened: both matter only where something is missing without them. `ignored` names the
    files that hold neither.
    """

    certificates: dict[CertificateFacts, str]
    keys: dict[bytes, FoundKey] = field(repr=False)
    faults: tuple[Finding, ...]
    pieces: tuple[Piece, ...]
    locked: tuple[Finding, ...]
    ignored: tuple[str, ...]
    is_empty: bool


@dataclass(frozen=True, slots=True)
class Unlocked:
    """What a PKCS #12 file or an encrypted key holds, in DER: keys as PKCS #8 without encryption, the leaf first."""

    keys: tuple[bytes, ...] = field(repr=False)
    certificates: tuple[bytes, ...]


class PutOff(Exception):
    """`unlock` raises a kind of it to end the reading without a verdict: it goes on elsewhere."""


class TooMuchWork(Exception):
    """Opening a file would take longer than is granted to all that comes in together."""


type Unlock = Callable[[bytes, bytes | None], Unlocked]
"""From content and password; raises ValueError when it does not open, TooMuchWork, PutOff, or OSError."""


def unlock_here(content: bytes, password: bytes | None) -> Unlocked:
    """In this process, however long it takes: only for files of our own, or in a process that is bounded."""
    if kind_of(content) is DerKind.PKCS12:
        certificates, keys = open_pkcs12(content, password)
        return Unlocked(keys, certificates)
    encoding, form, plain = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key = _load_key(content, password)
    return Unlocked((ask_library(lambda: key.private_bytes(encoding, form, plain)),), ())


def _load_key(content: bytes, password: bytes | None) -> PrivateKeyTypes:
    """Raises Unreadable. Bytes behind a key in DER are left out."""
    is_pem = looks_like_pem(content)
    load = serialization.load_pem_private_key if is_pem else serialization.load_der_private_key
    form = content if is_pem else next(structures(content), content)
    try:
        # The full check of an RSA key takes 40 to 300 ms; `checks` looks whether its numbers belong together.
        return ask_library(lambda: load(form, password, unsafe_skip_rsa_key_validation=True))
    except Unreadable:
        if is_pem or password is not None:
            raise
        # OpenSSL itself takes what the stricter reader refuses, such as an EC key without its leading zeros.
        key = ask_library(lambda: crypto.load_privatekey(crypto.FILETYPE_ASN1, form).to_cryptography_key())
        if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
            raise
        return key


def may_hold_something(content: bytes) -> bool:
    """Whether a file looks as if it held a certificate or a key, in any form that is read."""
    plain = plain_bytes(content)
    if looks_like_pem(plain) or kind_of(plain) is not None:
        return True
    return len(plain) <= FILE_LIMIT and kind_of(bare_base64(plain) or b"") is not None


def read_contents(files: Iterable[DroppedFile], password: bytes | None, unlock: Unlock = unlock_here) -> Contents:
    """Reads every file; never raises."""
    reader = _Reader(password, unlock)
    is_empty = True
    for file in files:
        is_empty = is_empty and not file.content.strip()
        reader.read(file)
    certificates, keys = reader.certificates, reader.keys
    if reader.is_too_much:
        message = (
            f"the files hold {len(reader.seen_certificates)} certificates and {len(reader.seen_keys)} private keys; "
            f"at most {_CERTIFICATES_LIMIT} and {_KEYS_LIMIT} are read: leave only what belongs to this site"
        )
        reader.faults.append(refusal(Refusal.TOO_LARGE, message))
    return Contents(
        dict(certificates.values()),
        keys,
        tuple(dict.fromkeys(reader.faults)),
        tuple(dict.fromkeys(reader.pieces)),
        tuple(dict.fromkeys(reader.locked)),
        tuple(reader.ignored),
        is_empty,
    )


class _Reader:
    """Gathers what all files of one reading hold."""

    def __init__(self, password: bytes | None, unlock: Unlock) -> None:
        self._password = password
        self._unlock_with = unlock
        self._protected = 0
        self._is_exhausted = False
        self.certificates: dict[bytes, tuple[CertificateFacts, str]] = {}
        self.keys: dict[bytes, FoundKey] = {}
        self.seen_certificates: set[bytes] = set()
        self.seen_keys: set[bytes] = set()
        self.faults: list[Finding] = []
        self.pieces: list[Piece] = []
        self.locked: list[Finding] = []
        self.ignored: list[str] = []

    def read(self, file: DroppedFile) -> None:
        name = shown(file.name)
        if len(file.content) > FILE_LIMIT:
            self._pass_over(
                Refusal.TOO_LARGE,
                f"{name} has {len(file.content)} bytes, and at most {FILE_LIMIT} are read",
                "a certificate with its key and chain has fewer than ten thousand: check which file this is",
            )
            return
        content = plain_bytes(file.content)
        if looks_like_pem(content) and kind_of(content) is None:
            is_of_use = self._read_pem(name, content)
        else:
            is_of_use = self._read_binary(name, content) or self._read_binary(name, bare_base64(content) or b"")
        if not is_of_use:
            self.ignored.append(name)

    def _pass_over(self, code: Refusal, found: str, remedy: str) -> None:
        self.pieces.append(Piece(code, found, remedy))

    @property
    def is_too_much(self) -> bool:
        """From here on what is found is only counted: files of strangers may hold thousands."""
        return len(self.seen_certificates) > _CERTIFICATES_LIMIT or len(self.seen_keys) > _KEYS_LIMIT

    # PEM

    def _read_pem(self, name: str, content: bytes) -> bool:
        found = find_blocks(content)
        if found.is_incomplete:
            self._pass_over(
                Refusal.INCOMPLETE_PEM,
                f"{name} holds a PEM block without its beginning or end, like a file that is still being written",
                "copy it again",
            )
        used = [self._read_block(name, block) for block in found.blocks]
        return any(used) or found.is_incomplete

    def _read_block(self, name: str, block: Block) -> bool:
        """False for blocks of no use here. What a block holds counts more than its label: Windows calls all of them
        CERTIFICATE.
        """
        if block.label in _KEY_LABELS:
            self._read_key_block(name, block)
        elif block.label in _HARMLESS_LABELS:
            return False
        elif block.label.endswith(_CERTIFICATE_ENDINGS):
            if not self._read_binary(name, block.der or b""):
                self._damaged(name, "a certificate")
        elif not self._read_binary(name, block.der or b""):
            self._pass_over(
                Refusal.UNREADABLE,
                f"{name} holds a block of a kind that is not read ({block.label})",
                "put the certificate and its private key there, as PEM, DER or PKCS #12",
            )
        return True

    def _read_key_block(self, name: str, block: Block) -> None:
        if block.has_headers and block.label in _LABELS_WITH_HEADERS and b"ENCRYPTED" in block.text:
            self._read_key(name, block.text)
        elif kind_of(der := block.der or b"") not in (DerKind.KEY, DerKind.ENCRYPTED_KEY):
            self._damaged(name, "a private key")
        else:
            self._read_key(name, der)

    # Binary files

    def _read_binary(self, name: str, content: bytes) -> bool:
        """False when the content is neither DER nor BER of any known kind. Several structures may lie one behind the
        other, and what follows them is left out.
        """
        if kind_of(content) is None:
            return False
        found = list(itertools.islice(structures(content), _STRUCTURES_LIMIT))
        for each in found or [content]:
            kind = kind_of(each)
            if kind is not None:
                self._read_der(name, kind, each)
        return True

    def _read_der(self, name: str, kind: DerKind, content: bytes) -> None:
        if kind is DerKind.PKCS12:
            self._read_pkcs12(name, content)
        elif kind is DerKind.PKCS7:
            self._read_pkcs7(name, content)
        elif kind is DerKind.KEY or kind is DerKind.ENCRYPTED_KEY:
            self._read_key(name, content)
        else:
            self._read_certificate(name, content)

    def _read_pkcs12(self, name: str, content: bytes) -> None:
        opened = self._unlock(name, _PKCS12, content)
        if opened is not None:
            self._read_unlocked(name, opened)

    def _read_unlocked(self, name: str, opened: Unlocked) -> None:
        for each in opened.keys:
            self._read_key(name, each)
        for each in opened.certificates:
            self._read_certificate(name, each)

    def _unlock(self, name: str, what: str, content: bytes) -> Unlocked | None:
        """None, and a finding, when it does not open. What has run out for one file has for those after it."""
        self._protected += 1
        if self._is_exhausted:
            return None
        if self._protected > PROTECTED_LIMIT:
            self._is_exhausted = True
            self._pass_over(
                Refusal.TOO_LARGE,
                f"{name} holds one PKCS #12 file or encrypted key too many; at most {PROTECTED_LIMIT} are opened",
                "leave only what belongs to this site's certificate",
            )
            return None
        try:
            return self._unlock_with(content, self._password)
        except ValueError:
            # The library tells a wrong password from damage as little as the format does.
            self._locked(name, what)
        except TooMuchWork:
            self._is_exhausted = True
            self._pass_over(
                Refusal.UNREADABLE,
                f"{what} in {name} takes too long to open: it asks for more rounds of password hashing than any "
                "program writes",
                "write it again with openssl",
            )
        except OSError as error:
            reason = error.strerror or str(error)
            self._pass_over(Refusal.UNREADABLE, f"{name} could not be opened just now: {reason}", "try again")
        return None

    def _read_pkcs7(self, name: str, content: bytes) -> None:
        """The certificates as they stand there: each is read as leniently as any other."""
        try:
            certificates = certificates_of_pkcs7(content)
        except ValueError:
            self._damaged(name, "a PKCS #7 collection")
            return
        for each in certificates:
            self._read_certificate(name, each)

    # What all formats come down to

    def _read_certificate(self, name: str, der: bytes) -> None:
        self.seen_certificates.add(der)
        if self.is_too_much:
            return
        try:
            facts = read_certificate(der)
        except Unreadable:
            self._damaged(name, "a certificate")
            return
        self.certificates.setdefault(facts.der, (facts, name))

    def _read_key(self, name: str, content: bytes) -> None:
        """`content` is DER, or the PEM text of a key with headers, which is encrypted."""
        self.seen_keys.add(content)
        is_encrypted = looks_like_pem(content) or kind_of(content) is DerKind.ENCRYPTED_KEY
        if self.is_too_much:
            return
        if is_encrypted and not self._password:
            self._locked(name, _PRIVATE_KEY)
        elif is_encrypted:
            opened = self._unlock(name, _PRIVATE_KEY, content)
            if opened is not None:
                self._read_unlocked(name, opened)
        elif (kind := why_not_loaded(content)) is not None:
            self.locked.append(refusal(Refusal.UNSUPPORTED_KEY, f"{name} holds {kind}, {_USE_ANOTHER}"))
        else:
            try:
                key = _load_key(content, None)
            except Unreadable:
                self._damaged(name, "a private key")
            else:
                self._add_key(name, key, content)

    def _add_key(self, name: str, key: PrivateKeyTypes, content: bytes) -> None:
        try:
            spki = public_key_of(key)
        except Unreadable:  # key agreement keys have no certificate; some have no such encoding
            self._damaged(name, "a private key")
            return
        self.keys.setdefault(spki, FoundKey(key, content, spki, name))

    def _damaged(self, name: str, what: str) -> None:
        self._pass_over(
            Refusal.UNREADABLE,
            f"{name} holds {what} that can't be read: it is damaged or half written",
            "copy it again",
        )

    def _locked(self, name: str, what: str) -> None:
        if self._password:
            finding = refusal(
                Refusal.WRONG_PASSWORD,
                f"the password does not open {what} in {name}, or the file is damaged; check both",
            )
        else:
            finding = refusal(
                Refusal.ENCRYPTED_KEY,
                f"{what} in {name} is protected by a password; install it with its password, by `certedge cert install "
                f"--password-file FILE` or in the console, or remove the password first ({_REMOVE_PASSWORD[what]})",
            )
        self.locked.append(finding)
