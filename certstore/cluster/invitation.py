"""What brings a new node into a cluster: a text for the machine that joins, and a sealed bundle in the engine for it.

The text holds how to reach the engine and a one-time key; the cluster's keys lie in the bundle, which that key opens.
Neither is of use without the other, and the bundle is gone after an hour or with the first use. Whoever has the text
before the right machine does becomes the member, and whoever ever has it beside a copy of the engine from that hour has
the cluster's keys: it goes through a pipe or a file of root's, never into an argument.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from certstore.cluster.keys import KeyRing
from certstore.model.cluster.paths import ClusterPaths, is_cluster_id, is_invitation_id, is_node_name
from certstore.model.cluster.records import Role
from certstore.model.cluster.wire import NONCE_SIZE

LIFETIME = timedelta(hours=1)
TEXT_LIMIT = 256 * 1024
"""Bytes of an invitation: a chain of authorities may be long, an endless file must end."""
_BEGIN = "-----BEGIN CERTEDGE INVITATION-----"
_END = "-----END CERTEDGE INVITATION-----"
_VERSION = 1
_MAGIC = b"CI1"
_KEY_SIZE = 32


class InvitationUnusable(Exception):
    """The text is not an invitation, or the bundle is not the one that belongs to it. Quotes neither."""


@dataclass(frozen=True, slots=True)
class EngineAccess:
    """How a node reaches the engine: by a client certificate and its key in one PEM text, or by user and password."""

    endpoints: tuple[str, ...]
    ca_pem: str
    client_pem: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Invitation:
    """`key` opens the bundle. `expires` is by the inviter's clock: for people, as the engine's lease decides."""

    cluster: str
    node: str
    role: Role
    identity: str
    key: bytes = field(repr=False)
    access: EngineAccess
    expires: datetime

    @classmethod
    def draw(cls, cluster: str, node: str, role: Role, access: EngineAccess, now: datetime) -> Self:
        expires = (now + LIFETIME).replace(microsecond=0)
        identity = identity_of_front(cluster, node) if role is Role.FRONT else secrets.token_hex(8)
        return cls(cluster, node, role, identity, secrets.token_bytes(_KEY_SIZE), access, expires)

    @property
    def path(self) -> str:
        """Where the bundle lies in the engine."""
        return ClusterPaths(self.cluster).invite(self.identity)

    def to_text(self) -> str:
        """Lines for a pipe. All below the blank line is secret."""
        access = self.access
        facts = {
            "version": _VERSION,
            "cluster": self.cluster,
            "node": self.node,
            "role": self.role.value,
            "identity": self.identity,
            "key": self.key.hex(),
            "expires": self.expires.isoformat(),
            "endpoints": list(access.endpoints),
            "ca": access.ca_pem,
            "client": access.client_pem,
            "username": access.username,
            "password": access.password,
        }
        body = base64.b64encode(json.dumps(facts, separators=(",", ":")).encode()).decode()
        head = (f"Node: {self.node}", f"Cluster: {self.cluster}", f"Expires: {self.expires.isoformat()}")
        return "\n".join((_BEGIN, *head, "", *textwrap.wrap(body, 76), _END)) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of `to_text`, whatever surrounds it. Raises InvitationUnusable."""
        lines = [line.strip() for line in text.splitlines()]
        if _BEGIN not in lines:
            raise InvitationUnusable(f"there is no line {_BEGIN}")
        lines = lines[lines.index(_BEGIN) + 1 :]
        if _END not in lines:
            raise InvitationUnusable("it is cut off: its last line is missing")
        lines = lines[: lines.index(_END)]
        body = lines[lines.index("") + 1 :] if "" in lines else []
        try:
            return cls._from(json.loads(base64.b64decode("".join(body), validate=True)))
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError, binascii.Error):
            raise InvitationUnusable("it is damaged, or of another release of certedge") from None

    @classmethod
    def _from(cls, facts: Mapping[str, Any]) -> Self:
        if facts["version"] != _VERSION:
            raise ValueError("another release")
        endpoints = tuple(_text(each) for each in facts["endpoints"])
        access = EngineAccess(
            endpoints, _text(facts["ca"]), _maybe(facts["client"]), _maybe(facts["username"]), _maybe(facts["password"])
        )
        invitation = cls(
            cluster=_text(facts["cluster"]),
            node=_text(facts["node"]),
            role=Role(facts["role"]),
            identity=_text(facts["identity"]),
            key=bytes.fromhex(facts["key"]),
            access=access,
            expires=datetime.fromisoformat(facts["expires"]),
        )
        is_usable = is_cluster_id(invitation.cluster) and is_invitation_id(invitation.identity)
        if invitation.expires.tzinfo is None:
            raise ValueError("a time zone is missing")
        if not is_usable or not is_node_name(invitation.node) or len(invitation.key) != _KEY_SIZE or not endpoints:
            raise ValueError("a part is missing")
        return invitation


def identity_of_front(cluster: str, node: str) -> str:
    """That of every invitation for this front: the one that the engine lets it use up, which has to be known before."""
    return hashlib.sha256(f"certedge/front/1 {cluster} {node}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the one-time key opens: everything that makes the node a member. `member` is the sealed `n/member` record
    that the inviter signed; it replaces the one that had the revision `replaces`, 0 for none.
    """

    ring: KeyRing
    member: bytes = field(repr=False)
    replaces: int

    def seal(self, invitation: Invitation) -> bytes:
        """The value for `invitation.path`."""
        facts = {
            "ring": self.ring.to_json(),
            "member": base64.b64encode(self.member).decode(),
            "replaces": self.replaces,
        }
        nonce = secrets.token_bytes(NONCE_SIZE)
        seal = AESGCM(_seal_key(invitation))
        return _MAGIC + nonce + seal.encrypt(nonce, json.dumps(facts).encode(), _associated(invitation))

    @classmethod
    def open(cls, invitation: Invitation, value: bytes) -> Self:
        """Raises InvitationUnusable, whatever the engine showed."""
        nonce, ciphertext = value[len(_MAGIC) : len(_MAGIC) + NONCE_SIZE], value[len(_MAGIC) + NONCE_SIZE :]
        damaged = "what the engine holds for it is damaged, or was put there by somebody else"
        if not value.startswith(_MAGIC) or len(nonce) != NONCE_SIZE:
            raise InvitationUnusable(damaged)
        try:
            plaintext = AESGCM(_seal_key(invitation)).decrypt(nonce, ciphertext, _associated(invitation))
        except (InvalidTag, ValueError):
            raise InvitationUnusable(damaged) from None
        try:
            facts = json.loads(plaintext)
            bundle = cls(
                KeyRing.from_json(facts["ring"]), base64.b64decode(facts["member"], validate=True), facts["replaces"]
            )
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            raise InvitationUnusable("it was made by another release of certedge") from None
        ring = bundle.ring
        if (ring.cluster, ring.node, ring.role) != (invitation.cluster, invitation.node, invitation.role):
            raise InvitationUnusable(damaged)
        return bundle


def _seal_key(invitation: Invitation) -> bytes:
    return HKDF(SHA256(), _KEY_SIZE, salt=None, info=b"certedge/invitation/1").derive(invitation.key)


def _associated(invitation: Invitation) -> bytes:
    return f"certedge/invitation/1 {invitation.path} {invitation.node} {invitation.role.value}".encode()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    value.encode()  # ValueError for what no file can hold
    return value


def _maybe(value: Any) -> str | None:
    return None if value is None else _text(value)
