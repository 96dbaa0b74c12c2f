"""Scans the drop places: one pass over names and stat results, no file opened, no lock taken.

Comparing two scans gives the places where anything may have changed; this finds the changes that inotify can't see
(network mounts, links, watches that ran out). Knows nothing of sites.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from certstore.model.layout import DROP_SUFFIX, SITE_YAML, Layout
from certstore.model.snapshot import MAIN
from certstore.store.drops.reading import MAX_FILES, is_drop_name
from certstore.watch.queue import Kind, Place

MAIN_PLACE = Place(Kind.SITE, MAIN)
_HOPS = 40
"""Links on the way to a file; the system follows no more."""


@dataclass(frozen=True, slots=True)
class View:
    """One scan. `signatures` differ when a place may have changed; `linked` are the places with links to elsewhere."""

    signatures: dict[Place, int]
    linked: tuple[Place, ...]
    folders: int
    """How many folders there are to watch."""

    def changed_since(self, before: View | None) -> list[Place]:
        """The places that are new, changed or gone."""
        old = before.signatures if before else {}
        fresh = [place for place, signature in self.signatures.items() if old.get(place) != signature]
        return fresh + [place for place in old if place not in self.signatures]


def take_view(layout: Layout) -> View:
    """Never raises: a folder that can't be listed counts as an empty one with a mark."""
    signatures: dict[Place, int] = {}
    linked: list[Place] = []
    folders = 0
    for entry in _entries(layout.domains):
        if entry.name.startswith("."):
            continue
        is_folder = _is_folder(entry)
        if not is_folder and not entry.name.endswith(DROP_SUFFIX):
            continue
        place = Place(Kind.FOLDER if is_folder else Kind.FILE, entry.name)
        parts, has_links = _folder_parts(entry.path) if is_folder else ((_stamp(entry),), False)
        signatures[place] = hash(parts)
        folders += is_folder and not entry.is_symlink()
        if has_links or entry.is_symlink():
            linked.append(place)
    parts, has_links = _folder_parts(str(layout.drop_folder(MAIN)))
    signatures[MAIN_PLACE] = hash((parts, _stamp_of(str(layout.drop_file(MAIN)))))
    if has_links or layout.drop_file(MAIN).is_symlink():
        linked.append(MAIN_PLACE)
    return View(signatures, tuple(linked), folders)


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


def _folder_parts(folder: str) -> tuple[tuple[object, ...], bool]:
    parts: list[object] = []
    has_links = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name != SITE_YAML and not is_drop_name(entry.name):
                    continue
                parts.append(_stamp(entry))
                has_links = has_links or entry.is_symlink()
                if len(parts) > MAX_FILES:
                    break
    except OSError as error:
        return (error.errno,), False
    return tuple(sorted(parts, key=repr)) if len(parts) > 1 else tuple(parts), has_links


def _stamp(entry: os.DirEntry[str]) -> tuple[object, ...]:
    try:
        status = entry.stat()
    except OSError as error:
        return entry.name, error.errno
    return entry.name, status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def _stamp_of(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)  # noqa: PTH116  as for all stamps: what a link leads to counts
    except OSError as error:
        return (error.errno or 0,)
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return
