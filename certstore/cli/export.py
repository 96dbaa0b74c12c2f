"""Writes the live files of a site into a folder for other daemons, so that a reader never sees half a set.

Each set gets a folder; `DIR/fullchain.pem` and the others are links through `DIR/.current`, which one rename points at
the new set. The previous set stays for readers that have it open. Knows no settings and no commands.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from certstore.files.atomic import replace_link, write_new_file
from certstore.model import layout as names
from certstore.model.layout import Layout
from certstore.model.version import Version
from certstore.store.versions import VersionUnusable, live_number, read_version

CURRENT = ".current"
_SET = ".set-"
_FILES = (names.FULLCHAIN, names.PRIVKEY, names.CHAIN, names.CERT, names.COMBINED)
_RSA_FILES = (names.FULLCHAIN_RSA, names.PRIVKEY_RSA)
# A version can leave the archive while it is copied only if the link has moved on to the next one.
_TRIES = 3


class ExportRefused(Exception):
    """Nothing was written; the message says why."""


@dataclass(frozen=True, slots=True)
class Exported:
    version: Version
    files: tuple[str, ...]
    changed: bool


def export_live(layout: Layout, site: str, folder: Path) -> Exported:
    """Raises ExportRefused, or OSError; the files in the folder are unchanged then."""
    for attempt in range(1, _TRIES + 1):
        number = live_number(layout, site)
        if number is None:
            raise ExportRefused(f"{site} has no certificate of its own")
        try:
            return _export(layout, read_version(layout, site, number), folder)
        except (FileNotFoundError, VersionUnusable) as error:
            if attempt == _TRIES or live_number(layout, site) == number:
                raise ExportRefused(str(error)) from error
    raise AssertionError("the last try returns or raises")


def _export(layout: Layout, version: Version, folder: Path) -> Exported:
    files = _FILES + (_RSA_FILES if version.has_rsa_pair else ())
    source = layout.version(version.site, version.number)
    contents = {name: (source / name).read_bytes() for name in files}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The digest covers every file, so a set of this name is this set, from whichever store.
    target = f"{_SET}{version.site}-{version.number}-{version.digest[:12]}"
    if _link_target(folder / CURRENT) == target and all(_is_linked(folder, name) for name in files):
        return Exported(version, files, changed=False)
    previous = _link_target(folder / CURRENT)
    _refuse_foreign(folder, previous, version.site)
    _write_set(folder, target, contents)
    replace_link(folder / CURRENT, target, folder)
    for name in _FILES + _RSA_FILES:
        _link(folder, name, is_wanted=name in files)
    _remove_old_sets(folder, keep={target, previous})
    return Exported(version, files, changed=True)


def _write_set(folder: Path, name: str, contents: dict[str, bytes]) -> None:
    """Under a temporary name until it is complete, so a set that exists under this name is whole."""
    if (folder / name).is_dir():
        return
    fresh = folder / f"{name}.{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(mode=0o700)
        for file, content in contents.items():
            write_new_file(fresh / file, content, 0o600)
        fresh.rename(folder / name)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _refuse_foreign(folder: Path, previous: str | None, site: str) -> None:
    """An export replaces only an earlier export of the same site."""
    if previous is not None and (of := previous.removeprefix(_SET).rsplit("-", 2)[0]) != site:
        raise ExportRefused(f"{folder} contains the certificate of {of}")
    files = _FILES + _RSA_FILES
    if foreign := [name for name in files if os.path.lexists(folder / name) and not _is_linked(folder, name)]:
        raise ExportRefused(f"{folder} contains files that no export wrote: {', '.join(foreign)}")


def _link(folder: Path, name: str, *, is_wanted: bool) -> None:
    if is_wanted and not _is_linked(folder, name):
        (folder / name).symlink_to(f"{CURRENT}/{name}")
    elif not is_wanted:
        (folder / name).unlink(missing_ok=True)


def _is_linked(folder: Path, name: str) -> bool:
    return _link_target(folder / name) == f"{CURRENT}/{name}"


def _link_target(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except OSError:
        return None


def _remove_old_sets(folder: Path, keep: set[str | None]) -> None:
    for path in folder.glob(f"{_SET}*"):
        if path.name not in keep and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
