"""Reads and writes `site.yaml`, the only file of a drop folder that the store itself may write.

The folder belongs to the people who drop files: it may be read-only, on another file system, or a link, and they may
change it at any moment. So a new file is written under a temporary name through the open folder, and its owner and mode
are set on the open file; a file that is managed elsewhere is left alone. Knows nothing of certificates.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

import yaml

from certstore.files.atomic import make_folder, write_all
from certstore.files.permissions import repair_command
from certstore.files.writers import foreign_writer
from certstore.model.settings.loading import SettingsError, parse_site
from certstore.model.settings.models import SiteSettings
from certstore.model.text import written_text
from certstore.store.errors import NotWritable

_LIMIT = 64 * 1024
"""Bytes: a hundred of the longest names take fewer than half of it."""
_NAME = "site.yaml"
_FRESH_PREFIX = f".{_NAME}."


Stamp = tuple[int, int, int]
"""Inode, size, ctime: a file with the same stamp does not have to be read again."""


@dataclass(frozen=True, slots=True)
class FoundSettings:
    """The settings of a site.yaml, or the problem why it can't be used. Both are None when there is no such file.

    `foreign` says what lets others than root and the service's user write the file; None when nothing does.
    """

    settings: SiteSettings | None
    problem: str | None
    stamp: Stamp | None
    foreign: str | None = None

    @property
    def changed_at(self) -> float:
        """Seconds since the epoch."""
        return self.stamp[2] / 1e9 if self.stamp else 0.0

    @property
    def is_absent(self) -> bool:
        return self.stamp is None and self.problem is None


def stamp_of(path: Path) -> Stamp | None:
    """None when there is no file, or none that can be accessed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _stamp(status)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_ctime_ns


def read_site_file(path: Path, base: Path | None = None) -> FoundSettings:
    """Never raises: a file that can't be used is a result with a problem. `base` is the store's folder, for `foreign`;
    without it, the folders on the way to the file's own are not checked.
    """
    stamp, foreign = stamp_of(path), None
    try:
        text, status = _read(path)
        stamp = _stamp(status)
        foreign = foreign_writer(path, base or path.parent, status)
        return FoundSettings(parse_site(text, str(path)), None, stamp, foreign)
    except FileNotFoundError:
        return FoundSettings(None, None, None)
    except PermissionError:
        problem = f"the service can't read {path}: permission denied. {repair_command(path)}"
    except SettingsError as error:
        problem = "; ".join(str(error).splitlines())
    except (OSError, ValueError) as error:
        problem = f"{path} can't be read: {error}"
    return FoundSettings(None, problem, stamp, foreign)


def _read(path: Path) -> tuple[str, os.stat_result]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        content = b""
        while len(content) <= _LIMIT and (part := os.read(descriptor, _LIMIT + 1 - len(content))):
            content += part
    finally:
        os.close(descriptor)
    if len(content) > _LIMIT:
        raise ValueError(f"it has more than {_LIMIT} bytes")
    return written_text(content), status


def write_site_file(path: Path, settings: SiteSettings, *, is_durable: bool = True, keep_as: str = "") -> None:
    """Write what differs from the defaults; comments in the old file are lost, unless that file is kept in the same
    folder as `keep_as`. Without `is_durable`, the caller syncs many of them at once. Raises NotWritable.
    """
    folder = path.parent
    is_new = not folder.is_dir()
    try:
        if is_new:
            make_folder(folder, 0o755, is_durable=is_durable)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _write_in(opened, path, _to_yaml(settings), is_durable=is_durable, keep_as=keep_as)
        finally:
            os.close(opened)
    except OSError as error:
        with contextlib.suppress(OSError):
            if is_new:
                folder.rmdir()  # an empty folder would be a bare site
        raise NotWritable(f"{path} can't be written: {error.strerror}. {_advice(folder, error)}") from error


def _write_in(folder: int, path: Path, content: bytes, *, is_durable: bool, keep_as: str) -> None:
    """In the open folder, by names that lead nowhere else. Raises NotWritable, OSError."""
    old = _status_in(folder, _NAME)
    if old is not None and stat.S_ISLNK(old.st_mode):
        raise NotWritable(f"{path} is a link to {os.readlink(_NAME, dir_fd=folder)}; change that file instead")
    for left in os.listdir(folder):  # of an earlier write that a kill ended
        if left.startswith(_FRESH_PREFIX):
            with contextlib.suppress(OSError):
                os.unlink(left, dir_fd=folder)
    fresh = f"{_FRESH_PREFIX}{secrets.token_hex(12)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(fresh, flags, 0o600, dir_fd=folder)
    try:
        write_all(descriptor, content)
        if old is not None and os.geteuid() == 0:  # otherwise the service becomes the file's owner
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, old.st_mode & 0o666 if old is not None else 0o644)
        if is_durable:
            os.fsync(descriptor)
        if old is not None and keep_as:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(keep_as, dir_fd=folder)  # of an earlier time
            os.link(_NAME, keep_as, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        os.rename(fresh, _NAME, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(fresh, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)
    if is_durable:
        os.fsync(folder)


def _status_in(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _to_yaml(settings: SiteSettings) -> bytes:
    facts = settings.model_dump(mode="json", exclude_defaults=True)
    if settings.upstream is not None:
        facts["upstream"] = [each.model_dump(mode="json", exclude_defaults=True) for each in settings.upstream]
        short = [each["url"] if len(each) == 1 else each for each in facts["upstream"]]
        facts["upstream"] = short[0] if len(short) == 1 else short
    return yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).encode()


def _advice(folder: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"Allow the service's user to write in {folder}, or change the file as its owner"
    return "If it comes from a read-only mount or from configuration management, change it there"
