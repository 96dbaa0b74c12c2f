"""What the nodes have agreed on, as far as this one has seen: `state/agreed.jsonl`, one line for each record.

A record's generation is a floor: what is older does not count, whoever shows it. A site is to be published where the
store differs from this file, so a kill at any point forgets nothing. The file holds no secret. One thread writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from certstore.files.keyed_state import KeyedState, is_read_by
from certstore.model.layout import Layout

_CLUSTER = "cluster"
_SEQ = "seq"
_SYNCED = "synced"


@dataclass(frozen=True, slots=True)
class Agreement:
    """The newest record seen under a path. `modified` is the engine's revision of it, 0 where the engine has none.

    `instead` is the digest of what this store has in its place, where it could not adopt the record, "" where it has
    nothing. `is_to_restore`: the engine has lost the record, or shows an older one, so ours has to be written again.
    `numbers` are those of a site's declared names.
    """

    generation: int
    digest: str
    modified: int
    instead: str | None = None
    is_to_restore: bool = False
    numbers: Mapping[str, int] = field(default_factory=dict)

    def covers(self, digest: str | None) -> bool:
        """Whether a store that has this digest (None: nothing) has changed nothing since."""
        return digest is None or digest in (self.digest, self.instead)

    def needs(self, digest: str | None) -> bool:
        """Whether a store that has this digest has something to publish."""
        return not self.covers(digest) or (self.is_to_restore and digest == self.digest)

    def to_json(self) -> list[Any]:
        return [self.generation, self.digest, self.modified, self.instead, self.is_to_restore, dict(self.numbers)]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        generation, digest, modified, instead, is_to_restore, numbers = value
        if not (isinstance(generation, int) and isinstance(modified, int) and isinstance(digest, str)):
            raise TypeError("not an agreement")
        return cls(generation, digest, modified, instead, bool(is_to_restore), dict(numbers))


class AgreedState:
    """The file, with paths that begin below the cluster's prefix (`d/site/SITE`). Writing raises OSError."""

    def __init__(self, layout: Layout) -> None:
        self._kept = KeyedState(layout.agreed, layout.temporary, is_valid=_is_valid)

    @property
    def cluster(self) -> str | None:
        """The id of the cluster that all this is about."""
        kept = self._kept.get(_CLUSTER)
        return kept if isinstance(kept, str) else None

    def belong_to(self, cluster: str) -> None:
        """What was agreed in another cluster does not count in this one."""
        if self.cluster == cluster:
            return
        for path in list(self._kept):
            self._kept.drop(path, is_durable=False)
        self._kept.put(_CLUSTER, cluster)

    @property
    def is_synced(self) -> bool:
        """Whether this node has once seen everything that the cluster had."""
        return self._kept.get(_SYNCED) == 1

    def note_synced(self) -> None:
        self._kept.put(_SYNCED, 1)

    @property
    def seq(self) -> int:
        """The highest number of a declaration that was seen."""
        kept = self._kept.get(_SEQ)
        return kept if isinstance(kept, int) else 0

    def raise_seq(self, number: int) -> None:
        if number > self.seq:
            self._kept.put(_SEQ, number, is_durable=False)

    def get(self, path: str) -> Agreement | None:
        kept = self._kept.get(path)
        return Agreement.from_json(kept) if isinstance(kept, list) else None

    def put(self, path: str, agreement: Agreement) -> None:
        """Call `sync` after a batch."""
        self._kept.put(path, agreement.to_json(), is_durable=False)

    def see_at(self, path: str, modified: int) -> None:
        """The engine has this record at another revision than before."""
        known = self.get(path)
        if known is not None and (known.modified != modified or known.is_to_restore):
            self.put(path, replace(known, modified=modified, is_to_restore=False))

    def forget_content(self, path: str) -> None:
        """The record is gone for good, as its site was removed; its generation stays the floor of what may follow."""
        if (known := self.get(path)) is not None:
            self.put(path, Agreement(known.generation, "", 0))

    def __iter__(self) -> Iterator[str]:
        """The paths of all records."""
        return (path for path, kept in self._kept.items() if isinstance(kept, list))

    def sync(self) -> None:
        self._kept.sync()

    def close(self) -> None:
        self._kept.close()


def _is_valid(value: Any) -> bool:
    return isinstance(value, (str, int)) or is_read_by(Agreement.from_json)(value)
