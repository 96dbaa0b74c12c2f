"""A new cluster key on its way to one member: `n/key/KEY/NODE`.

    "CK1" | id of the signing key (4) | ephemeral X25519 key (32) | nonce (12) | Ed25519 signature (64) | ciphertext

Only the member's exchange key opens it; the key that was in force before signs it, so no front makes one. It stays in
the engine: a node that was away for long learns every key from the one before. A front's copy lacks what fronts lack.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from certstore.cluster.keys import KEY_SIZE, ClusterKey, KeyRing, key_from_json, key_to_json
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Member, Role
from certstore.model.cluster.wire import KEY_ID_SIZE, NONCE_SIZE, SIGNATURE_SIZE, Refusal, Refused

_MAGIC = b"CK1"
_LIMIT = 4096


def seal_copy(cluster: str, member: Member, key: ClusterKey, signer: ClusterKey) -> bytes:
    """`signer` is the key that the member has. Raises ValueError for a member whose exchange key is none."""
    path = ClusterPaths(cluster).of(Shelf.KEY, key.key_id, member.name)
    given = key.for_front() if member.role is Role.FRONT else key
    ephemeral, nonce = X25519PrivateKey.generate(), os.urandom(NONCE_SIZE)
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(member.exchange_key)))
    public = ephemeral.public_key().public_bytes_raw()
    plaintext = json.dumps(key_to_json(given)).encode()
    ciphertext = AESGCM(_seal_key(shared, public, path)).encrypt(nonce, plaintext, path.encode())
    if signer.sign is None:
        raise Refused(Refusal.NOT_ALLOWED, "a front can't pass on keys")
    head = _MAGIC + bytes.fromhex(signer.key_id) + public + nonce
    signature = Ed25519PrivateKey.from_private_bytes(signer.sign).sign(_signed(path, head, ciphertext))
    return head + signature + ciphertext


def open_copy(ring: KeyRing, key_id: str, value: bytes) -> ClusterKey:
    """The copy for this node. Raises Refused."""
    path = ClusterPaths(ring.cluster).of(Shelf.KEY, key_id, ring.node)
    parts = _Parts(value)
    magic, signing, public, nonce = parts.take(len(_MAGIC), KEY_ID_SIZE, KEY_SIZE, NONCE_SIZE)
    head = value[: parts.at]
    (signature,) = parts.take(SIGNATURE_SIZE)
    ciphertext = value[parts.at :]
    if magic != _MAGIC or len(value) > _LIMIT:
        raise Refused(Refusal.MALFORMED, f"{path} is not a copy of a key")
    if (signer := ring.keys.get(signing.hex())) is None:
        why = Refusal.RETIRED_KEY if signing.hex() in ring.retired else Refusal.UNKNOWN_KEY
        raise Refused(why, f"{path} is signed with key {signing.hex()}, which this node lacks", key_id=signing.hex())
    try:
        Ed25519PublicKey.from_public_bytes(signer.verify).verify(signature, _signed(path, head, ciphertext))
    except InvalidSignature:
        raise Refused(Refusal.BAD_SIGNATURE, f"{path}: no full node signed this, or it belongs elsewhere") from None
    try:
        shared = X25519PrivateKey.from_private_bytes(ring.own.exchange).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
        plaintext = AESGCM(_seal_key(shared, public, path)).decrypt(nonce, ciphertext, path.encode())
        return key_from_json(key_id, json.loads(plaintext), ring.role)
    except (InvalidTag, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Refused(Refusal.BAD_SEAL, f"{path}: it can't be opened with the keys of {ring.node}") from None


class _Parts:
    def __init__(self, value: bytes) -> None:
        self._value, self.at = value, 0

    def take(self, *sizes: int) -> Iterator[bytes]:
        parts = []
        for size in sizes:
            parts.append(self._value[self.at : self.at + size])
            self.at += size
        return iter(parts)


def _signed(path: str, head: bytes, ciphertext: bytes) -> bytes:
    return b"certedge/key/1" + path.encode() + b"\0" + head + ciphertext


def _seal_key(shared: bytes, public: bytes, path: str) -> bytes:
    return HKDF(SHA256(), KEY_SIZE, salt=public, info=b"certedge/key/1 " + path.encode()).derive(shared)
