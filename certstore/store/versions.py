"""The versions of a site in the archive, and the one `live` link that tells which of them is served.

A version is completed under tmp/, renamed into the archive, and only then made live by one rename: no matter when a
kill comes, the link leads to a complete version. One that was archived and never made live does no harm: its number
is not used again. Knows nothing of drops, settings or workers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from pathlib import Path

from certstore.files.atomic import (
    KeyPermissions,
    make_folder,
    replace_link,
    sync_folder,
    temporary_name,
    write_new_folder,
)
from certstore.model import layout as names
from certstore.model.certificate.bundle import CertificateBundle, KeyPair
from certstore.model.certificate.library import Unreadable
from certstore.model.certificate.x509_facts import CertificateFacts, read_pem
from certstore.model.layout import Layout
from certstore.model.snapshot import MAIN
from certstore.model.version import Version, chain_length

logger = logging.getLogger(__name__)

YOUNG = timedelta(hours=1)
"""A version younger than this is never pruned: a process may still be opening its files."""


_FILES = (names.FULLCHAIN, names.PRIVKEY, names.CERT, names.CHAIN, names.COMBINED)
_RSA_FILES = (names.FULLCHAIN_RSA, names.PRIVKEY_RSA)


class VersionUnusable(Exception):
    """A version is missing or incomplete; the message says what was found."""


def files_of(bundle: CertificateBundle) -> dict[str, bytes]:
    """The PEM files of a version by name."""
    one, rsa = bundle.primary, bundle.rsa
    contents = (one.fullchain_pem, one.privkey_pem, one.cert_pem, one.chain_pem, one.combined_pem)
    files = dict(zip(_FILES, contents, strict=True))
    return files if rsa is None else files | dict(zip(_RSA_FILES, (rsa.fullchain_pem, rsa.privkey_pem), strict=True))


def digest_of(files: dict[str, bytes]) -> str:
    """A text that differs when any byte of any file differs, and reveals nothing of a key."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{name} {len(files[name])} ".encode())
        whole.update(hashlib.sha256(files[name]).digest())
    return whole.hexdigest()


def write_version(
    layout: Layout,
    permissions: KeyPermissions,
    site: str,
    bundle: CertificateBundle,
    *,
    source: str,
    now: datetime,
    sync_pool: Executor,
) -> Version:
    """Make the site's next version, complete and synced, but not live. Raises OSError, and then nothing is left."""
    files = files_of(bundle)
    number = next_number(layout, site)
    described = {name: getattr(bundle.primary, name) for name in KeyPair.__slots__ if name in Version.__slots__}
    version = Version(
        site=site, number=number, made_at=now, source=source, digest=digest_of(files), **described,
        chain_length=chain_length(bundle.primary), has_rsa_pair=bundle.rsa is not None, problems=bundle.problems,
    )  # fmt: skip
    is_first = number == 1
    archive_version(layout, permissions, version, stage_version(layout, permissions, version, files, sync_pool))
    if is_first:
        sync_folder(layout.archive)
    sync_folder(layout.versions(site))
    return version


def stage_version(
    layout: Layout, permissions: KeyPermissions, version: Version, files: dict[str, bytes], sync_pool: Executor | None
) -> Path:
    """Write a version under tmp/; `archive_version` gives it its place. It is durable where there is a `sync_pool`.
    Raises OSError, and then nothing is left.
    """
    fresh = temporary_name(layout.temporary)
    described = json.dumps(version.to_json(), indent=1).encode() + b"\n"
    try:
        write_new_folder(fresh, {**files, names.META: described}, permissions, sync_pool)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return fresh


def archive_version(
    layout: Layout, permissions: KeyPermissions, version: Version, fresh: Path, *, is_durable: bool = True
) -> None:
    """Move a staged version to its place, which must be free; its name becomes durable with the next sync of the site's
    folder, and without `is_durable` a new folder's with that of the archive. Raises OSError, and then nothing is left.
    """
    try:
        if not layout.versions(version.site).is_dir():
            folder = layout.versions(version.site)
            make_folder(folder, permissions.key_folder, permissions.keys_gid, is_durable=is_durable)
        fresh.rename(layout.version(version.site, version.number))
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def next_number(layout: Layout, site: str) -> int:
    return max(version_numbers(layout, site), default=0) + 1


def version_numbers(layout: Layout, site: str) -> list[int]:
    """In ascending order. Only complete versions have a number for a name."""
    try:
        found = [path.name for path in layout.versions(site).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name) for name in found if name.isascii() and name.isdigit())


def read_version(layout: Layout, site: str, number: int) -> Version:
    """Raises VersionUnusable when a file is missing or meta.json can't be understood."""
    folder = layout.version(site, number)
    try:
        version = Version.from_json(site, number, json.loads((folder / names.META).read_bytes()))
    except OSError as error:
        raise VersionUnusable(f"{folder}: {names.META}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise VersionUnusable(f"{folder}: {names.META} can't be understood: {type(error).__name__}") from error
    needed = _FILES + (_RSA_FILES if version.has_rsa_pair else ())
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise VersionUnusable(f"{folder}: missing {', '.join(missing)}")
    return version


def read_files(layout: Layout, site: str, version: Version) -> dict[str, bytes]:
    """The PEM files of a version by name. Raises OSError."""
    needed = _FILES + (_RSA_FILES if version.has_rsa_pair else ())
    return {name: (layout.version(site, version.number) / name).read_bytes() for name in needed}


def archived_intermediates(layout: Layout, site: str) -> Iterator[CertificateFacts]:
    """The chains of the site's versions and of main's, the newest first, each certificate once.

    Not those of other sites: somebody else could have put a certificate of the same name and key there. Never raises.
    """
    seen: set[bytes] = set()
    for of in dict.fromkeys((site, MAIN)):
        for number in reversed(version_numbers(layout, of)):
            folder = layout.version(of, number)
            for name in (names.FULLCHAIN, names.FULLCHAIN_RSA):
                with contextlib.suppress(OSError, Unreadable):
                    for each in read_pem((folder / name).read_bytes())[1:]:
                        if each.der not in seen:
                            seen.add(each.der)
                            yield each


def is_intact(layout: Layout, version: Version) -> bool:
    """Whether its files are still those that were written."""
    try:
        return digest_of(read_files(layout, version.site, version)) == version.digest
    except OSError:
        return False


def stand_ins(layout: Layout, site: str, number: int) -> list[int]:
    """The versions to try where this one can't be served: those before it, the newest first, then those after it."""
    others = [each for each in version_numbers(layout, site) if each != number]
    return sorted(others, key=lambda each: (each > number, -each))


def read_live(layout: Layout, site: str) -> Version | None:
    """The version that `live` names, when it is complete."""
    number = live_number(layout, site)
    if number is None:
        return None
    try:
        return read_version(layout, site, number)
    except VersionUnusable:
        return None


def read_versions(layout: Layout, site: str) -> list[Version]:
    """All complete versions, newest first."""
    versions = []
    for number in reversed(version_numbers(layout, site)):
        try:
            versions.append(read_version(layout, site, number))
        except VersionUnusable:
            continue
    return versions


def live_number(layout: Layout, site: str) -> int | None:
    """The version that `live` names, whether it exists or not; None without a link in the form that we write."""
    try:
        target = os.readlink(layout.live(site))  # noqa: PTH115
    except OSError:
        return None
    number = target.rpartition("/")[2]
    is_ours = number.isascii() and number.isdigit() and target == layout.live_target(site, int(number))
    return int(number) if is_ours else None


def live_numbers(layout: Layout) -> dict[str, int]:
    """`live_number` of all sites that have a link."""
    with os.scandir(layout.live_folder) as entries:
        sites = [entry.name for entry in entries if entry.is_symlink()]
    found = {site: live_number(layout, site) for site in sites}
    return {site: number for site, number in found.items() if number is not None}


def live_exists(layout: Layout, site: str) -> bool:
    """Whether the folder that `live` names is there; its content is not checked."""
    return os.path.isdir(f"{layout.live_folder}/{site}")  # noqa: PTH112  asked for every site at every start


def make_live(layout: Layout, site: str, number: int, *, is_durable: bool = True) -> None:
    """The only step that changes what is served. Raises OSError."""
    replace_link(layout.live(site), layout.live_target(site, number), layout.temporary, is_durable=is_durable)
    write_stamp(layout, site, number)


def write_stamp(layout: Layout, site: str, number: int) -> None:
    """Let programs that watch it know."""
    content = f"{number}\n".encode()
    try:
        descriptor = os.open(layout.stamp(site), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, content, 0)  # over what is there: a full disk has room for that
            os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)
    except OSError as error:
        # What is served stands. Programs that watch the stamp see the next activation, or the next start.
        logger.error("%s can't be written: %s", layout.stamp(site), error.strerror)


def is_stamp_old(layout: Layout, site: str) -> bool:
    """Whether `live` was changed after the stamp: the process was stopped in between, or the stamp could not be
    written. A site without a stamp, of an older release, gets one with its next version.
    """
    try:
        stamp = os.stat(f"{layout.stamps}/{site}")  # noqa: PTH116  for every site at every start, as is the link
        return stamp.st_size == 0 or stamp.st_mtime_ns < os.lstat(f"{layout.live_folder}/{site}").st_mtime_ns
    except OSError:
        return False


def remove_live(layout: Layout, site: str) -> None:
    """The site keeps its versions, but none of them is served."""
    layout.live(site).unlink(missing_ok=True)
    layout.stamp(site).unlink(missing_ok=True)
    sync_folder(layout.live_folder)


def select_prunable(
    versions: Sequence[tuple[int, datetime]], *, protected: Collection[int], keep: int, now: datetime
) -> list[int]:
    """The versions (number, made at) to remove: the oldest beyond `keep`, but none that is protected or young.

    The live version and its predecessors are protected. Versions that have to stay count towards `keep`.
    """
    surplus = len(versions) - keep
    prunable = [number for number, at in sorted(versions) if number not in protected and now - at >= YOUNG]
    return prunable[: max(surplus, 0)]


def prune(layout: Layout, site: str, *, protected: Collection[int], keep: int, now: datetime) -> list[int]:
    """Remove and return what `select_prunable` selects. A version leaves the archive by one rename, never by halves."""
    versions = [(version.number, version.made_at) for version in read_versions(layout, site)]
    gone = select_prunable(versions, protected=protected, keep=keep, now=now)
    for number in gone:
        doomed = temporary_name(layout.temporary)
        layout.version(site, number).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return gone
