"""The form of a value in the engine, and what its seal and its signature cover.

    "CE1" | key id (4) | class (1) | generation (8) | nonce (12) | Ed25519 signature (64) | AES-256-GCM ciphertext

Numbers are big-endian. The seal's associated data names the cluster and the full path, so a value that is moved to
another key, or given another generation, can't be opened. Takes apart and puts together; knows no keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

MAGIC = b"CE1"
_FAMILY = b"CE"
KEY_ID_SIZE = 4
NONCE_SIZE = 12
SIGNATURE_SIZE = 64
_TAG_SIZE = 16
HEADER_SIZE = len(MAGIC) + KEY_ID_SIZE + 1 + 8 + NONCE_SIZE + SIGNATURE_SIZE

VALUE_LIMIT = 480_000
"""Bytes of a whole value: one commit, which takes a million, has room for a version and its predecessor. A version with
a long chain has 20,000.
"""
GENERATION_LIMIT = (1 << 63) - 1


class RecordClass(IntEnum):
    """Who may open a record, and who signs it."""

    SITES = 1
    """Every member opens it, fronts included; full nodes sign it."""
    CONTROL = 2
    """Full nodes alone open and sign it."""
    NODE = 3
    """Every member opens it; the node whose name its path holds signs it with its own key."""


class Refusal(StrEnum):
    """Why a value does not count."""

    MALFORMED = "malformed"
    NEWER_RELEASE = "newer_release"
    """Skipped, not lost: it counts as soon as this node's release can read it."""
    UNKNOWN_KEY = "unknown_key"
    RETIRED_KEY = "retired_key"
    WRONG_CLASS = "wrong_class"
    NOT_ALLOWED = "not_allowed"
    """A front has no keys for it."""
    BAD_SIGNATURE = "bad_signature"
    BAD_SEAL = "bad_seal"
    STALE = "stale"
    """Authentic, but older than what this node has seen."""


READ_BY_OTHERS = (Refusal.NEWER_RELEASE, Refusal.UNKNOWN_KEY)
"""Why a record that this node can't open may be good all the same: it must not be written over."""


class Refused(Exception):
    """A value from the engine that does not count. `key_id` is the one that is missing or retired, in hex."""

    def __init__(self, why: Refusal, message: str, *, key_id: str | None = None) -> None:
        super().__init__(message)
        self.why = why
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class Header:
    """Everything before the ciphertext but the signature."""

    key_id: bytes
    record_class: RecordClass
    generation: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A value taken apart; nothing in it is verified."""

    header: Header
    signature: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


def associated_data(cluster: str, path: str, header: Header) -> bytes:
    """What the seal binds the ciphertext to. Only `path` has no fixed length, so no two inputs give the same bytes."""
    return b"".join((
        b"certedge/1",
        cluster.encode("ascii"),
        path.encode("utf-8"),
        header.key_id,
        bytes((header.record_class,)),
        header.generation.to_bytes(8),
    ))  # fmt: skip


def signed_bytes(associated: bytes, nonce: bytes, ciphertext: bytes) -> bytes:
    """What the signature covers."""
    return b"".join((associated, nonce, ciphertext))


def put_together(value: SealedValue) -> bytes:
    """The inverse of `take_apart`. Raises ValueError for what the engine or a reader would refuse."""
    header = value.header
    if not 1 <= header.generation <= GENERATION_LIMIT:
        raise ValueError(f"{header.generation} is not a generation")
    whole = b"".join((
        MAGIC,
        header.key_id,
        bytes((header.record_class,)),
        header.generation.to_bytes(8),
        header.nonce,
        value.signature,
        value.ciphertext,
    ))  # fmt: skip
    if len(whole) > VALUE_LIMIT:
        raise ValueError(f"the record has {len(whole)} bytes; {VALUE_LIMIT} are allowed")
    return whole


def take_apart(value: bytes) -> SealedValue:
    """Raises Refused for what does not have the form; whether it is authentic is for the caller to find out."""
    if value[: len(_FAMILY)] == _FAMILY and value[: len(MAGIC)] > MAGIC:
        raise Refused(Refusal.NEWER_RELEASE, "it has a form that only a newer release reads")
    if value[: len(MAGIC)] != MAGIC:
        raise Refused(Refusal.MALFORMED, "it is not a sealed record")
    if not HEADER_SIZE + _TAG_SIZE <= len(value) <= VALUE_LIMIT:
        raise Refused(Refusal.MALFORMED, f"it has {len(value)} bytes, which no sealed record has")
    at = len(MAGIC)
    key_id, at = value[at : at + KEY_ID_SIZE], at + KEY_ID_SIZE
    number, at = value[at], at + 1
    generation, at = int.from_bytes(value[at : at + 8]), at + 8
    nonce, at = value[at : at + NONCE_SIZE], at + NONCE_SIZE
    signature, at = value[at : at + SIGNATURE_SIZE], at + SIGNATURE_SIZE
    if number not in RecordClass:
        raise Refused(Refusal.WRONG_CLASS, f"it is of class {number}, which this release does not know")
    if not 1 <= generation <= GENERATION_LIMIT:
        raise Refused(Refusal.MALFORMED, f"{generation} is not a generation")
    return SealedValue(Header(key_id, RecordClass(number), generation, nonce), signature, value[at:])
