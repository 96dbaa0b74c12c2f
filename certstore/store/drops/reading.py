"""Reads what was dropped for a site, safely even among pipes, devices, links and files that grow.

A drop is all visible files of the site's folder, together with the files beside the folders that are named after the
site; the newest valid pair in it wins. Everything is copied into memory, and nothing is moved or changed. Checks no
certificate: `model.certificate.bundle` finds out what the bytes are, `drop_decision` decides what to do.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from certstore.files.permissions import repair_command
from certstore.model.certificate.contents import may_hold_something
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Finding, Refusal, refusal
from certstore.model.certificate.pem import FILE_LIMIT
from certstore.model.layout import SITE_YAML
from certstore.model.text import shown

MAX_FILES = 64
MAX_BYTES = 4_000_000
_ATTEMPTS = 3
_CERTIFICATE_SUFFIXES = (".pem", ".crt", ".cer", ".cert", ".key", ".der", ".p12", ".pfx", ".p7b", ".p7c", ".jks")
# Files that editors, copying programs and package managers make beside a file while they write it.
_TRANSIENT_SUFFIXES = ("~", ".tmp", ".temp", ".part", ".partial", ".filepart", ".swp", ".swx", ".swo", ".crdownload")

Stamp = tuple[str, int, int, int]
"""Path, inode, size, and the time of the last change of content or place (ctime, which no program can set back)."""


@dataclass(frozen=True, slots=True)
class DropPlaces:
    """Where a site's drop may be: its folder, and files beside the folders that are named after its key or host."""

    folder: Path
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """What was found. `findings` tell what could not be read: reasons to refuse unless the rest is whole without it.

    `digest` changes with the content of any file that could hold a key or a certificate, but not with names, order,
    times or other files. `changed_at` is the newest change in seconds since the epoch. `is_steady` is False when the
    files were changing while they were read.
    """

    files: tuple[DroppedFile, ...]
    findings: tuple[Finding, ...]
    digest: str
    changed_at: float
    is_steady: bool

    @property
    def is_absent(self) -> bool:
        """There is nothing that could be meant as a drop."""
        return not self.files and not self.findings


def read_drop(places: DropPlaces) -> Drop:
    """Never raises and never blocks on a file. Files that change meanwhile are read again, a few times."""
    drop = _read_once(places)
    for _ in range(_ATTEMPTS - 1):
        if drop.is_steady:
            break
        drop = _read_once(places)
    return drop


def _read_once(places: DropPlaces) -> Drop:
    before = stamps(places)
    files, findings = _read_files(places)
    newest = max((changed_at for *_, changed_at in before), default=0)
    return Drop(files, findings, _digest(files, findings), newest / 1e9, before == stamps(places))


def stamps(places: DropPlaces) -> tuple[Stamp, ...]:
    """What differs when a drop may have changed, without opening a file. Never raises."""
    found = []
    for path in _candidates(places):
        try:
            status = os.stat(path)  # noqa: PTH116  links are followed: the file behind the link counts
        except OSError:
            found.append((path, 0, 0, 0))
            continue
        if not stat.S_ISDIR(status.st_mode):
            found.append((path, status.st_ino, status.st_size, status.st_ctime_ns))
    return tuple(found)


def is_drop_name(name: str) -> bool:
    """Whether a file of this name in a folder belongs to the drop. Hidden files are only reached through links."""
    return not name.startswith((".", "#")) and name != SITE_YAML and not name.endswith(_TRANSIENT_SUFFIXES)


def _candidates(places: DropPlaces) -> list[str]:
    """The paths, sorted; not more than it takes to find out that a folder is too full."""
    try:
        with os.scandir(places.folder) as entries:
            inside = [
                entry.path for entry, _ in zip(filter(_is_candidate, entries), range(MAX_FILES + 1), strict=False)
            ]
    except OSError:
        inside = []
    beside = [str(path) for path in places.files if os.path.lexists(path)]
    return sorted(inside) + beside


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    return is_drop_name(entry.name)


def _read_files(places: DropPlaces) -> tuple[tuple[DroppedFile, ...], tuple[Finding, ...]]:
    paths = _candidates(places)
    files: list[DroppedFile] = []
    findings: list[Finding] = []
    if (fault := _unreadable_folder(places.folder)) is not None:
        findings.append(fault)
    if len(paths) > MAX_FILES:
        message = f"{places.folder} holds more than {MAX_FILES} files; leave only those of this site's certificate"
        return (), (*findings, refusal(Refusal.TOO_LARGE, message))
    left = MAX_BYTES
    for path in paths:
        outcome = _read_file(path, min(left, FILE_LIMIT))
        if isinstance(outcome, DroppedFile):
            files.append(outcome)
            left -= len(outcome.content)
        elif outcome is not None:
            findings.append(outcome)
    return tuple(file for file in files if _may_matter(file)), tuple(findings)


def _unreadable_folder(folder: Path) -> Finding | None:
    """A fault for a folder that can't be listed, none for one that is not there."""
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except PermissionError:
        return refusal(
            Refusal.UNREADABLE, f"the service can't list {folder}: permission denied. {repair_command(folder)}"
        )
    except OSError:
        return None
    return None


def _read_file(path: str, limit: int) -> DroppedFile | Finding | None:
    """The content of a regular file; None for what is not part of a drop (a folder in the folder)."""
    try:
        # Checked before it is opened: opening some devices has effects, and a pipe would block.
        mode = os.stat(path).st_mode  # noqa: PTH116
        if stat.S_ISREG(mode):
            content = _read_regular(path, limit)
            return content if isinstance(content, Finding) else DroppedFile(shown(Path(path).name), content)
    except OSError as error:
        return _unreadable(path, error)
    if stat.S_ISDIR(mode) and not path.endswith(_CERTIFICATE_SUFFIXES):
        return None
    return refusal(
        Refusal.UNREADABLE, f"{shown(path)} is {_kind(mode)}, not a file; remove it, or put the file in its place"
    )


def _read_regular(path: str, limit: int) -> bytes | Finding:
    """As many bytes as the file has at this moment; the stamps show whether it grew meanwhile."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return refusal(
                Refusal.UNREADABLE, f"{shown(path)} became {_kind(status.st_mode)} while it was read; put the file back"
            )
        if status.st_size > limit:
            return _too_large(path, status.st_size)
        content = b""
        while (left := status.st_size - len(content)) > 0 and (part := os.read(descriptor, left)):
            content += part
        return content
    finally:
        os.close(descriptor)


def _too_large(path: str, size: int) -> Finding:
    message = (
        f"{shown(path)} has {size} bytes, and at most {FILE_LIMIT} of one file and {MAX_BYTES} of one drop are read; "
        "leave only the files of this site's certificate"
    )
    return refusal(Refusal.TOO_LARGE, message)


def _unreadable(path: str, error: OSError) -> Finding:
    reason = f"the service can't read {shown(path)}: {(error.strerror or 'unknown error').lower()}"
    if isinstance(error, PermissionError):
        reason = f"{reason}. {repair_command(Path(path))}"
    elif isinstance(error, FileNotFoundError):
        reason = f"{shown(path)} is a link to a file that does not exist; restore the file or remove the link"
    return refusal(Refusal.UNREADABLE, reason)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def _digest(files: Sequence[DroppedFile], findings: Sequence[Finding]) -> str:
    contents = {hashlib.sha256(file.content).digest() for file in files}
    whole = hashlib.sha256(b"".join(sorted(contents)))
    whole.update("\n".join(sorted(finding.message for finding in findings)).encode(errors="replace"))
    return whole.hexdigest()


def _may_matter(file: DroppedFile) -> bool:
    """Whether content or name suggests a key or a certificate; other files in the folder do not count."""
    return file.name.lower().endswith(_CERTIFICATE_SUFFIXES) or may_hold_something(file.content)
