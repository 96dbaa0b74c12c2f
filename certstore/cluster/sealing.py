"""Values for the engine, sealed and signed, and back: whoever has only the engine can read none and plant none.

AES-256-GCM keeps a record secret and ties it to its path and generation; Ed25519 shows that a full node wrote it, as a
front also has the key that opens it. The signature is checked first: nothing unsigned is ever deciphered. Knows no
engine, and not what records mean; whether a generation is too old is for the follower, which knows its floors.

Nonces are random: one key may seal 2^32 records (NIST SP 800-38D §8.3), which ten nodes that say every second how they
are reach after 13 years.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from certstore.cluster.keys import ClusterKey, KeyRing
from certstore.model.cluster.paths import CLASSES, ClusterPaths, RecordPath, Shelf
from certstore.model.cluster.wire import (
    NONCE_SIZE,
    Header,
    RecordClass,
    Refusal,
    Refused,
    SealedValue,
    associated_data,
    put_together,
    signed_bytes,
    take_apart,
)


@dataclass(frozen=True, slots=True)
class Opened:
    """What an authentic value holds."""

    generation: int
    plaintext: bytes = field(repr=False)


class Sealer(Protocol):
    """Seals and opens the records of one cluster."""

    def seal(self, path: str, generation: int, record_class: RecordClass, plaintext: bytes) -> bytes:
        """Raises Refused (NOT_ALLOWED on a front, WRONG_CLASS where the path asks for another one), or ValueError for
        what is too large.
        """
        ...

    def open(self, path: str, value: bytes) -> Opened:
        """Raises Refused."""
        ...

    def seal_live(self, path: str, generation: int, plaintext: bytes) -> bytes:
        """For the node's own `n/live`."""
        ...

    def open_live(self, path: str, value: bytes, signing_key: str) -> Opened:
        """`signing_key` is that of the member's record, in hex. Raises Refused."""
        ...


class KeyRingSealer:
    """`Sealer` with the keys of a key file. Safe for several threads."""

    def __init__(self, ring: KeyRing, draw: Callable[[int], bytes] = os.urandom) -> None:
        self._ring = ring
        self._draw = draw
        self._paths = ClusterPaths(ring.cluster)

    @property
    def ring(self) -> KeyRing:
        return self._ring

    def use(self, ring: KeyRing) -> None:
        """Seal and open with these keys of the same cluster from now on. From any thread."""
        self._ring = ring

    def seal(self, path: str, generation: int, record_class: RecordClass, plaintext: bytes) -> bytes:
        where = self._place(path)
        if record_class is RecordClass.NODE or CLASSES.get(where.shelf) is not record_class:
            raise Refused(Refusal.WRONG_CLASS, f"{path} is not of class {record_class.name.lower()}")
        key = self._ring.sealing_key
        if key.sign is None:
            raise Refused(Refusal.NOT_ALLOWED, f"{self._ring.node} is a front: it can't write {path}")
        return self._sealed(path, generation, record_class, plaintext, key, key.sign)

    def open(self, path: str, value: bytes) -> Opened:
        sealed, key = self._authentic_form(path, value)
        if sealed.header.record_class is RecordClass.NODE:
            raise Refused(Refusal.WRONG_CLASS, f"{path} is what a node says about itself")
        return self._opened(path, sealed, key, key.verify)

    def seal_live(self, path: str, generation: int, plaintext: bytes) -> bytes:
        where = self._place(path)
        if where.shelf is not Shelf.LIVE or where.name != self._ring.node:
            raise Refused(Refusal.NOT_ALLOWED, f"{self._ring.node} can't write {path}")
        key = self._ring.sealing_key
        return self._sealed(path, generation, RecordClass.NODE, plaintext, key, self._ring.own.sign)

    def open_live(self, path: str, value: bytes, signing_key: str) -> Opened:
        sealed, key = self._authentic_form(path, value)
        if sealed.header.record_class is not RecordClass.NODE:
            raise Refused(Refusal.WRONG_CLASS, f"{path} is not what a node says about itself")
        try:
            verify = bytes.fromhex(signing_key)
        except ValueError:
            raise Refused(Refusal.BAD_SIGNATURE, f"{path}: the member's record holds no usable key") from None
        return self._opened(path, sealed, key, verify)

    # Inside

    def _place(self, path: str) -> RecordPath:
        if (where := self._paths.parse(path)) is None:
            raise Refused(Refusal.MALFORMED, f"{path} is not a path of this cluster")
        return where

    def _sealed(
        self, path: str, generation: int, record_class: RecordClass, plaintext: bytes, key: ClusterKey, sign: bytes
    ) -> bytes:
        header = Header(bytes.fromhex(key.key_id), record_class, generation, self._draw(NONCE_SIZE))
        seal = _seal_key(key, record_class)
        if seal is None:
            raise Refused(Refusal.NOT_ALLOWED, f"{self._ring.node} is a front: it has no key for {path}")
        if generation < 1:
            raise ValueError(f"{generation} is not a generation")
        associated = associated_data(self._ring.cluster, path, header)
        ciphertext = AESGCM(seal).encrypt(header.nonce, plaintext, associated)
        covered = signed_bytes(associated, header.nonce, ciphertext)
        signature = Ed25519PrivateKey.from_private_bytes(sign).sign(covered)
        return put_together(SealedValue(header, signature, ciphertext))

    def _authentic_form(self, path: str, value: bytes) -> tuple[SealedValue, ClusterKey]:
        """The value taken apart, and the key that it names; the class is the path's."""
        ring = self._ring
        where, sealed = self._place(path), take_apart(value)
        key_id = sealed.header.key_id.hex()
        if CLASSES.get(where.shelf) is not sealed.header.record_class:
            raise Refused(Refusal.WRONG_CLASS, f"{path} holds a record of another class")
        if key_id in ring.retired:
            raise Refused(Refusal.RETIRED_KEY, f"{path} is sealed with the retired key {key_id}", key_id=key_id)
        if (key := ring.keys.get(key_id)) is None:
            raise Refused(
                Refusal.UNKNOWN_KEY, f"{path} is sealed with key {key_id}, which this node does not have", key_id=key_id
            )
        return sealed, key

    def _opened(self, path: str, sealed: SealedValue, key: ClusterKey, verify: bytes) -> Opened:
        header = sealed.header
        seal = _seal_key(key, header.record_class)
        if seal is None:
            raise Refused(Refusal.NOT_ALLOWED, f"{self._ring.node} is a front: it can't open {path}")
        associated = associated_data(self._ring.cluster, path, header)
        try:
            covered = signed_bytes(associated, header.nonce, sealed.ciphertext)
            Ed25519PublicKey.from_public_bytes(verify).verify(sealed.signature, covered)
        except (InvalidSignature, ValueError):
            raise Refused(Refusal.BAD_SIGNATURE, f"{path}: no full node signed this, or it belongs elsewhere") from None
        try:
            plaintext = AESGCM(seal).decrypt(header.nonce, sealed.ciphertext, associated)
        except InvalidTag:
            raise Refused(Refusal.BAD_SEAL, f"{path}: it can't be opened with key {key.key_id}") from None
        return Opened(header.generation, plaintext)


def _seal_key(key: ClusterKey, record_class: RecordClass) -> bytes | None:
    return key.seal_control if record_class is RecordClass.CONTROL else key.seal_sites
