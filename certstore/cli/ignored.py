"""Entries of domains/ that belong to no site and are therefore ignored, each with what to do about it.

The rule is that of `certstore.store.drops.ownership`, which needs the state of a running writer.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from certstore.cli.lazy import counted_settings, names, site_settings
from certstore.cli.output import WARNING, Cell
from certstore.model.layout import DROP_SUFFIX, SITE_YAML, Layout


def ignored_entries(layout: Layout, sites: Collection[str]) -> dict[Path, str]:
    """What to do, by path; `sites` are the keys and hosts of all sites. Raises OSError if domains/ can't be read."""
    if not layout.domains.is_dir():
        return {}
    entries = sorted(path for path in layout.domains.iterdir() if not path.name.startswith("."))
    ignored = {}
    for path in entries:
        if path.is_dir():
            is_known = site_settings.is_usable_key(path.name) and (
                path.name in sites or counted_settings.may_be_bare(path.name) or os.path.lexists(path / SITE_YAML)
            )
        elif path.suffix == DROP_SUFFIX:
            has_folder = site_settings.is_usable_key(path.stem) and layout.drop_folder(path.stem).is_dir()
            is_known = has_folder or path.stem in sites or counted_settings.may_be_bare(path.stem)
        else:
            continue  # notes and the like
        if not is_known:
            ignored[path] = _what_to_do(layout, path)
    return ignored


def ignored_lines(ignored: dict[Path, str]) -> list[Cell]:
    return [Cell(f"{path} is ignored: {what}", WARNING) for path, what in ignored.items()]


def ignored_facts(ignored: dict[Path, str]) -> list[dict[str, str]]:
    """The shape of `ignored` in --json."""
    return [{"path": str(path), "what_to_do": what} for path, what in ignored.items()]


def _what_to_do(layout: Layout, path: Path) -> str:
    is_folder = path.is_dir()
    name, suffix = (path.name, "") if is_folder else (path.stem, DROP_SUFFIX)
    if name == "main":
        place = layout.drop_folder("main") if is_folder else layout.drop_file("main")
        return f"move it to {place}, the main site's place"
    try:
        host = names.DomainName.parse(name).value
    except names.InvalidName:
        host = name
    if is_folder and site_settings.is_usable_key(name):
        return f"it has no {SITE_YAML}: run `certedge site add {name} --host NAME`, or rename it to its host name"
    if host == name or "." not in host:
        or_else = "" if is_folder else ", or to the name of the site's folder"
        return f"rename it to the host name, as in mail.example.com{suffix}{or_else}"
    if (path.parent / f"{host}{suffix}").exists():
        return f"{host}{suffix} exists already; move its contents there"
    return f"rename it to {host}{suffix}"
