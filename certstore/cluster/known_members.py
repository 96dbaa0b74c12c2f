"""The newest record of each member that this node has seen: `state/members.jsonl`, one line for each.

Its generation is a floor: whoever can write to the engine may show an older record, or none, and brings nobody back
who was taken out. What the engine lacks is written again from here. The file holds no secret. One thread writes it;
commands read it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from certstore.files.keyed_state import KeyedState, is_read_by, read_values
from certstore.model.cluster.merge import Freshness, freshness
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Member
from certstore.model.cluster.wire import Refusal, Refused
from certstore.model.layout import Layout

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownMember:
    """A member's record and its generation."""

    generation: int
    member: Member

    def check(self, generation: int, member: Member) -> None:
        """Raises Refused for a record that does not count against this one."""
        match freshness(generation, str(member.encode()), self.generation, str(self.member.encode())):
            case Freshness.NEWER | Freshness.KNOWN:
                return
            case Freshness.FORKED if member.has_left and not self.member.has_left:
                return  # a removal wins on every node, whichever it saw first
        raise Refused(
            Refusal.STALE,
            f"the engine shows an old record of the member {member.name}: generation {generation}, and this node has "
            f"seen {self.generation}",
        )

    def to_json(self) -> list[Any]:
        return [self.generation, self.member.to_json()]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        generation, facts = value
        if not isinstance(generation, int):
            raise TypeError("not a generation")
        return cls(generation, Member.from_json(facts))


class KnownMembers(Mapping[str, KnownMember]):
    """By node. Reading is the Mapping's."""

    def __init__(self, layout: Layout, paths: ClusterPaths) -> None:
        """Raises OSError."""
        self._layout = layout
        self._paths = paths
        self._kept = KeyedState(layout.known_members, layout.temporary, is_valid=is_read_by(KnownMember.from_json))
        for path in [path for path in self._kept if not path.startswith(paths.prefix)]:
            self._kept.drop(path, is_durable=False)  # of another cluster

    def __getitem__(self, node: str) -> KnownMember:
        return KnownMember.from_json(self._kept[self._paths.member(node)])

    def __iter__(self) -> Iterator[str]:
        return (path.rpartition("/")[2] for path in self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, generation: int, member: Member) -> None:
        """What the engine shows, once it is authentic. Raises Refused where it does not count."""
        known = self.get(member.name)
        if known is not None:
            known.check(generation, member)
        try:
            self._kept.put(self._paths.member(member.name), KnownMember(generation, member).to_json())
        except OSError as error:  # a full disk takes nobody out of the cluster
            logger.warning("cluster: %s: %s", self._layout.known_members, error.strerror)

    def close(self) -> None:
        self._kept.close()


def read_known(layout: Layout, paths: ClusterPaths) -> dict[str, KnownMember]:
    """The same for a command: as the process that writes the file has left it. Raises OSError."""
    kept = read_values(layout.known_members)
    is_valid = is_read_by(KnownMember.from_json)
    found = {path: value for path, value in kept.items() if path.startswith(paths.prefix) and is_valid(value)}
    return {path.rpartition("/")[2]: KnownMember.from_json(value) for path, value in found.items()}
