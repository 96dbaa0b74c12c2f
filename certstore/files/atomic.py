"""Durable writes: after a kill or a power cut, a name leads to the old content or to the new one, never to a part.

The order is always the same: write under a temporary name, sync the file, rename, sync the folder. Modes are set on the
open file, so the process's umask plays no part. Knows nothing of sites, certificates or what the bytes mean.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import secrets
from collections.abc import Mapping
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class KeyPermissions:
    """Who may read files with keys: their owner alone, or also the group of `keys_group`."""

    keys_gid: int | None = None

    @property
    def key_file(self) -> int:
        return 0o600 if self.keys_gid is None else 0o640

    @property
    def key_folder(self) -> int:
        return 0o700 if self.keys_gid is None else 0o750


class _Names:
    """A ring of names that no other process uses."""

    def __init__(self) -> None:
        self.draw()

    def draw(self) -> None:
        self._process, self._numbers = secrets.token_hex(8), itertools.count()

    def next(self) -> str:
        return f"{self._process}{next(self._numbers) % NAMES:05x}"


NAMES = 1 << 16
"""Far more than a process has in use at once. Each name of a path stays in memory for good, as pathlib interns it and
Python 3.12 never frees that; and a worker writes a file every second.
"""
_names = _Names()
os.register_at_fork(after_in_child=_names.draw)


def temporary_name(folder: Path) -> Path:
    """A free name in `folder`. It does not carry the final name: that may already be as long as names may be."""
    return folder / _names.next()


def write_new_file(
    path: Path, content: bytes, mode: int, gid: int | None = None, *, uid: int | None = None, is_durable: bool = True
) -> None:
    """Make a file that did not exist. On an error nothing is left behind. Raises OSError."""
    try:
        descriptor = _write_new(path, content, mode, gid, uid)
        try:
            if is_durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except FileExistsError:
        raise  # that file is not ours to remove
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def write_new_folder(
    folder: Path, files: Mapping[str, bytes], permissions: KeyPermissions, sync_pool: Executor | None
) -> None:
    """Make a folder with these files in it; all of it is durable except the folder's name. Raises OSError, and then the
    caller removes what is left.

    The syncs run side by side in `sync_pool`: the file system commits once, which takes a fifth of the time. Without a
    pool nothing is durable until the caller has called `sync_file_system`.
    """
    folder.mkdir(0o700)
    folder.chmod(0o700)
    descriptors = []
    try:
        for name, content in files.items():
            descriptors.append(_write_new(folder / name, content, permissions.key_file, permissions.keys_gid))
        descriptors.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        if permissions.keys_gid is not None:
            os.fchown(descriptors[-1], -1, permissions.keys_gid)
        os.fchmod(descriptors[-1], permissions.key_folder)
        syncs = [sync_pool.submit(os.fsync, descriptor) for descriptor in descriptors] if sync_pool else []
        # All of them: no descriptor may be closed while its sync still runs.
        wait(syncs)
        for sync in syncs:
            sync.result()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _write_new(path: Path, content: bytes, mode: int, gid: int | None, uid: int | None = None) -> int:
    """An open descriptor of the new file, which is written but not yet synced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if gid is not None or uid is not None:
            os.fchown(descriptor, -1 if uid is None else uid, -1 if gid is None else gid)
        os.fchmod(descriptor, mode)
        write_all(descriptor, content)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write_all(descriptor: int, content: bytes) -> None:
    """Call `os.write` until everything is written: a nearly full disk takes a part before it refuses."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_file(
    path: Path,
    content: bytes,
    mode: int,
    temporary: Path,
    *,
    owner: tuple[int, int] | None = None,
    is_durable: bool = True,
) -> None:
    """Give `path` new content by one rename. `temporary` is a folder on the same file system, `owner` a uid and a gid.

    Without `is_durable` the new content survives a kill, but a power cut may bring back the old one, or lose both.
    """
    fresh = temporary_name(temporary)
    uid, gid = owner or (None, None)
    write_new_file(fresh, content, mode, gid, uid=uid, is_durable=is_durable)
    _put_in_place(fresh, path, is_durable=is_durable)


def replace_link(link: Path, target: str, temporary: Path, *, is_durable: bool = True) -> None:
    """Make the symlink `link` lead to `target` by one rename, whether the link existed or not."""
    fresh = temporary_name(temporary)
    fresh.symlink_to(target)
    _put_in_place(fresh, link, is_durable=is_durable)


def _put_in_place(fresh: Path, path: Path, *, is_durable: bool) -> None:
    try:
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    if is_durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a synced file without its folder's entry is lost in a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Make durable everything that was written to the file system of `folder`: for a thousand files, this is faster
    than a sync of each. Raises OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The os module has no syncfs(2); `os.sync` would wait for all other disks of the machine too.
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int, gid: int | None = None, *, is_durable: bool = True) -> None:
    """Make a folder if there is none, and set its mode and group either way. A link to a folder counts as one."""
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise NotADirectoryError(
                errno.ENOTDIR, "it is neither a folder nor a link to one that is there", str(folder)
            )
        folder.mkdir(0o700)
        if is_durable:
            sync_folder(folder.parent)
    if gid is not None and folder.stat().st_gid != gid:
        os.chown(folder, -1, gid)
    if folder.stat().st_mode & 0o7777 != mode:
        folder.chmod(mode)
