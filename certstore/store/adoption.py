"""Makes other nodes' changes here: settings, live versions and removals that the nodes of a cluster have agreed on.

The order of steps is that of an activation, for many sites at once: everything is written and synced, then `live` is
switched, then one commit lets workers know. A kill leaves each site with its old or its new version, both whole. What
can't be done here is an answer with a reason, and the other changes go on. Every change names what it replaces: a site
that has changed meanwhile is left alone, and the caller decides again. Knows no engine and no seal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from certstore.files.atomic import sync_file_system, sync_folder
from certstore.model import layout as names
from certstore.model.certificate.bundle import Refused, read_bundle
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.record import Outcome, Record
from certstore.model.settings.models import SiteSettings
from certstore.model.site_registry import KnownSite
from certstore.model.snapshot import MAIN
from certstore.model.text import listed
from certstore.model.version import Version
from certstore.net.tls_engine import library_in_force
from certstore.store.activation import prune_archive
from certstore.store.counted_settings import path_into_store
from certstore.store.errors import NotWritable
from certstore.store.live_check import remember_tried
from certstore.store.site_changes import bury
from certstore.store.site_settings import is_usable_key
from certstore.store.site_yaml import stamp_of, write_site_file
from certstore.store.trial import inability
from certstore.store.versions import (
    VersionUnusable,
    archive_version,
    digest_of,
    is_intact,
    live_number,
    make_live,
    next_number,
    read_live,
    read_version,
    remove_live,
    stage_version,
)
from certstore.store.writer_state import Problems, SiteChange, SiteProblem, WriterState

REPLICATE = "replicate"
"""What adoptions are called in records."""
SYNC_AT_ONCE = 20
"""With more versions than this, one sync of the whole file system is faster than one of each file."""

PAIRS = (names.FULLCHAIN, names.PRIVKEY, names.FULLCHAIN_RSA, names.PRIVKEY_RSA)

_SOLVED_BY_SETTINGS: Problems = dict.fromkeys(
    (SiteProblem.SETTINGS_INVALID, SiteProblem.NOT_ADOPTED, SiteProblem.SOURCE_MISSING, SiteProblem.NOT_ADOPTED_HERE)
)
_SOLVED_BY_HEAD: Problems = dict.fromkeys(
    (
        SiteProblem.DROP_REFUSED,
        SiteProblem.LIVE_UNUSABLE,
        SiteProblem.LIVE_UNLOADABLE,
        SiteProblem.NOT_ACTIVATED,
        SiteProblem.NOT_ADOPTED_HERE,
    )
)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a site declares: the host, the settings as site.yaml would hold them (None: a bare site), and the numbers of
    its names.
    """

    host: str
    settings: Mapping[str, Any] | None
    numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Removed:
    """The site was removed."""

    at: datetime


@dataclass(frozen=True, slots=True)
class SiteAdoption:
    """`declaration` in place of `before`, which is what this node has (None: it does not know the site). A site.yaml
    that somebody has changed here meanwhile is kept beside the new one as `keep_as`.
    """

    site: str
    node: str
    before: Declaration | Removed | None
    declaration: Declaration | Removed
    keep_as: str = ""


@dataclass(frozen=True, slots=True)
class HeadAdoption:
    """A version to make live in place of the one with the digest `before` (None: nothing is live). `files` are the PEM
    files by name. With `is_live` False the version is only archived. `tried_with` is the TLS library that has loaded it
    on the other node.
    """

    version: Version
    node: str
    before: str | None
    files: Mapping[str, bytes] = field(repr=False)
    is_live: bool = True
    tried_with: str = ""

    @property
    def site(self) -> str:
        return self.version.site


@dataclass(frozen=True, slots=True)
class Adopted:
    """`DONE`: it is as on the other node. `NOTED`: it was so before, or, with `is_outdated`, has changed meanwhile.
    `REFUSED`: this node can't have it, whenever it is tried. `FAILED`: it may succeed later.
    """

    site: str
    outcome: Outcome
    message: str
    is_outdated: bool = False


@dataclass(frozen=True, slots=True)
class CheckedHead:
    """A version after the slow part, which needs no lock; `refusal` says why this node can't serve it."""

    head: HeadAdoption
    refusal: str | None = None
    fault: str | None = None


def declaration_of(state: WriterState, site: str) -> Declaration | Removed | None:
    """What the cluster has to know of a site's settings."""
    if (tombstone := state.tombstones.get(site)) is not None:
        return Removed(datetime.fromisoformat(tombstone["at"]))
    if (known := state.registry.get(site)) is None:
        return None
    settings = known.settings.model_dump(mode="json", exclude_defaults=True) if known.settings else None
    return Declaration(known.host, settings, state.registry.numbers_of(site))


def check_head(state: WriterState, head: HeadAdoption) -> CheckedHead:
    """Read the files as those of a drop are read, and try them, unless another node has with the same TLS library: it
    comes to the same verdict. What a person has forced is not refused again.
    """
    files = dict(head.files)
    if digest_of(files) != head.version.digest:
        return CheckedHead(head, "its files are not those that its description names")
    given = [DroppedFile(name, content) for name, content in files.items() if name in PAIRS]
    verdict = read_bundle(given, now=state.clock(), force=True)
    if isinstance(verdict, Refused):
        return CheckedHead(head, verdict.message)
    if verdict.primary.fingerprint != head.version.fingerprint:
        return CheckedHead(head, "its certificate is not the one that its description names")
    if head.tried_with == library_in_force():
        return CheckedHead(head)
    try:
        reason = state.trial(files)
    except OSError as error:
        return CheckedHead(head, fault=f"{error.strerror or error}; it is tried again soon")
    of = f"the certificate of {listed(head.version.dns_names)}"
    return CheckedHead(head, None if reason is None else inability(of, reason))


def adopt_declarations(state: WriterState, adoptions: Sequence[SiteAdoption]) -> tuple[Adopted, ...]:
    """Settings and removals, main's first. Raises OSError when nothing could be published."""
    is_batch = len(adoptions) > SYNC_AT_ONCE
    answers, changes = dict[str, Adopted](), list[SiteChange]()
    for each in sorted(adoptions, key=lambda one: one.site != MAIN):
        try:
            change = _declaration_change(state, each, is_durable=not is_batch)
        except (OSError, NotWritable) as error:
            change = _fault(each.site, error)
        if isinstance(change, SiteChange):
            changes.append(change)
            change_message = change.record.message if change.record is not None else ""
            answers[each.site] = Adopted(each.site, Outcome.DONE, change_message)
        else:
            answers[each.site] = change
    if is_batch and changes:
        sync_file_system(state.layout.domains)
    if changes:
        state.commit_all(changes)
    for answer in answers.values():
        _note_refusal(state, answer, "settings")
    return tuple(answers[each.site] for each in adoptions)


def adopt_heads(state: WriterState, checked: Sequence[CheckedHead], now: datetime) -> tuple[Adopted, ...]:
    """Versions, main's first. Of those that are to be live, at most one of each site. Raises OSError when nothing could
    be published: then every `live` link leads to what it led to before.
    """
    answers, staged = dict[int, Adopted](), list[_Staged]()
    is_batch = len(checked) > SYNC_AT_ONCE
    for each in sorted(checked, key=lambda one: one.head.site != MAIN):
        answer = _unfit(state, each)
        if answer is None:
            try:
                staged.append(_stage(state, each, is_durable=not is_batch))
                continue
            except OSError as error:
                answer = _fault(each.head.site, error)
        answers[id(each)] = answer
    if is_batch and staged:
        sync_file_system(state.layout.temporary)
    placed = [each for each in staged if _placed(state, each, answers)]
    _sync_archive(state, placed, is_batch=is_batch)
    live = [each for each in placed if each.checked.head.is_live]
    if live:
        _switch_all(state, live, now)
    for done in placed:
        answers[id(done.checked)] = Adopted(done.version.site, Outcome.DONE, _sentence(done))
    for each in checked:
        if each.head.is_live:
            _note_refusal(state, answers[id(each)], "certificate")
    return tuple(answers[id(each)] for each in checked)


# Settings and removals


def _declaration_change(state: WriterState, each: SiteAdoption, *, is_durable: bool) -> SiteChange | Adopted:
    site, wanted = each.site, each.declaration
    have = declaration_of(state, site)
    if _is_same(have, wanted):
        return Adopted(site, Outcome.NOTED, "this node has it already")
    if have != each.before:
        return Adopted(site, Outcome.NOTED, "the site has changed meanwhile", is_outdated=True)
    if site != MAIN and not is_usable_key(site):
        return Adopted(site, Outcome.REFUSED, f"{site!r} can't be the key of a site")
    if isinstance(wanted, Removed):
        return _removal(state, each, wanted)
    if isinstance(have, Declaration) and (have.host, have.settings) == (wanted.host, wanted.settings):
        return SiteChange(site, numbers=wanted.numbers)
    settings = None
    if wanted.settings is not None:
        try:
            settings = SiteSettings.model_validate(wanted.settings)
        except ValueError:
            return Adopted(site, Outcome.REFUSED, "its settings are none that this release knows")
        if (problem := path_into_store(state.layout, state.policy.base, settings)) is not None:
            return Adopted(site, Outcome.REFUSED, problem)
    stamp, is_without_file = None, settings is None
    if settings is not None:
        path = state.layout.site_yaml(site)
        try:
            write_site_file(path, settings, is_durable=is_durable, keep_as=each.keep_as)
        except NotWritable:
            is_without_file = True
        # Where the file can't be written, the one that is there counts as applied: only a change of it is news.
        stamp = stamp_of(path)
    state.tombstones.drop(site)
    if isinstance(have, Removed):
        state.drops.drop(site)
    known = state.registry.get(site)
    fresh = replace(known, host=wanted.host, settings=settings) if known else KnownSite(site, wanted.host, settings)
    message = f"settings as {each.node} has them: {', '.join(fresh.declared_names)}"
    record = None if known == fresh else _record(state.clock(), each.node, "changed", message)
    return SiteChange(
        site, record, _SOLVED_BY_SETTINGS, fresh, stamp, numbers=wanted.numbers, is_without_file=is_without_file
    )


def _removal(state: WriterState, each: SiteAdoption, wanted: Removed) -> SiteChange | Adopted:
    if each.site == MAIN:
        return Adopted(MAIN, Outcome.REFUSED, "the main site can't be removed: every listener needs it")
    known = state.registry.get(each.site)
    bury(state, known or KnownSite(each.site, each.site), wanted.at)
    if known is None:
        return Adopted(each.site, Outcome.DONE, f"{each.node} has removed the site")
    message = f"{each.node} has removed the site; its versions stay in the archive, and main serves its names"
    record = _record(state.clock(), each.node, "removed", message)
    return SiteChange(each.site, record, dict.fromkeys(SiteProblem), is_removed=True)


def _is_same(have: Declaration | Removed | None, wanted: Declaration | Removed) -> bool:
    return have == wanted or (isinstance(have, Removed) and isinstance(wanted, Removed))


# Versions


@dataclass(frozen=True, slots=True)
class _Staged:
    """`fresh` is the folder under tmp/, None where the archive has the version already."""

    checked: CheckedHead
    version: Version
    fresh: Path | None


def _unfit(state: WriterState, each: CheckedHead) -> Adopted | None:
    """The answer for a version that does not have to go live, or can't."""
    site, live = each.head.site, read_live(state.layout, each.head.site)
    if site not in state.registry:
        return Adopted(site, Outcome.REFUSED, "this node has no such site")
    if live is not None and live.digest == each.head.version.digest and is_intact(state.layout, live):
        return Adopted(site, Outcome.NOTED, f"it is live already, as version {live.number}")
    if each.head.is_live and (live.digest if live else None) != each.head.before:
        return Adopted(site, Outcome.NOTED, "the site has changed meanwhile", is_outdated=True)
    if each.refusal is not None:
        return Adopted(site, Outcome.REFUSED, each.refusal)
    return Adopted(site, Outcome.FAILED, each.fault) if each.fault is not None else None


def _stage(state: WriterState, each: CheckedHead, *, is_durable: bool) -> _Staged:
    """Under the number that the other nodes have, if nothing else has it here; then under the next one."""
    layout, version = state.layout, each.head.version
    if layout.version(version.site, version.number).exists():
        with contextlib.suppress(VersionUnusable):
            kept = read_version(layout, version.site, version.number)
            if kept.digest == version.digest and is_intact(layout, kept):
                return _Staged(each, kept, None)
        version = replace(version, number=next_number(layout, version.site))
    pool = state.sync_pool if is_durable else None
    return _Staged(each, version, stage_version(layout, state.permissions, version, dict(each.head.files), pool))


def _placed(state: WriterState, staged: _Staged, answers: dict[int, Adopted]) -> bool:
    if staged.fresh is None:
        return True
    try:
        archive_version(state.layout, state.permissions, staged.version, staged.fresh, is_durable=False)
    except OSError as error:
        answers[id(staged.checked)] = _fault(staged.version.site, error)
        return False
    return True


def _sync_archive(state: WriterState, placed: Iterable[_Staged], *, is_batch: bool) -> None:
    """`live` must not lead to a name that a power cut takes away."""
    sites = [each.version.site for each in placed if each.fresh is not None]
    if not sites:
        return
    if is_batch:
        sync_file_system(state.layout.archive)
        return
    sync_folder(state.layout.archive)
    for site in sites:
        sync_folder(state.layout.versions(site))


def _switch_all(state: WriterState, staged: Sequence[_Staged], now: datetime) -> None:
    layout = state.layout
    before = {each.version.site: live_number(layout, each.version.site) for each in staged}
    try:
        for each in staged:
            make_live(layout, each.version.site, each.version.number, is_durable=False)
        sync_folder(layout.live_folder)
        state.commit_all([_head_change(state, each, now) for each in staged])
    except OSError:
        for site, number in before.items():
            with contextlib.suppress(OSError):  # the next start compares the journal with `live`
                _go_back(state, site, number)
        raise
    for each in staged:
        remember_tried(state, each.version.site, each.version.number)
        prune_archive(state, each.version.site, each.version.number, now)


def _go_back(state: WriterState, site: str, number: int | None) -> None:
    if number is None:
        remove_live(state.layout, site)
    elif live_number(state.layout, site) != number:
        make_live(state.layout, site, number)


def _head_change(state: WriterState, staged: _Staged, now: datetime) -> SiteChange:
    version = staged.version
    record = _record(now, staged.checked.head.node, "activated", _sentence(staged), version.number)
    known = state.registry[version.site].with_served(version.served)
    return SiteChange(version.site, record, _SOLVED_BY_HEAD, known)


def _sentence(staged: _Staged) -> str:
    version, node = staged.version, staged.checked.head.node
    what = f"version {version.number}, as on {node}"
    if not staged.checked.head.is_live:
        return f"{what}, is in the archive"
    return f"{what}, is live: {listed(version.dns_names)}, valid until {version.not_after:%Y-%m-%d}"


# What both have


def _record(now: datetime, node: str, reason: str, message: str, version: int | None = None) -> Record:
    return Record(now, REPLICATE, Outcome.DONE, reason, message, version, source=f"cluster:{node}")


def _fault(site: str, error: Exception) -> Adopted:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return Adopted(site, Outcome.FAILED, f"{why}; it is tried again soon")


def _note_refusal(state: WriterState, answer: Adopted, what: str) -> None:
    """It stands until a later change of the site can be made here."""
    if answer.outcome in (Outcome.REFUSED, Outcome.FAILED) and answer.site in state.registry:
        message = f"the {what} that the other nodes have could not be taken over: {answer.message}"
        # A full disk refuses this too; the answer says it all the same.
        with contextlib.suppress(OSError):
            state.commit(SiteChange(answer.site, problems={SiteProblem.NOT_ADOPTED_HERE: message}))
