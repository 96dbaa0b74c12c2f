"""Who may change a file or put another one in its place, besides root and the user that this process runs as.

A file is only as safe as every folder and link on the way to it. Reads owners and modes, and no content.
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import stat
from pathlib import Path

_HOPS = 40
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def foreign_writer(path: Path, base: Path, opened: os.stat_result) -> str | None:
    """What lets somebody else change the file at `path`, in words; None when nothing does.

    `opened` is the status of the file as it was opened: if another one is there by now, somebody has just changed it.
    Above `base`, a folder on the way, nothing is checked, except where a link leads out of it. Raises OSError.
    """
    at, ahead, hops = base, list(reversed(path.relative_to(base).parts)), 0
    while ahead:
        if (why := _why_not_folder(at)) is not None:
            return why
        name = ahead.pop()
        if name == "..":
            at = at.parent
            continue
        entry = at / name
        status = entry.lstat()
        if not _is_ours(status):
            return f"{entry} belongs to {_user(status.st_uid)}"
        if stat.S_ISLNK(status.st_mode):
            hops += 1
            if hops > _HOPS:
                return f"{path} leads through too many links"
            target = entry.readlink()
            at = Path("/") if target.is_absolute() else at
            ahead.extend(reversed([part for part in target.parts if part != "/"]))
        elif stat.S_ISDIR(status.st_mode):
            at = entry
        else:
            return _why_not_file(entry, status, opened)
    return f"{path} is not a file"


def foreign_folder_writer(folder: Path) -> str | None:
    """What lets somebody else put files into this folder, in words; None when nothing does, or it is not there."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return _why_writable(folder, status) if _is_ours(status) else f"{folder} belongs to {_user(status.st_uid)}"


def _why_not_folder(folder: Path) -> str | None:
    """In a folder with the sticky bit, only its owner and a file's owner replace the file."""
    status = folder.stat(follow_symlinks=False)
    if not _is_ours(status):
        return f"{folder} belongs to {_user(status.st_uid)}"
    return None if status.st_mode & stat.S_ISVTX else _why_writable(folder, status)


def _why_not_file(path: Path, status: os.stat_result, opened: os.stat_result) -> str | None:
    if (status.st_dev, status.st_ino) != (opened.st_dev, opened.st_ino):
        return f"{path} was replaced just now"
    if status.st_nlink > 1:
        return f"{path} has a second name (a hard link)"
    return _why_writable(path, status)


def _why_writable(path: Path, status: os.stat_result) -> str | None:
    writers = status.st_mode & _OTHERS
    if writers & stat.S_IWOTH:
        return f"everybody may write {path}"
    if writers and not _is_private_group(status.st_gid):
        return f"the group {_group(status.st_gid)} may write {path}"
    return None


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


@functools.cache
def _is_private_group(gid: int) -> bool:
    """Many systems give every user a group of the same name, and let it write what the user makes."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"


def owners() -> str:
    """Who may own what counts as nobody else's, in words."""
    return "root" if os.geteuid() == 0 else f"root and {_user(os.geteuid())}"
