"""Adds, changes and removes sites on request: the only code that writes a site.yaml or removes a site.

A removed site leaves a tombstone: neither the files that remain in its drop folder nor a change of them brings the site
back. Only `add_site` does, and then its drop is decided afresh. Runs under the writer's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from certstore.model.record import Outcome, Record
from certstore.model.settings.models import SiteSettings
from certstore.model.site_registry import KnownSite
from certstore.model.snapshot import MAIN, SiteEntry
from certstore.model.text import listed
from certstore.store.counted_settings import path_into_store
from certstore.store.errors import InvalidSite
from certstore.store.site_settings import SETTINGS, is_usable_key
from certstore.store.site_yaml import FoundSettings, stamp_of, write_site_file
from certstore.store.versions import live_number, remove_live
from certstore.store.writer_state import SiteChange, SiteProblem, WriterState

_OF_SETTINGS = (SiteProblem.SETTINGS_INVALID, SiteProblem.NOT_ADOPTED)


def add_site(state: WriterState, site: str, settings: SiteSettings) -> SiteEntry:
    """Raises InvalidSite, NotWritable, or OSError when the store can't be written."""
    if not is_usable_key(site):
        raise InvalidSite(
            f"{site!r} can't be the key of a site: use its host name in lower case, or a word of a-z, 0-9 and -"
        )
    if site in state.registry:
        raise InvalidSite(f"there is already a site {site}; to change it, use `certedge site set {site}`")
    _check_paths(state, site, settings)
    path = state.layout.site_yaml(site)
    write_site_file(path, settings)
    state.tombstones.drop(site)
    state.drops.drop(site)
    record = _record(state, "added", f"site added: {', '.join(settings.names)}")
    known = KnownSite(site, settings.host, settings)
    state.commit(SiteChange(site, record, known=known, stamp=stamp_of(path), is_given=True))
    return state.registry.entry(site)


def set_site(state: WriterState, site: str, changes: Mapping[str, Any]) -> SiteEntry:
    """Change keys of its site.yaml; None removes a key. Raises UnknownSite, InvalidSite, NotWritable, OSError."""
    known = state.known(site)
    current = known.settings.model_dump(mode="json", exclude_defaults=True) if known.settings else {"host": known.host}
    wanted = {key: value for key, value in (current | dict(changes)).items() if value is not None}
    try:
        settings = SiteSettings.model_validate(wanted)
    except ValidationError as error:
        raise InvalidSite(f"{site}: {_sentence(error)}") from None
    _check_paths(state, site, settings)
    path = state.layout.site_yaml(site)
    write_site_file(path, settings)
    record = _record(state, "changed", f"settings changed: {', '.join(sorted(changes))}")
    fresh = replace(known, host=settings.host, settings=settings)
    state.commit(SiteChange(site, record, dict.fromkeys(_OF_SETTINGS), fresh, stamp_of(path)))
    return state.registry.entry(site)


def adopt_site(state: WriterState, site: str, found: FoundSettings) -> SiteEntry:
    """Apply a site.yaml in full, though others may write it: an administrator has looked at it. What they write into it
    later counts only in part again. Raises InvalidSite, OSError.
    """
    path, known = state.layout.site_yaml(site), state.registry.get(site)
    if site in state.tombstones or not (site == MAIN or is_usable_key(site)):
        raise InvalidSite(f"there is no site {site!r}; add it with `certedge site add {site}`")
    if found.settings is None:
        raise InvalidSite(found.problem or f"there is no {path}")
    _check_paths(state, site, found.settings)
    fresh = KnownSite(site, found.settings.host, found.settings)
    if known is not None:
        fresh = replace(known, host=found.settings.host, settings=found.settings)
    record = _record(state, "adopted", f"settings adopted: {_described(found.settings)}")
    state.commit(SiteChange(site, record, dict.fromkeys(_OF_SETTINGS), fresh, found.stamp, is_given=True))
    return state.registry.entry(site)


def remove_site(state: WriterState, site: str) -> None:
    """Main serves its names from now on; its versions, records and files stay where they are. Raises UnknownSite,
    InvalidSite, OSError.
    """
    known = state.known(site)
    if site == MAIN:
        raise InvalidSite("the main site can't be removed: every listener needs it")
    bury(state, known, state.clock())
    record = _record(state, "removed", "site removed; its versions stay in the archive, and main serves its names")
    state.commit(SiteChange(site, record, dict.fromkeys(SiteProblem), is_removed=True))


def bury(state: WriterState, known: KnownSite, at: datetime) -> None:
    """From here on the removal counts: after a kill, the next start finishes it. Raises OSError."""
    version = live_number(state.layout, known.site)
    state.tombstones.put(known.site, {"at": at.isoformat(), "host": known.host, "version": version})
    remove_live(state.layout, known.site)


def _record(state: WriterState, reason: str, message: str) -> Record:
    return Record(state.clock(), SETTINGS, Outcome.DONE, reason, message)


def _check_paths(state: WriterState, site: str, settings: SiteSettings) -> None:
    if (problem := path_into_store(state.layout, state.policy.base, settings)) is not None:
        raise InvalidSite(f"{site}: {problem}")


def _described(settings: SiteSettings) -> str:
    """What an administrator has to know of settings that somebody else wrote."""
    upstreams = [upstream.url for upstream in settings.upstream or ()]
    parts = [f"names {listed(settings.names)}"]
    parts += [f"upstream {listed(upstreams)}"] if upstreams else []
    parts += ["inspect"] if settings.inspect else []
    return "; ".join(parts)


def _sentence(error: ValidationError) -> str:
    """Keys and faults, without the values, which may be anything."""
    faults = [
        f"{'.'.join(map(str, each['loc'])) or 'site'}: {each['msg']}" for each in error.errors(include_input=False)
    ]
    return "; ".join(faults)
