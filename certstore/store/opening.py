"""Opens the writer's state: makes the folders, removes what a kill left, and compares everything with what is on disk.

`live` is the truth about what is served, and the journal follows it, no matter when the last writer was killed.
Runs once, under the lock, before anything else is written. Checks no drop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from certstore.files.atomic import KeyPermissions, make_folder
from certstore.files.keyed_state import KeyedState
from certstore.model.drop_decision import is_last_drop
from certstore.model.layout import Layout
from certstore.model.name_ownership import NameOwnership
from certstore.model.record import Outcome, Record
from certstore.model.site_registry import KnownSite, SiteRegistry
from certstore.model.snapshot import MAIN, ServedCertificate
from certstore.store.journal import JournalWriter
from certstore.store.site_settings import is_declaration, is_usable_key, new_site, settings_from
from certstore.store.site_yaml import Stamp
from certstore.store.versions import (
    VersionUnusable,
    is_stamp_old,
    live_exists,
    live_numbers,
    make_live,
    read_version,
    read_versions,
    remove_live,
    write_stamp,
)
from certstore.store.writer_state import INTAKE, Policy, SiteChange, SiteProblem, WriterState

logger = logging.getLogger(__name__)


def prepare_folders(layout: Layout, permissions: KeyPermissions) -> None:
    """Make every folder of a store, with its mode. The drop folders are made once and then left to their users."""
    layout.root.mkdir(mode=0o755, parents=True, exist_ok=True)
    for folder in (layout.drop_folder(MAIN), layout.domains):
        if not os.path.lexists(folder):  # a link to what is not mounted yet, or may not be entered, is left alone too
            make_folder(folder, 0o755)
    for folder in (
        layout.temporary,
        layout.records_folder,
        layout.challenges,
        layout.alpn_challenges,
        layout.accounts,
        layout.state,
        layout.admin,
    ):
        make_folder(folder, 0o700)
    make_folder(layout.stamps, 0o755)
    make_folder(layout.live_folder, permissions.key_folder, permissions.keys_gid)
    _set_archive_permissions(layout, permissions)


def empty_temporary(layout: Layout) -> None:
    """Remove what a kill left half made."""
    for left in layout.temporary.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def open_state(
    layout: Layout, permissions: KeyPermissions, policy: Policy, clock: Callable[[], datetime]
) -> WriterState:
    """The writer's state as it agrees with the disk. Raises OSError."""
    declared = KeyedState(layout.declarations, layout.temporary, is_valid=is_declaration)
    drops = KeyedState(layout.drop_digests, layout.temporary, is_valid=is_last_drop)
    tombstones = KeyedState(layout.tombstones, layout.temporary)
    tried = KeyedState(layout.tried, layout.temporary)
    journal = JournalWriter(layout)
    is_fit = journal.load()
    registry = SiteRegistry(NameOwnership({site: kept["numbers"] for site, kept in declared.items()}))
    state = WriterState(layout, permissions, policy, clock, registry, journal, declared, drops, tombstones, tried)
    _finish_removals(state)
    served = _served_certificates(state)
    fresh = _fill_registry(state, served)
    for site, stamp in fresh.items():
        state.declare(state.registry[site], stamp, is_durable=False)
    declared.sync()
    unpublished = _unpublished(state, served)
    _publish(state, is_fit=is_fit)
    for site in fresh:
        state.report_conflicts(state.rivals(site))
    for site in unpublished:
        _record_what_a_kill_left(state, site, served[site].version)
    _renew_stamps(state.layout, served, unpublished)
    return state


def _set_archive_permissions(layout: Layout, permissions: KeyPermissions) -> None:
    """After a change of `keys_group`, what is there gets its permissions; the top folder last, in case of a kill."""
    if layout.archive.is_dir():
        status = layout.archive.stat()
        is_right = status.st_mode & 0o777 == permissions.key_folder and permissions.keys_gid in (None, status.st_gid)
        if not is_right:
            for folder, _, files in os.walk(layout.archive, topdown=False):
                for path, mode in [(f"{folder}/{name}", permissions.key_file) for name in files] + [
                    (folder, permissions.key_folder)
                ]:
                    os.chown(
                        path, -1, -1 if permissions.keys_gid is None else permissions.keys_gid, follow_symlinks=False
                    )
                    os.chmod(path, mode)  # noqa: PTH101
    make_folder(layout.archive, permissions.key_folder, permissions.keys_gid)


def _finish_removals(state: WriterState) -> None:
    """A removal counts as soon as its tombstone is written."""
    for site in state.tombstones:
        if state.layout.live(site).is_symlink():
            remove_live(state.layout, site)
        state.declared.drop(site)
        state.tried.drop(site, is_durable=False)


def _served_certificates(state: WriterState) -> dict[str, ServedCertificate]:
    """What is live, by site. Where the journal names the live version it is trusted: reading 50,000 files that never
    change would make the start slow.
    """
    served: dict[str, ServedCertificate] = {}
    for site, number in live_numbers(state.layout).items():
        entry = state.journal.entries.get(site)
        published = entry.certificate if entry else None
        if published is not None and published.version == number and live_exists(state.layout, site):
            served[site] = published
            continue
        found = _read_or_replace(state, site, number)
        if found is not None:
            served[site] = found
    for site, entry in state.journal.entries.items():
        # A removal writes its tombstone before it removes the link: without one, somebody else removed the link.
        if site in served or site in state.tombstones or entry.certificate is None:
            continue
        if entry.certificate.site == site:
            found = _put_back(state, site, entry.certificate.version)
            if found is not None:
                served[site] = found
    return served


def _put_back(state: WriterState, site: str, number: int) -> ServedCertificate | None:
    """The version that was served last, or the newest complete one, where `live` no longer names it: the folder was
    copied without its links, or the link was removed by mistake. It is served even where the link can't be made.
    """
    layout = state.layout
    whole = {version.number: version for version in reversed(read_versions(layout, site))}
    if not whole:
        _commit_loss(state, site, f"{layout.live(site)} is missing, and no complete version is left")
        return None
    version = whole.get(number) or whole[max(whole)]
    try:
        make_live(layout, site, version.number)
    except OSError as error:
        message = (
            f"{layout.live(site)} is not a link to a version and can't be replaced by one ({error.strerror}); "
            f"version {version.number} is served nevertheless: move away what is there, then restart"
        )
        _commit_problem(state, site, message)
        return version.served
    message = f"{layout.live(site)} was missing; version {version.number} was made live again"
    _commit_repair(state, site, message, version.number)
    return version.served


def _read_or_replace(state: WriterState, site: str, number: int) -> ServedCertificate | None:
    """The live version, or the newest complete one when the live one is damaged."""
    try:
        return read_version(state.layout, site, number).served
    except VersionUnusable as error:
        whole = read_versions(state.layout, site)
        if not whole:
            _commit_loss(state, site, f"{error}; no other version is left")
            return None
        make_live(state.layout, site, whole[0].number)
        message = f"{error}; version {whole[0].number} was made live instead"
        _commit_repair(state, site, message, whole[0].number)
        return whole[0].served


def _commit_problem(state: WriterState, site: str, problem: str) -> None:
    state.commit(SiteChange(site, problems={SiteProblem.LIVE_UNUSABLE: problem}))


def _commit_loss(state: WriterState, site: str, problem: str) -> None:
    """Where its drop still lies there, the first check takes it again."""
    with contextlib.suppress(OSError):  # a full disk does not keep the other sites from their start
        state.drops.drop(site)
    _commit_problem(state, site, problem)


def _commit_repair(state: WriterState, site: str, message: str, version: int) -> None:
    """Done, not failed: the record says what is live now."""
    logger.error("%s: %s", site, message)
    record = Record(state.clock(), "mend", Outcome.DONE, SiteProblem.LIVE_UNUSABLE, message, version)
    state.commit(SiteChange(site, record, {SiteProblem.LIVE_UNUSABLE: None}))


def _fill_registry(state: WriterState, served: dict[str, ServedCertificate]) -> dict[str, Stamp | None]:
    """Put in all sites that were known, that have a live version, or that have a drop; returns the new ones, with the
    stamps of their site.yaml.
    """
    sites: list[KnownSite] = []
    fresh: dict[str, Stamp | None] = {}
    reserved = set(served[MAIN].dns_names if MAIN in served else ()) | _declared_wildcards(state)
    known = set(state.declared) | set(served) | {MAIN}
    dropped = _drop_names(state.layout) if state.policy.front is None else []
    for site in sorted(known | set(dropped)):
        if site in state.tombstones:
            continue
        one, stamp = _as_declared(state, site), None
        is_new = one is None
        if one is None:
            one, stamp = new_site(state.layout, state.policy.base, site, reserved)
            if one is None and site in known:
                one = KnownSite(site, state.policy.main_host if site == MAIN else site)
        if one is not None:
            one = replace(one, has_drop=site in state.drops)
            sites.append(one.with_served(served[site]) if site in served else one)
            if is_new:
                fresh[site] = stamp
    state.registry.put_all(sites)
    return fresh


def _declared_wildcards(state: WriterState) -> set[str]:
    """As they were known last."""
    names = (name for kept in state.declared.values() for name in (kept["settings"] or {}).get("additional_names", ()))
    return {name for name in names if isinstance(name, str) and name.startswith("*.")}


def _as_declared(state: WriterState, site: str) -> KnownSite | None:
    """The site as it was known last; None when it was not, or when its settings are no longer valid: then its files are
    read again.
    """
    kept = state.declared.get(site)
    if kept is None:
        return None
    try:
        return KnownSite(site, kept["host"], settings_from(kept))
    except ValueError as error:
        logger.error("%s: what was kept of its site.yaml can't be understood (%s)", site, type(error).__name__)
        return None


def _drop_names(layout: Layout) -> list[str]:
    """The keys that folders under domains/ are named after."""
    try:
        with os.scandir(layout.domains) as entries:
            # Not DirEntry.is_dir: it raises for a link that can't be followed, which would end the list there.
            found = [entry.name for entry in entries if is_usable_key(entry.name) and os.path.isdir(entry.path)]  # noqa: PTH112
    except OSError as error:
        # The known sites are served nevertheless.
        logger.error("%s can't be listed: %s", layout.domains, error.strerror)
        return []
    return found


def _publish(state: WriterState, *, is_fit: bool) -> None:
    gone = [site for site in state.journal.entries if site not in state.registry]
    if is_fit:
        state.publish(state.registry, removed=gone)
    else:
        logger.info("%s is written anew for %d sites", state.layout.snapshot_journal, len(state.registry))
        state.journal.rewrite([state.registry.entry(site) for site in state.registry])


def _unpublished(state: WriterState, served: dict[str, ServedCertificate]) -> list[str]:
    """The sites whose live version the journal does not name: the writer was stopped between the two steps."""
    entries = state.journal.entries
    return [
        site
        for site, certificate in served.items()
        if (entry := entries.get(site)) is None or entry.certificate is None or entry.certificate != certificate
    ]


def _renew_stamps(layout: Layout, served: dict[str, ServedCertificate], unpublished: list[str]) -> None:
    """Programs that wait for a stamp would serve the old certificate until the next renewal, and that may be too late.
    Main's is there in any case: it may be missing in a store of an older release.
    """
    is_stampless = MAIN in served and not layout.stamp(MAIN).exists()
    behind = [site for site, certificate in served.items() if certificate.site == site and is_stamp_old(layout, site)]
    for site in dict.fromkeys([*unpublished, *behind, *([MAIN] if is_stampless else [])]):
        write_stamp(layout, site, served[site].version)


def _record_what_a_kill_left(state: WriterState, site: str, version: int) -> None:
    """A version that went live before the kill, but did not get its record."""
    if state.records(site).last_live == version:
        return
    message = f"version {version} went live; the process was stopped before it could be recorded"
    state.commit(SiteChange(site, Record(state.clock(), INTAKE, Outcome.DONE, "activated", message, version)))
