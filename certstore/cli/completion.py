"""What the shell offers for a word that is being typed: sites, host names, words that are allowed.

Whoever presses the tab key wants no message: where nothing can be read, nothing is offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from certstore.cli.context import Edge, chosen_config, given_config, open_edge
from certstore.cli.failure import CommandFailed

if TYPE_CHECKING:
    from certstore.model.snapshot import Snapshot

Completer = Callable[[str], list[str]]


def site_keys(context: typer.Context, incomplete: str) -> list[str]:
    edge = _edge(context)
    if edge is None:
        return []
    snapshot = _snapshot(edge)
    # The store's inside is for its owner; its drop places may be read by everybody.
    return _starting(incomplete, snapshot.sites if snapshot is not None else _folders(edge))


def host_names(context: typer.Context, incomplete: str) -> list[str]:
    """All names that sites declare, without wildcards: those that a client may ask for."""
    edge = _edge(context)
    snapshot = _snapshot(edge) if edge is not None else None
    if snapshot is None:
        return []
    names = {name for entry in snapshot.sites.values() for name in (entry.host, *entry.names)}
    return _starting(incomplete, {name for name in names if not name.startswith("*")})


def words(allowed: Callable[[], Iterable[str]]) -> Completer:
    """A completer for what is allowed, in the order given; asked only when a shell asks."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in allowed() if word.startswith(incomplete)]

    return complete


def _edge(context: typer.Context) -> Edge | None:
    try:
        return open_edge(chosen_config(given_config(context)))
    except CommandFailed:
        return None


def _snapshot(edge: Edge) -> Snapshot | None:
    from certstore.store.journal import JournalUnreadable
    from certstore.store.reader import Store

    try:
        return Store(edge.layout).snapshot()
    except JournalUnreadable:
        return None


def _folders(edge: Edge) -> set[str]:
    from certstore.store.site_settings import is_usable_key

    try:
        entries = [path.name for path in edge.layout.domains.iterdir() if path.is_dir()]
    except OSError:
        return set()
    return {"main", *filter(is_usable_key, entries)}


def _starting(incomplete: str, found: Iterable[str]) -> list[str]:
    return sorted(each for each in found if each.startswith(incomplete))


SiteKey = Annotated[
    str,
    typer.Argument(
        metavar="SITE", show_default=False, autocompletion=site_keys, help="The site's key: main, or its folder."
    ),
]
