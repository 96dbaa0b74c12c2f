"""Applies a changed site.yaml, and finds new sites: folders or files that have not been seen before.

A site.yaml that can't be used leaves the site as it was, with a record. So does one that has vanished: only the command
`site remove` takes a site's names away. Of a site.yaml that a tenant may write, only the tenant's keys count, until an
administrator adopts the rest. Knows nothing of certificates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from certstore.files.writers import owners
from certstore.model.layout import Layout
from certstore.model.names import covers, is_site_key
from certstore.model.record import Outcome, Record
from certstore.model.settings.models import SiteSettings
from certstore.model.site_registry import KnownSite
from certstore.model.snapshot import MAIN
from certstore.store.counted_settings import (
    CountedSettings,
    count_settings,
    may_be_bare,
    path_into_store,
    takes_from_others,
)
from certstore.store.site_yaml import FoundSettings, Stamp, read_site_file, stamp_of
from certstore.store.writer_state import SiteChange, SiteProblem, WriterState

SETTINGS = "settings"

_SOLVED = {SiteProblem.SETTINGS_INVALID: None, SiteProblem.NOT_ADOPTED: None}

UnchangedFor = Callable[[str, float], timedelta]
"""How long a file with this content, changed at this time, has been as it is."""


@dataclass(frozen=True, slots=True)
class SettingsBefore:
    """A site, perhaps one that does not exist yet, before its site.yaml is read: `stamp` is that of the one applied."""

    site: str
    known: KnownSite | None
    stamp: Stamp | None
    path: Path
    base: Path


@dataclass(frozen=True, slots=True)
class SettingsCheck:
    """`again_in`: the file may be half written, check again then. `missing`: the message when the file is gone.
    `ignored` is a file that does not count, as this node is a front.
    """

    again_in: timedelta | None = None
    missing: str | None = None
    ignored: Path | None = None


def settings_before(state: WriterState, site: str) -> SettingsBefore:
    kept = state.declared.get(site)
    stamp = kept and kept["stamp"]
    layout = state.layout
    applied = (stamp[0], stamp[1], stamp[2]) if stamp else None
    return SettingsBefore(site, state.registry.get(site), applied, layout.site_yaml(site), layout.root)


def read_settings(before: SettingsBefore) -> FoundSettings | None:
    """What its site.yaml says, None where it is the one that was applied. Needs no lock, and never raises."""
    if before.known is not None and before.stamp is not None and stamp_of(before.path) == before.stamp:
        return None
    return read_site_file(before.path, before.base)


def check_settings(
    state: WriterState, before: SettingsBefore, found: FoundSettings | None, unchanged_for: UnchangedFor
) -> SettingsCheck | None:
    """Apply what is new; afterwards the site is in the registry, or there is no such site. None when the site has
    changed since `before`.
    """
    site, known = before.site, before.known
    if settings_before(state, site) != before:
        return None
    if found is None:
        state.commit(SiteChange(site, problems=_SOLVED))
        return SettingsCheck()
    if state.policy.front is not None and not (known is not None and found.settings == known.settings):
        return _ignored(state, site, known, found)
    if found.is_absent:
        return _without_file(state, site, known)
    counted = count_settings(state.layout, site, known, found)
    if found.settings is None or _is_less(known, counted.settings):
        remaining = state.policy.settle - unchanged_for(repr(found.stamp), found.changed_at)
        if remaining > timedelta():
            return SettingsCheck(again_in=remaining)
    _apply(state, site, known, found, counted)
    return SettingsCheck()


def new_site(
    layout: Layout, base: Path, site: str, reserved: Collection[str] = ()
) -> tuple[KnownSite | None, Stamp | None]:
    """The site that an unknown key stands for, None when its files do not make a site (yet); and the stamp of the
    site.yaml that counts in full. `reserved` as in `takes_from_others`.
    """
    found = read_site_file(layout.site_yaml(site), layout.root)
    if takes_from_others(layout, site, found, reserved):
        return None, None
    counted = count_settings(layout, site, None, found)
    if counted.settings is not None:
        if path_into_store(layout, base, counted.settings) is not None:
            return None, None
        stamp = found.stamp if counted.problem is None else None
        return KnownSite(site, counted.settings.host, counted.settings), stamp
    is_bare = found.is_absent and _has_place(layout, site) and may_be_bare(site)
    return (KnownSite(site, site) if is_bare else None), None


def is_usable_key(site: str) -> bool:
    return is_site_key(site) and site != MAIN


def is_declaration(kept: Any) -> bool:
    """Whether a value has the form of a line of `state/declarations.jsonl`; the settings in it are not validated."""
    match kept:
        case {"host": str(), "settings": dict() | None, "stamp": _, "numbers": dict(numbers)}:
            return all(isinstance(number, int) for number in numbers.values())
    return False


def settings_from(kept: dict[str, Any]) -> SiteSettings | None:
    """The settings of a line of `state/declarations.jsonl`."""
    return SiteSettings.model_validate(kept["settings"]) if kept["settings"] is not None else None


def _has_place(layout: Layout, site: str) -> bool:
    return os.path.isdir(layout.drop_folder(site)) or _is_there(layout.drop_file(site))  # noqa: PTH112


def _is_there(path: Path) -> bool:
    """A link to nowhere is not a drop; one to a file that the service may not read is, and gets refused."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _without_file(state: WriterState, site: str, known: KnownSite | None) -> SettingsCheck:
    if known is None:
        fresh, _ = new_site(state.layout, state.policy.base, site, _reserved_names(state, site))
        if fresh is not None:
            state.commit(SiteChange(site, known=fresh))
        elif covers(_reserved_names(state, site), site) and _has_place(state.layout, site):
            wildcard = state.registry.declared_wildcard(site)
            whose = f"a site declares {wildcard}" if wildcard else "the main certificate covers that name"
            state.log_once(
                f"{state.layout.drop_folder(site)} is not a site: {whose}, and others than {owners()} may write "
                f"{state.layout.domains}; add it with `certedge site add {site}`"
            )
    elif state.is_without_file(site):
        return SettingsCheck()
    elif known.settings is not None:
        return SettingsCheck(missing=f"{state.layout.site_yaml(site)} is gone; its last settings still apply")
    elif site != MAIN and not _has_place(state.layout, site) and site not in state.drops:
        return SettingsCheck(missing=f"{state.layout.drop_folder(site)} is gone; the site stays as it was")
    return SettingsCheck()


def _ignored(state: WriterState, site: str, known: KnownSite | None, found: FoundSettings) -> SettingsCheck:
    """On a front, settings come from full nodes only."""
    if not found.is_absent:
        return SettingsCheck(ignored=state.layout.site_yaml(site))
    return _without_file(state, site, known) if known is not None else SettingsCheck()


def _reserved_names(state: WriterState, site: str) -> Collection[str]:
    """What a folder's name alone must not take for the site: names of the main certificate, and a wildcard of another
    site's that matches it."""
    main, wildcard = state.registry.get(MAIN), state.registry.declared_wildcard(site)
    names = main.served.dns_names if main is not None and main.served is not None else ()
    return names if wildcard is None else (*names, wildcard)


def _is_less(known: KnownSite | None, settings: SiteSettings | None) -> bool:
    """Whether names are missing: a file that is cut off in the middle can be valid YAML, so it has to settle first."""
    return known is not None and settings is not None and not set(known.declared_names) <= set(settings.names)


def _apply(
    state: WriterState, site: str, known: KnownSite | None, found: FoundSettings, counted: CountedSettings
) -> None:
    settings, layout = counted.settings, state.layout
    if found.settings is None:
        _refuse(state, site, known, found.problem or "")
        return
    if known is None and takes_from_others(layout, site, found, _reserved_names(state, site)):
        settings = None
    if settings is None:
        state.commit(SiteChange(site, problems={**_SOLVED, SiteProblem.NOT_ADOPTED: counted.problem}))
        return
    if (problem := path_into_store(layout, state.policy.base, settings)) is not None:
        _refuse(state, site, known, f"{layout.site_yaml(site)}: {problem}")
        return
    fresh = replace(known, host=settings.host, settings=settings) if known else KnownSite(site, settings.host, settings)
    problems = {**_SOLVED, SiteProblem.NOT_ADOPTED: counted.problem}
    if counted.problem is not None and fresh == known:
        state.commit(SiteChange(site, problems=problems))  # and no stamp: it is read again, as its folder may change
        return
    record = None
    if known is not None and known.settings != settings:
        message = f"site.yaml applied: {', '.join(settings.names)}"
        record = Record(state.clock(), SETTINGS, Outcome.DONE, "changed", message)
    stamp = found.stamp if counted.problem is None else None
    state.commit(SiteChange(site, record, problems, fresh, stamp))


def _refuse(state: WriterState, site: str, known: KnownSite | None, problem: str) -> None:
    """Recorded once per fault and not with every check."""
    standing = {each.code: each.message for each in state.records(site).problems}
    if standing.get(SiteProblem.SETTINGS_INVALID) == problem:
        return
    kept = "the site stays as it was" if known else "the site does not exist until this is corrected"
    record = Record(state.clock(), SETTINGS, Outcome.REFUSED, SiteProblem.SETTINGS_INVALID, f"{problem}; {kept}")
    state.commit(SiteChange(site, record, {SiteProblem.SETTINGS_INVALID: problem}))
