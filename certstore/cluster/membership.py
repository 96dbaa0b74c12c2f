"""Who belongs to a cluster: its first node, invitations and those who take them up, and leaving.

Every change is one conditional transaction, so two administrators at once, a lost answer or a kill leave either the
state before or the state after. Knows the engine and the keys; knows no store and no edge.yaml.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import batched

from certstore.cluster.engine import (
    GET_AT_ONCE,
    Committed,
    Compare,
    Delete,
    Engine,
    EngineFailed,
    EngineLost,
    Item,
    Lost,
    ModifiedAt,
    Op,
    Put,
)
from certstore.cluster.invitation import LIFETIME, Bundle, EngineAccess, Invitation, InvitationUnusable
from certstore.cluster.keys import KeyRing, NodeKeys
from certstore.cluster.known_members import KnownMember
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.health import last_changes
from certstore.model.cluster.paths import ClusterPaths, Shelf, is_node_name
from certstore.model.cluster.records import Live, Member, Meta, NodeListener, Role
from certstore.model.cluster.wire import READ_BY_OTHERS, RecordClass, Refused
from certstore.model.front import Front

_TRIES = 3
"""How often a transaction is sent that gets no answer. It is conditional, so twice is once."""
_ERASED_AT_ONCE = 100
_ROUNDS = 20


class MembershipRefused(Exception):
    """The cluster's state does not allow it: `found` says what is so, `remedy` what to do."""

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(f"{found}; {remedy}" if remedy else found)
        self.found = found
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Place:
    """Where clients reach a node, for its member record."""

    addresses: tuple[str, ...] = ()
    listeners: tuple[NodeListener, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What the engine holds, as far as this node can verify it. `refused` are records that do not count."""

    revision: int
    meta: Meta | None
    members: Mapping[str, Member]
    lives: Mapping[str, Live]
    refused: Mapping[str, Refused]
    changed: Mapping[str, int]
    """For each site the revision of its last change."""
    caretaker: str | None

    @property
    def nodes(self) -> list[str]:
        """Those that have not left."""
        return sorted(name for name, member in self.members.items() if not member.has_left)


class Membership:
    """The membership of the cluster that `ring` has the keys of. Older records than those in `known` do not count."""

    def __init__(self, engine: Engine, ring: KeyRing, known: Mapping[str, KnownMember] = {}) -> None:
        self._engine = engine
        self._ring = ring
        self._known = known
        self._paths = ClusterPaths(ring.cluster)
        self._sealer = KeyRingSealer(ring)

    def found(self, place: Place, now: datetime) -> None:
        """Begin the cluster with this node. Raises MembershipRefused, EngineFailed."""
        ring, paths = self._ring, self._paths
        meta = Meta(ring.cluster, now, ring.in_force)
        member = self._own(place, ring.node, now)
        compares = [ModifiedAt(paths.meta, 0), ModifiedAt(paths.member(ring.node), 0)]
        puts = [
            Put(paths.meta, self._sealer.seal(paths.meta, 1, RecordClass.SITES, meta.encode())),
            Put(paths.member(ring.node), self._sealed(member, 1)),
        ]
        if not _commit(self._engine, compares, puts):
            raise MembershipRefused(f"the engine already holds a cluster {ring.cluster}")

    def put_back(
        self, place: Place, now: datetime, *, has_meta: bool = True, exposed_before: datetime | None = None
    ) -> None:
        """Write again what the engine has lost: this node's own record, brought up to date; what is known of the other
        members, those that were taken out above all; and, where a person wants the engine filled again (`has_meta`
        False), what the cluster is, with `exposed_before` as in Meta. A node that was itself taken out or replaced
        writes nothing, and nobody fills an engine that holds another cluster. Raises EngineFailed.
        """
        ring, paths = self._ring, self._paths
        if ring.role is Role.FRONT:
            return
        found = self._engine.get([paths.meta, paths.member(ring.node)]).by_key()
        if paths.meta not in found:
            if has_meta:
                return  # emptied, or another engine: a person has to look first
            meta = Meta(ring.cluster, now, ring.in_force, ring.retired, exposed_before=exposed_before)
            value = self._sealer.seal(paths.meta, 1, RecordClass.SITES, meta.encode())
            self._engine.commit([ModifiedAt(paths.meta, 0)], [Put(paths.meta, value)])
        there = found.get(paths.member(ring.node))
        try:
            newest = self._newest(ring.node, shown := self._shown(there))
        except Refused:
            return
        if newest is not None and (newest.member.has_left or newest.member.signing_key != ring.own.sign_public):
            return
        by, at = (newest.member.by, newest.member.at) if newest is not None else (ring.node, now)
        own = self._own(place, by, at)
        if newest is None or newest.member != own:
            newest = KnownMember(newest.generation + 1 if newest is not None else 1, own)
        if newest != shown:
            self._write(there, newest)
        self._put_back_others()

    def _put_back_others(self) -> None:
        nodes = sorted(set(self._known) - {self._ring.node})
        for some in batched(nodes, GET_AT_ONCE):
            found = self._engine.get([self._paths.member(node) for node in some]).by_key()
            for node in some:
                there = found.get(self._paths.member(node))
                with contextlib.suppress(Refused):
                    newest = self._newest(node, shown := self._shown(there))
                    if newest is not None and newest != shown:
                        self._write(there, newest)

    def _shown(self, item: Item | None) -> KnownMember | None:
        """What the engine has, where it counts for anything. Raises Refused where another node may read it."""
        try:
            return self._member(item) if item is not None else None
        except Refused as error:
            if error.why in READ_BY_OTHERS:
                raise
            return None

    def _newest(self, node: str, shown: KnownMember | None) -> KnownMember | None:
        """Of what the engine shows and what this node has seen."""
        known = self._known.get(node)
        if known is None or shown is None:
            return shown or known
        try:
            known.check(shown.generation, shown.member)
        except Refused:
            return known
        return shown

    def _write(self, there: Item | None, record: KnownMember) -> None:
        """Over what was found there, or not at all: then somebody else has just written."""
        path = self._paths.member(record.member.name)
        value = self._sealed(record.member, record.generation)
        self._engine.commit([ModifiedAt(path, there.modified if there is not None else 0)], [Put(path, value)])

    def view(self) -> ClusterView:
        """Raises EngineFailed."""
        paths = self._paths
        keys = self._engine.read(paths.prefix, keys_only=True)
        nodes = self._engine.read(f"{paths.prefix}n/")
        members = {node: known.member for node, known in self._known.items()}
        lives: dict[str, Live] = {}
        refused: dict[str, Refused] = {}
        found = [(paths.parse(item.key), item) for item in nodes.items]
        for shelf in (Shelf.MEMBER, Shelf.LIVE):  # members first: their keys verify the others
            for where, item in found:
                if where is None or where.shelf is not shelf:
                    continue
                try:
                    if shelf is Shelf.MEMBER:
                        shown = self._member(item)
                        if (known := self._known.get(where.name)) is not None:
                            known.check(shown.generation, shown.member)
                        members[where.name] = shown.member
                    elif (member := members.get(where.name)) is not None:
                        opened = self._sealer.open_live(item.key, item.value, member.signing_key)
                        lives[where.name] = Live.decode(opened.plaintext)
                except Refused as error:
                    refused[item.key] = error
        meta = self._meta(refused)
        holders = [item.value for where, item in found if where is not None and where.shelf is Shelf.CARETAKER]
        changed = last_changes(paths, ((item.key, item.modified) for item in keys.items))
        return ClusterView(
            nodes.revision, meta, members, lives, refused, changed, _node_of(holders[0]) if holders else None
        )

    def invite(
        self,
        node: str,
        role: Role,
        access: EngineAccess,
        now: datetime,
        *,
        place: Place = Place(),
        is_again: bool = False,
    ) -> Invitation:
        """Let a machine become `node`, once and within an hour. `is_again`: a member of this name is set up anew. Its
        invitation makes a front a member, as it can't write its own record.

        Raises MembershipRefused, EngineFailed.
        """
        ring, paths = self._ring, self._paths
        if ring.role is Role.FRONT:
            raise MembershipRefused(f"{ring.node} is a front and can't invite", "do it on a full node")
        reading = self._engine.get([paths.meta, paths.member(node), paths.live(node)]).by_key()
        if paths.meta not in reading:
            raise foreign_engine(ring.cluster)
        there = reading.get(paths.member(node))
        before = self._newest(node, self._shown(there))
        if before is not None and not before.member.has_left and not is_again:
            raise MembershipRefused(
                f"{node} is a member already, since {before.member.at:%Y-%m-%d}",
                f"choose another name; or, if its machine was set up anew: certedge cluster invite {node} --again",
            )
        generation = before.generation + 1 if before is not None else 1
        if paths.live(node) in reading:
            raise MembershipRefused(f"{node} is running", "stop the service there first, or choose another name")
        own = NodeKeys.draw()
        member = Member(
            node, role, own.exchange_public, own.sign_public, ring.node, now, place.addresses, place.listeners
        )
        bundle = Bundle(
            ring.for_member(node, role, own), self._sealed(member, generation), there.modified if there else 0
        )
        invitation = Invitation.draw(ring.cluster, node, role, access, now)
        lease = self._engine.grant(LIFETIME)
        ops: list[Op] = [Put(invitation.path, bundle.seal(invitation), lease)]
        compares: list[Compare] = [ModifiedAt(invitation.path, 0)]
        if role is Role.FRONT:  # it can't write its record itself, and an earlier invitation is replaced
            earlier = self._engine.get([invitation.path]).by_key().get(invitation.path)
            compares = [ModifiedAt(invitation.path, earlier.modified if earlier is not None else 0)]
            compares.append(ModifiedAt(paths.member(node), bundle.replaces))
            ops.append(Put(paths.member(node), bundle.member))
        if not _commit(self._engine, compares, ops):
            raise MembershipRefused("the invitation could not be kept in the engine", "try again")
        return invitation

    def leave(self, node: str, now: datetime) -> None:
        """Take a member out. Its record stays, so that an old one can't bring it back.

        Raises MembershipRefused, Refused (for a record that does not count), EngineFailed.
        """
        ring, paths = self._ring, self._paths
        if ring.role is Role.FRONT:
            raise MembershipRefused(f"{ring.node} is a front and can't change members", "do it on a full node")
        there = self._engine.get([paths.member(node)]).by_key().get(paths.member(node))
        if (before := self._newest(node, shown := self._shown(there))) is None:
            raise MembershipRefused(f"there is no member {node}", "to list them: certedge cluster status")
        if before.member.has_left:
            if before != shown:
                self._write(there, before)
            return
        after = replace(before.member, has_left=True, by=ring.node, at=now)
        compares = [ModifiedAt(paths.member(node), there.modified if there is not None else 0)]
        if not _commit(self._engine, compares, [Put(paths.member(node), self._sealed(after, before.generation + 1))]):
            raise MembershipRefused(f"the record of {node} has just changed", "look at the status, and try again")

    def erase(self) -> int:
        """Delete everything of this cluster from the engine, and return how many records that were. For its last node.

        Raises MembershipRefused, EngineFailed.
        """
        erased = 0
        for _ in range(_ROUNDS):
            items = self._engine.read(self._paths.prefix, keys_only=True).items
            if not items:
                return erased
            for at in range(0, len(items), _ERASED_AT_ONCE):
                some = items[at : at + _ERASED_AT_ONCE]
                compares = [ModifiedAt(item.key, item.modified) for item in some]
                # What changes meanwhile is read again.
                erased += len(some) * _commit(self._engine, compares, [Delete(item.key) for item in some])
        raise MembershipRefused("a service still writes to the cluster", "stop it, and try again")

    # Inside

    def _own(self, place: Place, by: str, at: datetime) -> Member:
        ring = self._ring
        return Member(
            ring.node, ring.role, ring.own.exchange_public, ring.own.sign_public, by, at,
            place.addresses, place.listeners,
        )  # fmt: skip

    def _sealed(self, member: Member, generation: int) -> bytes:
        return self._sealer.seal(self._paths.member(member.name), generation, RecordClass.SITES, member.encode())

    def _member(self, item: Item) -> KnownMember:
        """Raises Refused."""
        opened = self._sealer.open(item.key, item.value)
        return KnownMember(opened.generation, Member.decode(item.key.rpartition("/")[2], opened.plaintext))

    def _meta(self, refused: dict[str, Refused]) -> Meta | None:
        path = self._paths.meta
        if (item := self._engine.get([path]).by_key().get(path)) is None:
            return None
        try:
            return Meta.decode(self._sealer.open(path, item.value).plaintext)
        except Refused as error:
            refused[path] = error
            return None


def accept(engine: Engine, invitation: Invitation) -> Bundle:
    """What the invitation holds for this machine. Nothing has changed until `complete`.

    Raises MembershipRefused, InvitationUnusable, EngineFailed.
    """
    paths = ClusterPaths(invitation.cluster)
    found = engine.get([invitation.path, paths.meta]).by_key()
    if paths.meta not in found:
        raise foreign_engine(invitation.cluster)
    if (item := found.get(invitation.path)) is None:
        raise MembershipRefused(
            f"the invitation for {invitation.node} has been used, or its hour is over (until "
            f"{invitation.expires:%Y-%m-%d %H:%M %Z})",
            f"if you did not use it, somebody else did: look at certedge cluster status. For another one, run on a "
            f"member: certedge cluster invite {invitation.node}",
        )
    return Bundle.open(invitation, item.value)


def complete(engine: Engine, invitation: Invitation, bundle: Bundle, place: Place) -> None:
    """Become a member and use the invitation up, both or neither. A full node signs where it is reached itself.

    Raises MembershipRefused, InvitationUnusable, EngineFailed.
    """
    paths, sealer = ClusterPaths(invitation.cluster), KeyRingSealer(bundle.ring)
    path, value = paths.member(invitation.node), bundle.member
    try:
        opened = sealer.open(path, value)
        member = Member.decode(invitation.node, opened.plaintext)
        if member.signing_key != bundle.ring.own.sign_public:
            raise InvitationUnusable("the keys in it are not those of the member that it makes")
        if bundle.ring.role is Role.EDGE:
            here = replace(member, addresses=place.addresses, listeners=place.listeners)
            value = sealer.seal(path, opened.generation, RecordClass.SITES, here.encode())
    except Refused as error:
        raise InvitationUnusable(str(error)) from None
    found = engine.get([invitation.path, path]).by_key()
    there = found.get(invitation.path)
    compares: list[Compare] = [ModifiedAt(invitation.path, there.modified if there else 0)]
    ops: list[Op] = [Delete(invitation.path)]
    if bundle.ring.role is Role.EDGE:
        compares.append(ModifiedAt(path, bundle.replaces))
        ops.append(Put(path, value))
    elif path not in found or found[path].value != value:
        there = None
    else:
        compares.append(ModifiedAt(path, found[path].modified))
    if there is None or not _commit(engine, compares, ops):
        raise MembershipRefused(
            f"another machine has become {invitation.node} meanwhile",
            "look at certedge cluster status on a member; if you did not do that, take that node out",
        )


def use_up(engine: Engine, invitation: Invitation) -> None:
    """After a kill between the two halves of a join. Raises EngineFailed."""
    if (item := engine.get([invitation.path]).by_key().get(invitation.path)) is not None:
        _commit(engine, [ModifiedAt(item.key, item.modified)], [Delete(item.key)])


def is_member(engine: Engine, ring: KeyRing) -> bool:
    """Whether the member of this name has these keys and has not left. Raises Refused, EngineFailed."""
    path = ClusterPaths(ring.cluster).member(ring.node)
    if (item := engine.get([path]).by_key().get(path)) is None:
        return False
    member = Member.decode(ring.node, KeyRingSealer(ring).open(path, item.value).plaintext)
    return not member.has_left and member.signing_key == ring.own.sign_public


def front_of(engine: Engine, ring: KeyRing) -> Front | None:
    """What a member's store has to know before it is opened: whether it is a front, and where there is a full node."""
    if ring.role is not Role.FRONT:
        return None
    try:
        members = Membership(engine, ring).view().members.values()
    except EngineFailed:
        return Front(ring.node)
    full = sorted(each.name for each in members if each.role is Role.EDGE and not each.has_left)
    return Front(ring.node, full[0] if full else None)


def foreign_engine(cluster: str) -> MembershipRefused:
    return MembershipRefused(
        f"this engine does not hold the cluster {cluster}: it is another one, or was emptied",
        "check `cluster.engine` in edge.yaml; if it is the right engine: certedge cluster rebuild",
    )


def _commit(engine: Engine, compares: Sequence[Compare], ops: Sequence[Op]) -> bool:
    """Whether it is done; False where a compare did not hold. Raises EngineFailed."""
    was_unknown = False
    for _ in range(_TRIES):
        match engine.commit(compares, ops):
            case Committed():
                return True
            case Lost():
                # An earlier try may have arrived after all; without one, equal bytes are somebody else's.
                return was_unknown and _is_done(engine, ops)
        was_unknown = True
        if _is_done(engine, ops):
            return True
    raise EngineLost("the engine does not answer; to see whether it was done: certedge cluster status")


def _is_done(engine: Engine, ops: Sequence[Op]) -> bool:
    found = engine.get([op.key for op in ops]).by_key()
    there = {key: item.value for key, item in found.items()}
    return all(there.get(op.key) == (op.value if isinstance(op, Put) else None) for op in ops)


def _node_of(value: bytes) -> str | None:
    """Not authenticated: it only coordinates."""
    text = value.decode("ascii", "replace")
    return text if is_node_name(text) else None
