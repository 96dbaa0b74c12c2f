"""Waits until a zone's own servers show records, so that a CA that asks any of them finds what it looks for.

Every address that answers must show them. One that never answers, while others do, is left out: it may be reachable for
the CA or not, but waiting for it does not help. Without any answer the resolver's word has to do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.zones import ASK_SECONDS, Place, Zones, ZoneServer, texts_of
from certstore.model.renewal.preflight_facts import Lookup
from certstore.model.text import listed

_FIRST_PAUSE, _LONGEST_PAUSE, _PAUSE_GROWTH = 0.5, 10.0, 1.6
_ROUNDS_FOR_SILENT = 3
"""So often a silent server is asked before it is left out."""


@dataclass(slots=True)
class _Seen:
    """What the servers of one place have said so far."""

    place: Place
    values: Collection[str]
    shows: set[ZoneServer] = field(default_factory=set)
    lacks: set[ZoneServer] = field(default_factory=set)
    rounds: int = 0

    @property
    def silent(self) -> list[ZoneServer]:
        return [each for each in self.place.servers if each not in self.shows and each not in self.lacks]

    @property
    def is_done(self) -> bool:
        return bool(self.shows) and not self.lacks and (not self.silent or self.rounds >= _ROUNDS_FOR_SILENT)


def wait_until_visible(zones: Zones, place: Place, values: Collection[str], bounds: Bounds) -> str | None:
    """Until all servers show all values. What is wrong when the time is over, None once they do. Raises Interrupted."""
    seen, pause = _Seen(place, values), _FIRST_PAUSE
    while True:
        _ask_all(zones, seen, bounds)
        if seen.is_done:
            return None
        is_silence = not seen.shows and not seen.lacks
        if is_silence and _is_resolved(zones, place, values, bounds):
            return None
        if bounds.budget.is_over:
            return _missing(seen)
        bounds.pause(pause)
        pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE)


def _ask_all(zones: Zones, seen: _Seen, bounds: Bounds) -> None:
    """A server that shows everything is not asked again."""
    name = seen.place.name
    waiting = [each for each in seen.place.servers if each not in seen.shows]
    answers = bounds.run_all(lambda each: zones.ask(each, name, "TXT", ASK_SECONDS), waiting, ASK_SECONDS * 2)
    for server, answer in zip(waiting, answers, strict=True):
        if answer is not None:
            seen.lacks.discard(server)
            (seen.shows if texts_of(answer, name) >= set(seen.values) else seen.lacks).add(server)
    seen.rounds += 1


def _is_resolved(zones: Zones, place: Place, values: Collection[str], bounds: Bounds) -> bool:
    """For a server whose firewall lets no DNS out but to its resolver."""
    try:
        lookup, texts = bounds.run(lambda seconds: zones.resolver.texts(place.name, seconds=seconds), ASK_SECONDS * 2)
    except TimeoutError:
        return False
    return lookup is Lookup.FOUND and texts >= set(values)


def _missing(seen: _Seen) -> str:
    name, zone = seen.place.name, seen.place.zone
    if seen.lacks:
        servers = listed([str(each) for each in seen.place.servers if each in seen.lacks])
        return f"the TXT record at {name} did not appear at the zone's own servers in time: {servers}"
    return f"no name server of {zone} answers this server, nor does the resolver know the TXT record at {name}"
