"""The commands about the key of the cluster that this node belongs to: a new one, also because somebody has the old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certstore.control.commands import requests, results
from certstore.control.commands.on_cluster import engine_of, failures_told, key_file_of, keys_of, settings_of
from certstore.control.protocol import Fault, RequestFailed
from certstore.files.clock import utc_now
from certstore.model.progress import Tell
from certstore.model.text import listed
from certstore.store.writer import StoreWriter

if TYPE_CHECKING:
    from certstore.cluster.engine import Engine
    from certstore.cluster.keys import KeyRing


_EXPOSED = (
    "every certificate that is ordered gets a new key, and its old one is revoked; what was uploaded or dropped has "
    "the problem key_exposed until you replace it: certedge status"
)
_OF_FULL_NODE = (
    "it was no front: give the accounts at the CAs new keys with certedge account rollover, and the console's users "
    "new passwords"
)


def rotate_key(writer: StoreWriter, request: requests.RotateKeyRequest, tell: Tell) -> results.MembershipResult:
    with failures_told(), engine_of(request, settings_of(request)) as engine:
        ring = keys_of(writer, request)
        message, notes = _rotated(writer, request, engine, ring, tell)
    return results.MembershipResult(ring.cluster, ring.node, message, len(writer.sites()), notes)


def remove_compromised(
    writer: StoreWriter, request: requests.RemoveCompromisedRequest, tell: Tell
) -> results.MembershipResult:
    """Out, and everything that it knew becomes useless: the cluster's key, and the keys of all certificates. Where it
    was cut short, the same command goes on.
    """
    from certstore.cluster.known_members import read_known
    from certstore.cluster.membership import Membership
    from certstore.model.cluster.paths import ClusterPaths
    from certstore.model.cluster.records import Role

    with failures_told(), engine_of(request, settings_of(request)) as engine:
        ring = keys_of(writer, request)
        if request.node == ring.node:
            remedy = "do it on another full node"
            raise RequestFailed(Fault.INVALID, f"{ring.node} is the node that this command runs on", remedy)
        known = read_known(writer.layout, ClusterPaths(ring.cluster))
        membership = Membership(engine, ring, known)
        membership.leave(request.node, utc_now())
        member = membership.view().members.get(request.node)
        tell(f"{request.node} is no member any more")
        message, notes = _rotated(writer, request, engine, ring, tell, stolen=request.node)
    notes = (
        f"take the credential of {request.node} for the engine away: see certedge docs cluster",
        _EXPOSED,
        *([_OF_FULL_NODE] if member is None or member.role is Role.EDGE else []),
        *notes,
    )
    message = f"{request.node} has left the cluster {ring.cluster}; {message}"
    return results.MembershipResult(ring.cluster, request.node, message, len(writer.sites()), notes)


def _rotated(
    writer: StoreWriter,
    request: requests.RotateKeyRequest | requests.RemoveCompromisedRequest,
    engine: Engine,
    ring: KeyRing,
    tell: Tell,
    stolen: str | None = None,
) -> tuple[str, tuple[str, ...]]:
    """In words, with notes."""
    from certstore.cluster.known_members import read_known
    from certstore.cluster.rotation import Rotation
    from certstore.model.cluster.paths import ClusterPaths

    path, known = key_file_of(writer, request), read_known(writer.layout, ClusterPaths(ring.cluster))
    rotated = Rotation(engine, path, ring, known, tell).run(stolen)
    notes = [f"the cluster's keys are in {path}: a backup from before does not hold the new one"]
    if rotated.unread:
        notes.append(f"these records are not authentic, and were left as they are: {listed(rotated.unread)}")
    return f"the cluster's key is {rotated.key_id} now: {rotated.resealed} records sealed anew", tuple(notes)
