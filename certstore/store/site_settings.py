"""Takes a changed site.yaml into the books, and finds new sites: a folder or a file that nobody has seen before.

A site.yaml that can't be used leaves the site as it was, with a record. One that has vanished does too: only the verb
`site remove` takes a site's names away. Knows nothing of certificates.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from certstore.model.layout import Layout
from certstore.model.names import is_host_name, is_site_key
from certstore.model.record import Outcome, Record
from certstore.model.settings.models import SiteSettings
from certstore.model.site_registry import KnownSite
from certstore.model.snapshot import MAIN
from certstore.store.site_yaml import FoundSettings, read_site_file, stamp_of
from certstore.store.writer_state import SiteChange, SiteProblem, WriterState

SETTINGS = "settings"

UnchangedFor = Callable[[str, float], timedelta]
"""How long something with this content, changed at this time, has been as it is."""


@dataclass(frozen=True, slots=True)
class SettingsCheck:
    """`again_in`: the file may be half written. `missing`: what to say when it is gone."""

    again_in: timedelta | None = None
    missing: str | None = None


def check_settings(state: WriterState, site: str, unchanged_for: UnchangedFor) -> SettingsCheck:
    """Take over what is new; afterwards the site is in the roster, or there is no such site."""
    path, known = state.layout.site_yaml(site), state.registry.get(site)
    kept = state.declared.get(site)
    stamp = stamp_of(path)
    if known is not None and stamp is not None and kept is not None and kept["stamp"] == list(stamp):
        state.commit(SiteChange(site, problems={SiteProblem.SETTINGS_INVALID: None}))
        return SettingsCheck()
    found = read_site_file(path)
    if found.is_absent:
        return _without_file(state, site, known)
    if found.settings is None or _is_less(known, found.settings):
        remaining = state.policy.settle - unchanged_for(repr(found.stamp), found.changed_at)
        if remaining > timedelta():
            return SettingsCheck(again_in=remaining)
    _take_over(state, site, known, found)
    return SettingsCheck()


def new_site(layout: Layout, site: str) -> tuple[KnownSite | None, FoundSettings]:
    """What a key that is not known yet stands for: None when its files make no site (yet)."""
    found = read_site_file(layout.site_yaml(site))
    if found.settings is not None:
        return KnownSite(site, found.settings.host, found.settings), found
    is_bare = found.is_absent and _has_place(layout, site) and may_be_bare(site)
    return (KnownSite(site, site) if is_bare else None), found


def may_be_bare(site: str) -> bool:
    """Without a site.yaml the key itself is the host."""
    return is_host_name(site) and "." in site


def is_usable_key(site: str) -> bool:
    return is_site_key(site) and site != MAIN


def is_declaration(kept: Any) -> bool:
    """Whether a value has the form of a line of `state/declarations.jsonl`; of settings only that there may be some."""
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
    """A link to nowhere is no drop; one to a file that the service may not look at is, and is to be refused aloud."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _without_file(state: WriterState, site: str, known: KnownSite | None) -> SettingsCheck:
    if known is None:
        fresh, _ = new_site(state.layout, site)
        if fresh is not None:
            state.commit(SiteChange(site, known=fresh))
    elif known.settings is not None:
        return SettingsCheck(missing=f"{state.layout.site_yaml(site)} is gone; its last settings hold")
    elif site != MAIN and not _has_place(state.layout, site) and site not in state.drops:
        return SettingsCheck(missing=f"{state.layout.drop_folder(site)} is gone; the site stays as it was")
    return SettingsCheck()


def _is_less(known: KnownSite | None, settings: SiteSettings) -> bool:
    """A file cut off in the middle can be valid YAML with fewer names: it waits until it is sure."""
    return known is not None and not set(known.declared_names) <= set(settings.names)


def _take_over(state: WriterState, site: str, known: KnownSite | None, found: FoundSettings) -> None:
    if found.settings is None:
        _refuse(state, site, known, found.problem or "")
        return
    fresh = replace(known, host=found.settings.host, settings=found.settings) if known else None
    fresh = fresh or KnownSite(site, found.settings.host, found.settings)
    record = None
    if known is not None and known.settings != found.settings:
        message = f"site.yaml taken over: {', '.join(found.settings.names)}"
        record = Record(state.clock(), SETTINGS, Outcome.DONE, "changed", message)
    state.commit(SiteChange(site, record, {SiteProblem.SETTINGS_INVALID: None}, fresh, found.stamp))


def _refuse(state: WriterState, site: str, known: KnownSite | None, problem: str) -> None:
    """On record once per fault, not once per look."""
    standing = {each.code: each.message for each in state.records(site).problems}
    if standing.get(SiteProblem.SETTINGS_INVALID) == problem:
        return
    kept = "the site is kept as it was" if known else "there is no such site until it is mended"
    record = Record(state.clock(), SETTINGS, Outcome.REFUSED, SiteProblem.SETTINGS_INVALID, f"{problem}; {kept}")
    state.commit(SiteChange(site, record, {SiteProblem.SETTINGS_INVALID: problem}))
