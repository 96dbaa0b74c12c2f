"""The nodes of the cluster as this one sees them: who is a member, how each is, and how far it is behind.

Read as a whole with each sync and kept up to date by the feed. Decides nothing: `model.cluster.health` does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import datetime

from certstore.cluster.engine import Batch, Item
from certstore.cluster.sealing import Sealer
from certstore.model.cluster.health import NodeStanding, last_changes, node_standings, problem_of
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Live, Member
from certstore.model.cluster.wire import Refused


def _plain(address: str) -> str:
    """An address in its one form."""
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        return address


class Nodes:
    """Used by one thread."""

    def __init__(self, sealer: Sealer, paths: ClusterPaths) -> None:
        self._sealer = sealer
        self._paths = paths
        self._members: dict[str, Member] = {}
        self._lives: dict[str, Live] = {}
        self._changed: dict[str, int] = {}
        self._refused: dict[str, Refused] = {}
        self.caretaker: str | None = None

    def read(self, items: Iterable[Item], changed: dict[str, int]) -> None:
        """Everything below `n/`, and for each site the revision of its last change."""
        fresh = Nodes(self._sealer, self._paths)
        fresh._take(items)
        # At once: an order that asks meanwhile who lacks its token must not hear that nobody does.
        self._members, self._lives, self._refused = fresh._members, fresh._lives, fresh._refused
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
                self._members.pop(where.name, None)
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
        return node not in self._members and self._paths.member(node) not in self._refused

    def _take(self, items: Iterable[Item]) -> None:
        found = [(where, item) for item in items if (where := self._paths.parse(item.key)) is not None]
        for where, item in sorted(found, key=lambda pair: pair[0].shelf is not Shelf.MEMBER):  # they verify the others
            try:
                if where.shelf is Shelf.MEMBER:
                    opened = self._sealer.open(item.key, item.value)
                    self._members[where.name] = Member.decode(where.name, opened.plaintext)
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
