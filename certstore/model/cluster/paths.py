"""The keys of the engine: how each is built, and what a key that was read stands for.

All of them begin with `/certedge/CLUSTER/`, so several clusters may share an engine, and one rule of its access control
covers one cluster. In the engine's language a key is a path; here, keys are cryptographic ones. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from certstore.model.challenge import is_token
from certstore.model.cluster.wire import RecordClass
from certstore.model.names import is_site_key
from certstore.model.settings.cluster import NODE_NAME

ROOT = "/certedge/"

_CLUSTER = re.compile(r"[0-9a-f]{16}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_INVITATION = re.compile(r"[0-9a-f]{16}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9@._:+=~-]{1,240}", re.ASCII)


class Shelf(StrEnum):
    """A kind of record; the value is what its paths begin with, below the cluster's prefix.

    What lies under `d/` is durable: a DELETE there is never a removal. What lies under `n/` coordinates.
    """

    META = "meta"
    SEQ = "seq"
    SITE = "d/site"
    HEAD = "d/head"
    PREV = "d/prev"
    RENEWAL = "d/renewal"
    COUNTER = "d/counter"
    ACCOUNT = "d/account"
    ORDER = "d/order"
    TOLD = "d/told"
    SAID = "d/said"
    ADMIN = "d/admin"
    ACME = "d/acme"
    TOKEN = "t"  # noqa: S105  the shelf of challenge tokens
    MEMBER = "n/member"
    LIVE = "n/live"
    CARETAKER = "n/caretaker"
    LOCK = "n/lock"
    INVITE = "n/invite"
    KEY = "n/key"


def is_cluster_id(text: str) -> bool:
    return _CLUSTER.fullmatch(text) is not None


def is_node_name(text: str) -> bool:
    """One label of a host name, in lower case."""
    return NODE_NAME.fullmatch(text) is not None


def is_key_id(text: str) -> bool:
    return _KEY_ID.fullmatch(text) is not None


def is_invitation_id(text: str) -> bool:
    return _INVITATION.fullmatch(text) is not None


def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None and text not in (".", "..")


def _is_lock(text: str) -> bool:
    """A site, or `@` and the key of a CA, whose account only one node may make."""
    return is_site_key(text.removeprefix("@"))


_PARTS: Mapping[Shelf, tuple[Callable[[str], bool], ...]] = {
    Shelf.META: (),
    Shelf.SEQ: (),
    Shelf.SITE: (is_site_key,),
    Shelf.HEAD: (is_site_key,),
    Shelf.PREV: (is_site_key,),
    Shelf.RENEWAL: (is_site_key,),
    Shelf.COUNTER: (_is_word, _is_word),
    Shelf.ACCOUNT: (_is_word,),
    Shelf.ORDER: (is_site_key,),
    Shelf.TOLD: (_is_word,),
    Shelf.SAID: (is_node_name, is_site_key),
    Shelf.ADMIN: (_is_word, _is_word),
    Shelf.ACME: (),
    Shelf.TOKEN: (is_token,),
    Shelf.MEMBER: (is_node_name,),
    Shelf.LIVE: (is_node_name,),
    Shelf.CARETAKER: (),
    Shelf.LOCK: (_is_lock,),
    Shelf.INVITE: (is_invitation_id,),
    Shelf.KEY: (is_key_id, is_node_name),
}
"""What follows the shelf, a check for each part."""

CLASSES: Mapping[Shelf, RecordClass] = {
    Shelf.META: RecordClass.SITES,
    Shelf.SITE: RecordClass.SITES,
    Shelf.HEAD: RecordClass.SITES,
    Shelf.PREV: RecordClass.SITES,
    Shelf.TOKEN: RecordClass.SITES,
    Shelf.MEMBER: RecordClass.SITES,
    Shelf.LIVE: RecordClass.NODE,
    Shelf.RENEWAL: RecordClass.CONTROL,
    Shelf.COUNTER: RecordClass.CONTROL,
    Shelf.ACCOUNT: RecordClass.CONTROL,
    Shelf.ORDER: RecordClass.CONTROL,
    Shelf.TOLD: RecordClass.CONTROL,
    Shelf.SAID: RecordClass.CONTROL,
    Shelf.ADMIN: RecordClass.CONTROL,
    Shelf.ACME: RecordClass.CONTROL,
}
"""With which keys a shelf's records are sealed. Shelves that are missing here are not sealed with the cluster's keys:
they hold numbers and names that only coordinate, or have seals for one reader.
"""


@dataclass(frozen=True, slots=True)
class RecordPath:
    """What a path stands for. `parts` are those after the shelf: a site, a node, a token …"""

    shelf: Shelf
    parts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part: of most shelves the site or the node. Raises IndexError for shelves that are one record."""
        return self.parts[-1]

    @property
    def is_durable(self) -> bool:
        """Its absence never counts as a removal."""
        return self.shelf.startswith("d/")


class ClusterPaths:
    """The paths of one cluster. Raises ValueError for parts that can't be in one: they would lead elsewhere."""

    def __init__(self, cluster: str) -> None:
        if not is_cluster_id(cluster):
            raise ValueError(f"{cluster!r} is not the id of a cluster: 16 hexadecimal digits")
        self.cluster = cluster
        self.prefix = f"{ROOT}{cluster}/"

    def of(self, shelf: Shelf, *parts: str) -> str:
        checks = _PARTS[shelf]
        if len(parts) != len(checks) or not all(check(part) for check, part in zip(checks, parts, strict=True)):
            raise ValueError(f"{'/'.join(parts)!r} can't be a record of {shelf.value}")
        return self.prefix + "/".join((shelf.value, *parts))

    def shelf(self, shelf: Shelf) -> str:
        """The prefix of all paths of a shelf that holds several records."""
        return f"{self.prefix}{shelf.value}/"

    def parse(self, path: str) -> RecordPath | None:
        """None for what is not this cluster's, or of no shelf that this release knows."""
        if not path.startswith(self.prefix):
            return None
        words = path.removeprefix(self.prefix).split("/")
        for length in (2, 1):
            shelf = _SHELVES.get("/".join(words[:length])) if len(words) >= length else None
            if shelf is None:
                continue
            parts, checks = tuple(words[length:]), _PARTS[shelf]
            is_whole = len(parts) == len(checks)
            if is_whole and all(check(part) for check, part in zip(checks, parts, strict=True)):
                return RecordPath(shelf, parts)
        return None

    # The paths that several modules need

    @property
    def meta(self) -> str:
        return self.of(Shelf.META)

    @property
    def seq(self) -> str:
        return self.of(Shelf.SEQ)

    @property
    def caretaker(self) -> str:
        return self.of(Shelf.CARETAKER)

    def site(self, site: str) -> str:
        return self.of(Shelf.SITE, site)

    def head(self, site: str) -> str:
        return self.of(Shelf.HEAD, site)

    def prev(self, site: str) -> str:
        return self.of(Shelf.PREV, site)

    def said(self, node: str, site: str) -> str:
        return self.of(Shelf.SAID, node, site)

    def member(self, node: str) -> str:
        return self.of(Shelf.MEMBER, node)

    def live(self, node: str) -> str:
        return self.of(Shelf.LIVE, node)

    def order(self, site: str) -> str:
        return self.of(Shelf.ORDER, site)

    def lock(self, site: str) -> str:
        return self.of(Shelf.LOCK, site)

    def invite(self, invitation: str) -> str:
        return self.of(Shelf.INVITE, invitation)


_SHELVES = {shelf.value: shelf for shelf in Shelf}
