"""The nodes of the cluster as this one sees them: who is a member, how each is, and how far it is behind.

Read as a whole with each sync and kept up to date by the feed. Decides nothing: `model.cluster.health` does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import datetime

from certstore.cluster.engine import Batch, Item
from certstore.cluster.known_members import KnownMembers
from certstore.cluster.sealing import Sealer
from certstore.model.cluster.health import NodeStanding, last_changes, node_standings, problem_of
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Live, Member, Role
from certstore.model.cluster.wire import Refused


def _plain(address: str) -> str:
    """An address in its one form."""
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        return address


class Nodes:
    """Used by one thread."""

    def __init__(self, sealer: Sealer, paths: ClusterPaths, known: KnownMembers) -> None:
        self._sealer = sealer
        self._paths = paths
        self._known = known
        self._members: dict[str, Member] = {}
        self._there: set[str] = set()
        """Whose record the engine has, whatever it is worth."""
        self._lives: dict[str, Live] = {}
        self._changed: dict[str, int] = {}
        self._refused: dict[str, Refused] = {}
        self.lost: set[str] = set()
        """Members of whom the engine shows nothing, or less than this node has seen."""
        self.caretaker: str | None = None

    def read(self, items: Iterable[Item], changed: dict[str, int]) -> None:
        """Everything below `n/`, and for each site the revision of its last change."""
        fresh = Nodes(self._sealer, self._paths, self._known)
        fresh._take(items)
        for node in self._known.keys() - fresh._there:
            fresh._lose(node)
        # At once: an order that asks meanwhile who lacks its token must not hear that nobody does.
        self._members, self._lives, self._refused = fresh._members, fresh._lives, fresh._refused
        self._there, self.lost = fresh._there, fresh.lost
        self.caretaker, self._changed = fresh.caretaker, changed

    def take(self, batch: Batch) -> None:
        """What the feed shows."""
        self._changed |= last_changes(self._paths, ((item.key, item.modified) for item in batch.put))
        self._take(batch.put)
        for key in batch.deleted:
            where = self._paths.parse(key)
            if where is None:
                continue
            self._refused.pop(key, None)
            if where.shelf is Shelf.LIVE:
                self._lives.pop(where.name, None)
            elif where.shelf is Shelf.MEMBER:
                self._there.discard(where.name)
                self._lose(where.name)
            elif where.shelf is Shelf.CARETAKER:
                self.caretaker = None

    def standings(self, now: datetime) -> list[NodeStanding]:
        return node_standings(self._members.values(), self._lives, self._changed, now)

    def problems(self) -> list[tuple[str, str]]:
        """What members' records are wrong with."""
        found = (problem_of(refused) for refused in self._refused.values())
        return [(code.value, message) for code, message in found]

    def instance(self, node: str) -> str | None:
        """The start of a node that is alive."""
        live = self._lives.get(node)
        return live.instance if live is not None else None

    def lacking(self, revision: int, *, but: str) -> list[str]:
        """The other nodes that live and have not applied this revision. From any thread."""
        return sorted(name for name, live in dict(self._lives).items() if name != but and live.applied < revision)

    def full_node(self) -> str | None:
        """One that may change what all serve: the caretaker, else the first one that lives, else the first one."""
        full = sorted(member.name for member in self._members.values() if _is_full(member))
        living = [name for name in full if name in self._lives]
        return self.caretaker if self.caretaker in full else next(iter([*living, *full]), None)

    def at(self, address: str, *, but: str) -> str:
        """The other member that clients reach there, empty where there is none. From any thread."""
        wanted, found = _plain(address), set[str]()
        for member in dict(self._members).values():
            own = member.addresses or tuple(each.host for each in member.listeners)
            if not member.has_left and wanted in map(_plain, own):
                found.add(member.name)
        is_anyones = wanted in ("0.0.0.0", "::")
        return "" if is_anyones or but in found else min(found, default="")

    def has_left(self, node: str) -> bool:
        """Whether it was taken out of the cluster: that stays on record."""
        member = self._members.get(node)
        return member is not None and member.has_left

    def is_missing(self, node: str) -> bool:
        """Whether the engine has no record of this member."""
        return node not in self._there

    def _lose(self, node: str) -> None:
        """A deletion in the engine takes nobody out, and brings nobody back."""
        if (known := self._known.get(node)) is not None:
            self._members[node] = known.member
            self.lost.add(node)

    def _take(self, items: Iterable[Item]) -> None:
        found = [(where, item) for item in items if (where := self._paths.parse(item.key)) is not None]
        for where, item in sorted(found, key=lambda pair: pair[0].shelf is not Shelf.MEMBER):  # they verify the others
            try:
                if where.shelf is Shelf.MEMBER:
                    self._there.add(where.name)
                    self._lose(where.name)
                    opened = self._sealer.open(item.key, item.value)
                    shown = Member.decode(where.name, opened.plaintext)
                    self._known.take(opened.generation, shown)
                    self._members[where.name] = shown
                    self.lost.discard(where.name)
                elif where.shelf is Shelf.LIVE and (member := self._members.get(where.name)) is not None:
                    opened = self._sealer.open_live(item.key, item.value, member.signing_key)
                    self._lives[where.name] = Live.decode(opened.plaintext)
                elif where.shelf is Shelf.CARETAKER:
                    self.caretaker = item.value.decode("ascii", "replace")[:63]
                else:
                    continue
            except Refused as error:
                self._refused[item.key] = error
            else:
                self._refused.pop(item.key, None)


def _is_full(member: Member) -> bool:
    return member.role is Role.EDGE and not member.has_left
