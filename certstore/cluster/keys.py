"""The keys of a cluster and of this node, and the file that they lie in: `cluster/keys.json` of the store, 0600.

A full node holds everything; a front holds neither the key that signs nor the one that opens control records. A
retired key is gone from the file, and only its id remains, so that a record under it is refused by name. Keys are drawn
here and nowhere else; they are never part of a text that is shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from certstore.files.atomic import make_folder, replace_file
from certstore.model.cluster.paths import is_cluster_id, is_key_id, is_node_name
from certstore.model.cluster.records import Role
from certstore.model.cluster.wire import KEY_ID_SIZE

KEY_SIZE = 32
_LIMIT = 64 * 1024
"""Bytes of a key file; one key takes about 300."""
_FORMAT = 1
_updating = threading.Lock()


class KeysUnusable(Exception):
    """The key file is missing, damaged, or not safe to use; the message says which file and what to do."""


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """One generation of the cluster's keys, raw. A front has neither `seal_control` nor `sign`."""

    key_id: str
    seal_sites: bytes = field(repr=False)
    verify: bytes = field(repr=False)
    seal_control: bytes | None = field(default=None, repr=False)
    sign: bytes | None = field(default=None, repr=False)

    @classmethod
    def draw(cls) -> Self:
        sign = Ed25519PrivateKey.generate()
        return cls(
            key_id=secrets.token_hex(KEY_ID_SIZE),
            seal_sites=secrets.token_bytes(KEY_SIZE),
            verify=sign.public_key().public_bytes_raw(),
            seal_control=secrets.token_bytes(KEY_SIZE),
            sign=sign.private_bytes_raw(),
        )

    def for_front(self) -> ClusterKey:
        """What a front is given of it."""
        return replace(self, seal_control=None, sign=None)


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The node's own private keys, raw: `exchange` (X25519) receives new cluster keys, `sign` (Ed25519) signs how the
    node is.
    """

    exchange: bytes = field(repr=False)
    sign: bytes = field(repr=False)

    @classmethod
    def draw(cls) -> Self:
        return cls(X25519PrivateKey.generate().private_bytes_raw(), Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def exchange_public(self) -> str:
        """In hex, as in a member's record."""
        return X25519PrivateKey.from_private_bytes(self.exchange).public_key().public_bytes_raw().hex()

    @property
    def sign_public(self) -> str:
        return Ed25519PrivateKey.from_private_bytes(self.sign).public_key().public_bytes_raw().hex()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Everything in a key file. `current` seals; the other keys only open; of `retired` ones only the ids are left."""

    cluster: str
    node: str
    role: Role
    current: str
    keys: Mapping[str, ClusterKey]
    own: NodeKeys
    retired: tuple[str, ...] = ()

    @classmethod
    def draw(cls, node: str) -> Self:
        """Those of a new cluster, whose first node is `node`."""
        key = ClusterKey.draw()
        return cls(secrets.token_hex(8), node, Role.EDGE, key.key_id, {key.key_id: key}, NodeKeys.draw())

    @property
    def sealing_key(self) -> ClusterKey:
        return self.keys[self.current]

    @property
    def in_force(self) -> tuple[str, ...]:
        """The ids of the keys that it has; it seals with the first."""
        return self.current, *(key_id for key_id in self.keys if key_id != self.current)

    def with_key(self, key: ClusterKey) -> KeyRing:
        """With one more, the newest: keys are in the order of their age."""
        return replace(self, keys={**self.keys, key.key_id: key})

    def sealing_with(self, key_id: str) -> KeyRing:
        """Unchanged where that key is older than the one that seals now."""
        ages = list(self.keys)
        return replace(self, current=key_id) if ages.index(key_id) > ages.index(self.current) else self

    def for_member(self, node: str, role: Role, own: NodeKeys) -> KeyRing:
        """What another node is given."""
        keys = {each.key_id: each.for_front() if role is Role.FRONT else each for each in self.keys.values()}
        return KeyRing(self.cluster, node, role, self.current, keys, own, self.retired)

    def to_json(self) -> dict[str, Any]:
        """For the key file and for sealed invitations only: it holds every secret."""
        return {
            "format": _FORMAT,
            "cluster": self.cluster,
            "node": self.node,
            "role": self.role.value,
            "current": self.current,
            "keys": {key_id: key_to_json(key) for key_id, key in self.keys.items()},
            "own": {"exchange": self.own.exchange.hex(), "sign": self.own.sign.hex()},
            "retired": list(self.retired),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError on anything else, without a key in it."""
        if facts["format"] != _FORMAT:
            raise ValueError("it was written by another release")
        role = Role(facts["role"])
        keys = {key_id: key_from_json(key_id, own, role) for key_id, own in facts["keys"].items()}
        own = NodeKeys(_raw(facts["own"], "exchange"), _raw(facts["own"], "sign"))
        ring = cls(
            facts["cluster"], facts["node"], role, facts["current"], keys, own, tuple(map(str, facts["retired"]))
        )
        if not is_cluster_id(ring.cluster) or not is_node_name(ring.node) or ring.current not in keys:
            raise ValueError("it does not name a cluster, a node and a key in force")
        return ring


def key_to_json(key: ClusterKey) -> dict[str, str]:
    """For the key file and for sealed copies only."""
    names = ("seal_sites", "seal_control", "sign", "verify")
    return {name: value.hex() for name in names if (value := getattr(key, name)) is not None}


def key_from_json(key_id: str, facts: Mapping[str, Any], role: Role) -> ClusterKey:
    """Raises KeyError, TypeError or ValueError, without a key in it."""
    if not is_key_id(key_id):
        raise ValueError("a key's id is 8 hexadecimal digits")
    key = ClusterKey(
        key_id,
        _raw(facts, "seal_sites"),
        _raw(facts, "verify"),
        _raw(facts, "seal_control") if "seal_control" in facts else None,
        _raw(facts, "sign") if "sign" in facts else None,
    )
    if role is Role.EDGE and (key.sign is None or key.seal_control is None):
        raise ValueError(f"key {key_id} lacks a part that a node of this role needs")
    if key.sign is not None and Ed25519PrivateKey.from_private_bytes(key.sign).public_key().public_bytes_raw() != (
        key.verify
    ):
        raise ValueError(f"the two halves of key {key_id} don't belong together")
    Ed25519PublicKey.from_public_bytes(key.verify)
    return key


def _raw(facts: Mapping[str, Any], name: str) -> bytes:
    """From None on, an error says only which part is wrong: never what it was."""
    try:
        raw = bytes.fromhex(facts[name])
    except (TypeError, ValueError):
        raw = b""
    if len(raw) != KEY_SIZE:
        raise ValueError(f"`{name}` is not {KEY_SIZE} bytes in hex")
    return raw


def read_keys(path: Path) -> KeyRing:
    """Raises KeysUnusable, also where others than their owner may read or change the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise KeysUnusable(f"the cluster's keys can't be read: {path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeysUnusable(f"{path} is not a regular file")
        if _is_shared(status):
            raise KeysUnusable(
                f"{path} holds the cluster's keys, and others than its owner may use it: run `chmod 600 {path}`, and "
                "if somebody may have read it, `certedge cluster remove NODE --compromised` on another node"
            )
        content = b""
        while len(content) <= _LIMIT and (part := os.read(descriptor, _LIMIT + 1 - len(content))):
            content += part
    except OSError as error:
        raise KeysUnusable(f"the cluster's keys can't be read: {path}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    try:
        if len(content) > _LIMIT:
            raise ValueError(f"it has more than {_LIMIT} bytes")
        return KeyRing.from_json(json.loads(content))
    except json.JSONDecodeError:  # its text quotes nothing, but its object holds the whole document
        raise KeysUnusable(f"{path} is not JSON; restore it from a backup, or join the cluster anew") from None
    except ValueError as error:
        raise KeysUnusable(f"{path}: {error}; restore it from a backup, or join the cluster anew") from None
    except (AttributeError, LookupError, TypeError, RecursionError):
        raise KeysUnusable(
            f"{path} does not have the form of a key file; restore it from a backup, or join the cluster anew"
        ) from None


def _is_shared(status: os.stat_result) -> bool:
    """Whether others than the owner may use the file. A credential that systemd passes to a service belongs to root,
    and its mode shows the rights that an ACL gives the service's user as those of the group.
    """
    is_credential = status.st_uid == status.st_gid == 0 and stat.S_IMODE(status.st_mode) == 0o440
    return bool(status.st_mode & 0o077) and not is_credential


def write_keys(path: Path, ring: KeyRing) -> None:
    """By one rename; readable for its owner alone from its first byte on. Raises OSError."""
    if not path.parent.is_dir():  # one that is there keeps its mode: it may be edge.yaml's
        make_folder(path.parent, 0o700)
    replace_file(path, json.dumps(ring.to_json(), indent=1).encode() + b"\n", 0o600, path.parent)


def update_keys(path: Path, change: Callable[[KeyRing], KeyRing]) -> KeyRing:
    """Change what the file holds; a command and the thread that follows may do so at once. Raises KeysUnusable,
    OSError.
    """
    with _updating:
        before = read_keys(path)
        after = change(before)
        if after != before:
            write_keys(path, after)
        return after


def remove_keys(path: Path) -> None:
    """Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
