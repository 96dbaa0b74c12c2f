"""Reads and writes `site.yaml`, the only file of a drop folder that the store itself may write.

The folder belongs to the people who drop files: it may be read-only, on another file system, or a link. A new file is
written under a temporary name in the same folder; a file that is managed elsewhere is left alone. Knows nothing of
certificates.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import yaml

from certstore.files.atomic import make_folder, sync_folder, temporary_name, write_new_file
from certstore.files.permissions import repair_command
from certstore.model.settings.loading import SettingsError, parse_site
from certstore.model.settings.models import SiteSettings
from certstore.model.text import written_text
from certstore.store.errors import NotWritable

_LIMIT = 256 * 1024
_FRESH_PREFIX = ".site.yaml."


Stamp = tuple[int, int, int]
"""Inode, size, ctime: a file with the same stamp does not have to be read again."""


@dataclass(frozen=True, slots=True)
class FoundSettings:
    """The settings of a site.yaml, or the problem why it can't be used. Both are None when there is no such file."""

    settings: SiteSettings | None
    problem: str | None
    stamp: Stamp | None

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
    return status.st_ino, status.st_size, status.st_ctime_ns


def read_site_file(path: Path) -> FoundSettings:
    """Never raises: a file that can't be used is a result with a problem."""
    stamp = stamp_of(path)
    try:
        return FoundSettings(parse_site(_read(path), str(path)), None, stamp)
    except FileNotFoundError:
        return FoundSettings(None, None, None)
    except PermissionError:
        problem = f"the service can't read {path}: permission denied. {repair_command(path)}"
    except SettingsError as error:
        problem = "; ".join(str(error).splitlines())
    except (OSError, ValueError) as error:
        problem = f"{path} can't be read: {error}"
    return FoundSettings(None, problem, stamp)


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        content = b""
        while len(content) <= _LIMIT and (part := os.read(descriptor, _LIMIT + 1 - len(content))):
            content += part
    finally:
        os.close(descriptor)
    if len(content) > _LIMIT:
        raise ValueError(f"it has more than {_LIMIT} bytes")
    return written_text(content)


def write_site_file(path: Path, settings: SiteSettings) -> None:
    """Write what differs from the defaults; comments in the old file are lost. Raises NotWritable."""
    folder = path.parent
    if path.is_symlink():
        raise NotWritable(f"{path} is a link to {os.readlink(path)}; change that file instead")  # noqa: PTH115
    fresh = temporary_name(folder).with_name(_FRESH_PREFIX + temporary_name(folder).name)
    is_new = not folder.is_dir()
    try:
        if is_new:
            make_folder(folder, 0o755)
        for left in folder.glob(f"{_FRESH_PREFIX}*"):  # of an earlier write that a kill ended
            left.unlink(missing_ok=True)
        old = path.stat() if path.exists() else None
        write_new_file(fresh, _to_yaml(settings), stat.S_IMODE(old.st_mode) if old else 0o644)
        if old and os.geteuid() == 0:  # otherwise the service becomes the file's owner
            os.chown(fresh, old.st_uid, old.st_gid)
        fresh.replace(path)
        sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
            if is_new:
                folder.rmdir()  # an empty folder would be a bare site
        raise NotWritable(f"{path} can't be written: {error.strerror}. {_advice(folder, error)}") from error


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
