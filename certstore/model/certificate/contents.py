"""Recognises what files hold, by content and never by name: certificates, private keys, or neither.

PEM in any mixture, DER, PKCS #12 and PKCS #7; encrypted keys when there is a password. Everything found goes into one
`Contents`; `bundle` decides what belongs together. No part of a file's content ever gets into a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from certstore.model.certificate.der import DerKind, kind_of
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Finding, Refusal, refusal
from certstore.model.certificate.key_algorithm import why_not_loaded
from certstore.model.certificate.pem import FILE_LIMIT, Block, find_blocks, looks_like_pem, plain_bytes
from certstore.model.certificate.x509_facts import UNREADABLE, CertificateFacts, public_key_of, read_certificate
from certstore.model.text import shown

PROTECTED_LIMIT = 5
"""PKCS #12 files and encrypted keys in one drop: opening each may take seconds."""
_CERTIFICATES_LIMIT = 200
_KEYS_LIMIT = 20

_PKCS12, _PRIVATE_KEY = "the PKCS #12 file", "the private key"
_REMOVE_PASSWORD = {
    _PKCS12: "openssl pkcs12 -in FILE -nodes -out FILE.pem",
    _PRIVATE_KEY: "openssl pkey -in FILE -out FILE.pem",
}
_USE_ANOTHER = "which browsers and mail programs do not accept; use EC (P-256 or P-384), or RSA with 2048 to 4096 bits"
_CERTIFICATE_LABELS = {"CERTIFICATE", "X509 CERTIFICATE"}
_KEY_LABELS = {"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "DSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"}
_PKCS7_LABELS = {"PKCS7", "CMS"}
_LABELS_WITH_HEADERS = {"EC PRIVATE KEY", "RSA PRIVATE KEY", "DSA PRIVATE KEY"}
"""RFC 1421: Proc-Type and DEK-Info say how the key is encrypted. Blocks of other labels have none (RFC 7468 §2)."""


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A private key that could be read. `spki` is its public half in DER."""

    key: PrivateKeyTypes = field(repr=False)
    spki: bytes = field(repr=False)
    file: str


@dataclass(frozen=True, slots=True)
class Contents:
    """Certificates and keys in the order found, without duplicates.

    Any of the `faults` refuses the files as a whole: something in them is damaged. `locked` are keys that could not be
    opened, which matters only when no other key fits. `ignored` names the files that hold neither.
    """

    certificates: dict[CertificateFacts, str]
    keys: dict[bytes, FoundKey] = field(repr=False)
    faults: tuple[Finding, ...]
    locked: tuple[Finding, ...]
    ignored: tuple[str, ...]
    is_empty: bool


@dataclass(frozen=True, slots=True)
class Unlocked:
    """What a PKCS #12 file or an encrypted key holds, in DER: the key as PKCS #8 without encryption, the leaf first."""

    key: bytes | None = field(repr=False)
    certificates: tuple[bytes, ...]


class TooMuchWork(Exception):
    """Opening a file would take longer than is granted to all that comes in together."""


type Unlock = Callable[[bytes, bytes | None], Unlocked]
"""From content and password; raises ValueError when it does not open, TooMuchWork, or OSError."""


def unlock_here(content: bytes, password: bytes | None) -> Unlocked:
    """In this process, however long it takes: only for files of our own, or in a process that is bounded."""
    encoding, form, plain = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    try:
        if kind_of(content) is not DerKind.PKCS12:
            return Unlocked(_load_key(content, password).private_bytes(encoding, form, plain), ())
        opened = pkcs12.load_pkcs12(content, password)
    except UNREADABLE as error:
        raise ValueError("it does not open") from error
    return Unlocked(
        None if opened.key is None else opened.key.private_bytes(encoding, form, plain),
        tuple(each.certificate.public_bytes(encoding) for each in (opened.cert, *opened.additional_certs) if each),
    )


def _load_key(content: bytes, password: bytes | None) -> PrivateKeyTypes:
    load = serialization.load_pem_private_key if looks_like_pem(content) else serialization.load_der_private_key
    # The full check of an RSA key takes 40 to 300 ms; `checks` looks whether its numbers belong together.
    return load(content, password, unsafe_skip_rsa_key_validation=True)


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
        self.locked: list[Finding] = []
        self.ignored: list[str] = []

    def read(self, file: DroppedFile) -> None:
        name = shown(file.name)
        if len(file.content) > FILE_LIMIT:
            self._fault(
                Refusal.TOO_LARGE,
                f"{name} has {len(file.content)} bytes, and at most {FILE_LIMIT} are read; a certificate with its key "
                "and chain has fewer than ten thousand: check which file this is",
            )
            return
        content = plain_bytes(file.content)
        if looks_like_pem(content):
            self._read_pem(name, content)
        elif (kind := kind_of(content)) is not None:
            self._read_der(name, kind, content)
        else:
            self.ignored.append(name)

    @property
    def is_too_much(self) -> bool:
        """From here on what is found is only counted: files of strangers may hold thousands."""
        return len(self.seen_certificates) > _CERTIFICATES_LIMIT or len(self.seen_keys) > _KEYS_LIMIT

    def _fault(self, code: Refusal, message: str) -> None:
        self.faults.append(refusal(code, message))

    # PEM

    def _read_pem(self, name: str, content: bytes) -> None:
        found = find_blocks(content)
        if found.is_incomplete:
            self._fault(
                Refusal.INCOMPLETE_PEM,
                f"{name} holds a PEM block without its beginning or end, like a file that is still being written; "
                "copy it again",
            )
        used = [self._read_block(name, block) for block in found.blocks]
        if not any(used) and not found.is_incomplete:
            self.ignored.append(name)

    def _read_block(self, name: str, block: Block) -> bool:
        """False for blocks of no use here (parameters, requests, public keys)."""
        if block.label in _CERTIFICATE_LABELS and not block.has_headers:
            self._read_certificate(name, block.der)
        elif block.label in _KEY_LABELS:
            self._read_key_block(name, block)
        elif block.label in _PKCS7_LABELS and block.der is not None:
            self._read_pkcs7(name, block.der)
        else:
            return False
        return True

    def _read_key_block(self, name: str, block: Block) -> None:
        if block.has_headers and block.label in _LABELS_WITH_HEADERS and b"ENCRYPTED" in block.text:
            self._read_key(name, block.text)
        elif block.der is None:
            self._damaged(name, "a private key")
        else:
            self._read_key(name, block.der)

    # Binary files

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
        if opened.key is not None:
            self._read_key(name, opened.key)
        for each in opened.certificates:
            self._read_certificate(name, each)

    def _unlock(self, name: str, what: str, content: bytes) -> Unlocked | None:
        """None, and a finding, when it does not open. What has run out for one file has for those after it."""
        self._protected += 1
        if self._is_exhausted:
            return None
        if self._protected > PROTECTED_LIMIT:
            self._is_exhausted = True
            self._fault(
                Refusal.TOO_LARGE,
                f"{name} holds one PKCS #12 file or encrypted key too many; at most {PROTECTED_LIMIT} are opened: "
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
            self._fault(
                Refusal.UNREADABLE,
                f"{what} in {name} takes too long to open: it asks for more rounds of password hashing than any "
                "program writes; write it again with openssl",
            )
        except OSError as error:
            self._fault(Refusal.UNREADABLE, f"{name} could not be opened just now: {error.strerror or error}")
        return None

    def _read_pkcs7(self, name: str, content: bytes) -> None:
        try:
            certificates = pkcs7.load_der_pkcs7_certificates(content)
        except UNREADABLE:
            self._damaged(name, "a PKCS #7 collection")
            return
        for each in certificates:
            self._read_certificate(name, each.public_bytes(serialization.Encoding.DER))

    # What all formats come down to

    def _read_certificate(self, name: str, der: bytes | None) -> None:
        self.seen_certificates.add(der or b"")
        if self.is_too_much:
            return
        try:
            facts = read_certificate(der or b"")
        except UNREADABLE:
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
            except UNREADABLE:
                self._damaged(name, "a private key")
            else:
                self._add_key(name, key)

    def _add_key(self, name: str, key: PrivateKeyTypes) -> None:
        try:
            spki = public_key_of(key)
        except (*UNREADABLE, AttributeError):  # key agreement keys have no certificate; some have no such encoding
            self._damaged(name, "a private key")
            return
        self.keys.setdefault(spki, FoundKey(key, spki, name))

    def _damaged(self, name: str, what: str) -> None:
        self._fault(
            Refusal.UNREADABLE,
            f"{name} holds {what} that can't be read: it is damaged or half written; copy it again",
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
