"""Scans the drop places: one pass over names and stat results, no file opened, no lock taken.

Comparing two scans gives the places where anything may have changed; this finds the changes that inotify can't see
(network mounts, links, watches that ran out). Knows nothing of sites.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from certstore.model.layout import DROP_SUFFIX, SITE_YAML, Layout
from certstore.model.snapshot import MAIN
from certstore.store.drops.reading import MAX_FILES, is_drop_name
from certstore.watch.queue import Kind, Place

MAIN_PLACE = Place(Kind.SITE, MAIN)
_HOPS = 40
"""Links on the way to a file; the system follows no more."""

type _Stamp = tuple[str | int, ...]
"""How a file looks: its name if it is in a folder, then an errno, or device, inode, size and ctime in nanoseconds."""


_COARSE = 2_000_000_000
"""Nanoseconds within which a file system may give two changes the same time."""


@dataclass(frozen=True, slots=True)
class Look:
    """One place, without a file opened. `signature` differs when the place may have changed, also from one start to the
    next; `changed_at` is the newest change in nanoseconds since the epoch (ctime), 0 where nothing has a time.
    """

    signature: int
    changed_at: int
    has_links: bool

    def may_hide_a_change(self, now: int) -> bool:
        """It changed so lately that another change at this moment could leave the same signature."""
        return now - self.changed_at < _COARSE


@dataclass(frozen=True, slots=True)
class View:
    """One scan: every place and how it looks. A site that has no place is one by its key."""

    looks: Mapping[Place, Look]
    folders: int
    """How many folders there are to watch."""

    @property
    def linked(self) -> list[Place]:
        """The places with links to elsewhere."""
        return [place for place, look in self.looks.items() if look.has_links]

    @property
    def signatures(self) -> dict[Place, int]:
        return {place: look.signature for place, look in self.looks.items()}

    def place_of(self, site: str) -> Place:
        """One by which the site is checked."""
        places = (Place(Kind.FOLDER, site), Place(Kind.FILE, f"{site}{DROP_SUFFIX}"))
        return next((place for place in places if place in self.looks), Place(Kind.SITE, site))

    def changed_since(self, before: Mapping[Place, int]) -> list[Place]:
        """The places that are new, changed or gone, given the signatures they had; what changed last comes first."""
        fresh = [place for place, look in self.looks.items() if before.get(place) != look.signature]
        fresh.sort(key=lambda place: (place != MAIN_PLACE, -self.looks[place].changed_at))
        return fresh + [place for place in before if place not in self.looks]


def take_view(layout: Layout, sites: Iterable[str] = ()) -> View:
    """Never raises: a folder that can't be listed counts as an empty one with a mark. `sites` are the keys of all known
    sites.
    """
    looks: dict[Place, Look] = {}
    folders = 0
    domains = str(layout.domains)
    for entry in _entries(domains):
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            is_link = entry.is_symlink()
            looks[Place(Kind.FOLDER, entry.name)] = _look_at_folder(entry.path, is_link=is_link)
            folders += not is_link
        elif entry.name.endswith(DROP_SUFFIX):
            looks[Place(Kind.FILE, entry.name)] = _look_at_file(entry.path)
    for site in sites:
        if Place(Kind.FOLDER, site) not in looks and Place(Kind.FILE, f"{site}{DROP_SUFFIX}") not in looks:
            looks[Place(Kind.SITE, site)] = look_at(layout, Place(Kind.SITE, site))
    looks[MAIN_PLACE] = look_at(layout, MAIN_PLACE)
    return View(looks, folders)


def look_at(layout: Layout, place: Place) -> Look:
    """Never raises."""
    if place == MAIN_PLACE:
        folder = str(layout.drop_folder(MAIN))
        return _look_at_folder(folder, is_link=_is_link(folder), beside=str(layout.drop_file(MAIN)))
    path = f"{layout.domains}/{place.name}"
    return _look_at_file(path) if place.kind is Kind.FILE else _look_at_folder(path, is_link=_is_link(path))


def _look_at_file(path: str) -> Look:
    return _look([_stamp_of(path)], has_links=_is_link(path))


def _look_at_folder(path: str, *, is_link: bool, beside: str | None = None) -> Look:
    """`beside` is a file that counts as one of the folder's."""
    stamps, has_links = _folder_stamps(path)
    if beside is not None:
        stamps.append(_stamp_of(beside))
        has_links = has_links or _is_link(beside)
    return _look(stamps, has_links=has_links or is_link)


def _look(stamps: list[_Stamp], *, has_links: bool) -> Look:
    """Hashed by what gives the same number in every process."""
    changed_at = max((stamp[-1] for stamp in stamps if len(stamp) > 2), default=0)
    digest = hashlib.blake2b(repr(stamps).encode(errors="surrogateescape"), digest_size=7).digest()
    return Look(int.from_bytes(digest), int(changed_at), has_links)


def link_folders(path: Path) -> set[Path]:
    """The folders where a change of the link's target shows: those of every link on the way, also of links to folders,
    and the target itself.
    """
    found: set[Path] = set()
    at, ahead, hops = Path(os.path.realpath(path.parent)), [path.name], 0
    while ahead and hops < _HOPS:
        name = ahead.pop()
        if name == "..":
            at = at.parent
            continue
        try:
            target = (at / name).readlink()
        except OSError:  # no link, or in a folder that may not be entered
            at = at / name
            continue
        found.add(at)
        hops += 1
        at = Path("/") if target.is_absolute() else at
        ahead.extend(part for part in reversed(target.parts) if part != "/")
    if found:
        found.add(at.parent)
    if found and os.path.isdir(at):  # noqa: PTH112  Path.is_dir raises where a folder on the way can't be entered
        found.add(at)
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """A link to a place that the service may not enter is what its name says, so that its site reports it.

    `DirEntry.is_dir` raises for such a link, and for one that leads to itself: neither must end the scan.
    """
    try:
        return entry.is_dir()
    except PermissionError:
        return not entry.name.endswith(DROP_SUFFIX)
    except OSError:
        return False


def _folder_stamps(folder: str) -> tuple[list[_Stamp], bool]:
    """Those of its files, sorted, and whether one of them is a link."""
    stamps: list[_Stamp] = []
    has_links = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name != SITE_YAML and not is_drop_name(entry.name):
                    continue
                stamps.append((entry.name, *_stamp_of(entry.path)))
                has_links = has_links or entry.is_symlink()
                if len(stamps) > MAX_FILES:
                    break
    except OSError as error:
        return [("", error.errno or 0)], False
    stamps.sort(key=_name_in)
    return stamps, has_links


def _name_in(stamp: _Stamp) -> str:
    return str(stamp[0])


def _stamp_of(path: str) -> _Stamp:
    """What a link leads to counts."""
    try:
        status = os.stat(path)  # noqa: PTH116  a Path costs more than the look itself
    except OSError as error:
        return (error.errno or 0,)
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def _is_link(path: str) -> bool:
    return os.path.islink(path)  # noqa: PTH114  a Path costs more than the look itself


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return
