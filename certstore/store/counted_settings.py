"""What counts of a site's files: all where only root and the service's user may write them, else the tenant's keys.

Names, upstreams and inspection are an administrator's: who writes a drop folder must not take names of other sites, nor
reach servers and keys of the operator's. Knows no state.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from certstore.files.writers import foreign_folder_writer, owners
from certstore.model.layout import Layout
from certstore.model.names import covers, is_host_name
from certstore.model.settings.models import SiteSettings
from certstore.model.settings.tenant import TENANT_KEYS, tenant_settings
from certstore.model.site_registry import KnownSite
from certstore.model.snapshot import MAIN
from certstore.model.text import shown
from certstore.store.site_yaml import FoundSettings, read_site_file


def may_be_bare(site: str) -> bool:
    """Whether the key can be a site without a site.yaml: then it is the host itself."""
    return is_host_name(site) and "." in site


@dataclass(frozen=True, slots=True)
class CountedSettings:
    """What counts of a site.yaml, None where it makes no site; `problem` says what does not count, and why."""

    settings: SiteSettings | None
    problem: str | None = None


def count_settings(layout: Layout, site: str, known: KnownSite | None, found: FoundSettings) -> CountedSettings:
    """What an administrator has set before stays where somebody else may write the file."""
    declared = found.settings
    if declared is None or found.foreign is None:
        return CountedSettings(declared)
    if known is None and not may_be_bare(site):
        return CountedSettings(None, _not_adopted(layout, site, found.foreign, tuple(declared.model_fields_set)))
    if known is not None and known.is_unnamed_main:
        return CountedSettings(None, _not_adopted(layout, site, found.foreign, tuple(declared.model_fields_set)))
    administered = known.settings if known else None
    administered = administered or SiteSettings(host=known.host if known else site)
    try:
        settings, ignored = tenant_settings(declared, administered)
    except ValueError:  # such as `certificate: acme` beside an adopted wildcard of a public suffix
        settings, ignored = administered, tuple(sorted(declared.model_fields_set))
    return CountedSettings(settings, _not_adopted(layout, site, found.foreign, ignored) if ignored else None)


def _not_adopted(layout: Layout, site: str, foreign: str, ignored: tuple[str, ...]) -> str:
    tenants = ", ".join(sorted(TENANT_KEYS))
    return (
        f"{layout.site_yaml(site)} does not count in full, because {foreign}: of a file that somebody else than "
        f"{owners()} may write, only {tenants} are applied. Not applied: {', '.join(ignored)}. If they are right, "
        f"adopt them with `certedge site adopt {site}`"
    )


def path_into_store(layout: Layout, base: Path, settings: SiteSettings) -> str | None:
    """Whether an upstream's client certificate or socket lies in the store: its keys and its control socket are not for
    others. In words, None where it does not. Relative paths start at `base`.
    """
    root = os.path.realpath(layout.root)
    for upstream in settings.upstream or ():
        for key, path in (
            ("client_cert", upstream.client_cert),
            ("url", upstream.url.removeprefix("unix:") if upstream.url.startswith("unix:") else None),
        ):
            if path is not None and Path(os.path.realpath(base / path)).is_relative_to(root):
                return f"upstream: {key}: {shown(str(path))} lies in the store; copy it to a place outside of it"
    return None


def takes_from_others(layout: Layout, site: str, found: FoundSettings, reserved: Collection[str]) -> bool:
    """Whether the folder's name alone would take a name of others, and others may have given it. `reserved` are the
    names of the main certificate and the wildcards that sites declare."""
    is_by_name = found.is_absent or found.foreign is not None
    return is_by_name and covers(reserved, site) and foreign_folder_writer(layout.domains) is not None


def doubt_of_name(layout: Layout, site: str) -> str | None:
    """What lets others than an administrator have made a site of this name, in words; None when nothing does."""
    why = foreign_folder_writer(layout.domains) if site != MAIN else None
    if why is None:
        return None
    found = read_site_file(layout.site_yaml(site), layout.root)
    return why if found.settings is None or found.foreign is not None else None
