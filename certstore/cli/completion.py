"""Completions that the shell offers: sites, host names and the allowed words of an option.

The tab key never shows an error: if something can't be read, nothing is offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from certstore.cli.context import Edge, argument, chosen_config, given_config, open_edge, typed_site, typed_sites
from certstore.cli.failure import CommandFailed
from certstore.cli.lazy import cluster_standing, site_settings
from certstore.files.clock import utc_now

Completer = Callable[[str], list[str]]


def site_keys(context: typer.Context, incomplete: str) -> list[str]:
    edge = _edge(context)
    if edge is None:
        return []
    snapshot = edge.snapshot()
    # Only the owner can read the inside of the store; everybody can list its drop places.
    return _starting(incomplete, snapshot.sites if snapshot is not None else _folders(edge))


def host_names(context: typer.Context, incomplete: str) -> list[str]:
    """All names that sites declare and a client can ask for, so no wildcards."""
    edge = _edge(context)
    snapshot = edge.snapshot() if edge is not None else None
    if snapshot is None:
        return []
    names = {name for entry in snapshot.sites.values() for name in (entry.host, *entry.names)}
    return _starting(incomplete, {name for name in names if not name.startswith("*")})


def node_names(context: typer.Context, incomplete: str) -> list[str]:
    """The members of the cluster, as the running service knows them."""
    edge = _edge(context)
    standing = cluster_standing.read_standing(edge.layout, utc_now()) if edge is not None else None
    return _starting(incomplete, [node.name for node in standing.nodes]) if standing is not None else []


def words(allowed: Callable[[], Iterable[str]]) -> Completer:
    """A completer for the allowed words, in the order given. `allowed` is called only to complete."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in allowed() if word.startswith(incomplete)]

    return complete


def _edge(context: typer.Context) -> Edge | None:
    try:
        return open_edge(chosen_config(given_config(context)))
    except CommandFailed:
        return None


def _folders(edge: Edge) -> set[str]:
    try:
        entries = [path.name for path in edge.layout.domains.iterdir() if path.is_dir()]
    except OSError:
        return set()
    return {"main", *filter(site_settings.is_usable_key, entries)}


def _starting(incomplete: str, found: Iterable[str]) -> list[str]:
    return sorted(each for each in found if each.startswith(incomplete))


OF_SITES: dict[str, Any] = {"autocompletion": site_keys, "callback": typed_sites}
"""For an option or argument that takes several sites."""
SiteKey = Annotated[
    str,
    argument("SITE", "The site's key: main, or the name of its folder.", autocompletion=site_keys, callback=typed_site),
]
