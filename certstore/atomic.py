"""Durable writes: after a kill or a power cut a name leads to the old content or to the new one, never to a part.

The order is always the same: write under a temporary name, sync the file, rename, sync the folder. Modes are set on the
open file, so the process's umask plays no part. Knows nothing of sites, certificates or what the bytes mean.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Modes:
    """Who may read what the store makes: its owner alone, or also the group of `keys_group`."""

    keys_gid: int | None = None

    @property
    def key_file(self) -> int:
        return 0o600 if self.keys_gid is None else 0o640

    @property
    def key_folder(self) -> int:
        return 0o700 if self.keys_gid is None else 0o750


def temporary_name(folder: Path) -> Path:
    """A fresh name in `folder`. It does not carry the final name: that may already be as long as names may be."""
    return folder / secrets.token_hex(12)


def write_new_file(path: Path, content: bytes, mode: int, gid: int | None = None) -> None:
    """Make a file that did not exist, synced. On an error nothing is left behind. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            if gid is not None:
                os.fchown(descriptor, -1, gid)
            os.fchmod(descriptor, mode)
            write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def write_all(descriptor: int, content: bytes) -> None:
    """`os.write` until everything is written: a nearly full disk takes a part before it says no."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_file(path: Path, content: bytes, mode: int, temporary: Path, *, is_durable: bool = True) -> None:
    """Give `path` new content by one rename. `temporary` is a folder on the same file system.

    Without `is_durable` the rename survives a kill, but after a power cut the old content may be back.
    """
    fresh = temporary_name(temporary)
    write_new_file(fresh, content, mode)
    try:
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    if is_durable:
        sync_folder(path.parent)


def replace_link(link: Path, target: str, temporary: Path) -> None:
    """Let the symlink `link` lead to `target` by one rename, whether it existed or not."""
    fresh = temporary_name(temporary)
    fresh.symlink_to(target)
    try:
        fresh.replace(link)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(link.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a synced file without its folder's entry is lost in a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int, gid: int | None = None) -> None:
    """Make a folder if there is none, and give it mode and group either way."""
    if not folder.is_dir():
        folder.mkdir(0o700)
        sync_folder(folder.parent)
    if gid is not None and folder.stat().st_gid != gid:
        os.chown(folder, -1, gid)
    if folder.stat().st_mode & 0o7777 != mode:
        folder.chmod(mode)
