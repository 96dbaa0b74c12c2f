"""Puts TXT records where they have to be, takes them out again, and tries whether that works.

Which way writes into a zone is the administrator's setting. A CNAME of a stranger's may lead anywhere, so one is
followed into another zone only where `acme.dns.zones` names that zone.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from certstore.acme.dns.bounds import Bounds, never
from certstore.acme.dns.hook import HookWriter
from certstore.acme.dns.lexicon import LexiconWriter
from certstore.acme.dns.record_journal import FORGET_AFTER, Placed, RecordJournal
from certstore.acme.dns.rfc2136 import Rfc2136Writer
from certstore.acme.dns.visibility import wait_until_visible
from certstore.acme.dns.zone_writer import CannotWrite, ZoneWriter
from certstore.acme.dns.zones import NotLocated, Place, Zones
from certstore.acme.order_context import Interrupted
from certstore.files.clock import Clock, utc_now
from certstore.model.progress import Tell, tell_nobody
from certstore.model.settings.dns import DnsSettings, DnsWay, ExecSettings, LexiconSettings, Rfc2136Settings

logger = logging.getLogger(__name__)

LOCATE_SECONDS = 30.0
WRITE_SECONDS = 60.0
"""For one place; a way may have a time of its own within it, or a longer one."""
REMOVE_SECONDS = 90.0
LONGEST_SECONDS = 1200.0
"""For everything that one order publishes."""
_TRIAL_SECONDS = 8.0
_LEFTOVERS_AT_ONCE = 10
_UNSEEN_REMEDY = (
    "Check that what acme.dns names really writes into this zone, and that all of its servers take changes over; or "
    "set a longer acme.dns.propagation_seconds."
)
TRIAL_MARK = "certedge-preflight-"


@dataclass(frozen=True, slots=True)
class Wanted:
    """`value` is to be in a TXT record at `asked`."""

    asked: str
    value: str


@dataclass(frozen=True, slots=True)
class Trial:
    """How writing and removing a harmless record went. `unseen` says where it did not appear, which a slow zone does
    not make wrong."""

    place: Place | None = None
    fault: CannotWrite | NotLocated | None = None
    unseen: str | None = None


class DnsRecords:
    """For one store. May be used from several threads. `wait` takes seconds and returns True when the process is to
    stop. Methods raise OSError where the journal can't be written."""

    def __init__(
        self,
        settings: DnsSettings,
        base: Path,
        zones: Zones,
        journal: RecordJournal,
        wait: Callable[[float], bool] = never,
        clock: Clock = utc_now,
    ) -> None:
        self._settings = settings
        self._base = base
        self._zones = zones
        self._journal = journal
        self._wait = wait
        self._clock = clock
        self._locks: dict[str, threading.Lock] = {}
        self._locks_lock = threading.Lock()

    def put(
        self, wanted: Sequence[Wanted], wait: Callable[[float], bool], tell: Tell = tell_nobody
    ) -> dict[str, CannotWrite | NotLocated]:
        """Add all records and wait until the zones' servers show them. Returns what went wrong, by value.

        Raises Interrupted.
        """
        by_name: dict[str, list[str]] = {}
        for each in wanted:
            by_name.setdefault(each.asked, []).append(each.value)
        seconds = min(self._settings.propagation_seconds + 2 * WRITE_SECONDS * len(by_name), LONGEST_SECONDS)
        bounds = Bounds(seconds, wait)
        faults: dict[str, CannotWrite | NotLocated] = {}
        placed: list[tuple[Place, list[str]]] = []
        for asked, values in by_name.items():
            try:
                place, key, way = self._find(asked, bounds)
                tell(f"{place.name}: adding a TXT record by {key}")
                self._add(place, key, way, values, bounds)
                placed.append((place, values))
            except (CannotWrite, NotLocated) as fault:
                faults |= dict.fromkeys(values, fault)
        visible = bounds.within(self._settings.propagation_seconds)
        for place, values in placed:
            tell(f"{place.name}: waiting until the servers of {place.zone} show it")
            if (missing := wait_until_visible(self._zones, place, values, visible)) is not None:
                faults |= dict.fromkeys(values, CannotWrite(missing, remedy=_UNSEEN_REMEDY))
        return faults

    def remove(self, values: Collection[str]) -> None:
        """Take out those of these values that are in a zone. One that can't be removed now is tried again later."""
        placed = [each for each in map(self._journal.find, values) if each is not None]
        if placed and self._remove(placed):
            self._remove(self._journal.leftovers()[:_LEFTOVERS_AT_ONCE])

    def mark_leftovers(self, needed: Collection[str]) -> int:
        """As `RecordJournal.mark_leftovers`."""
        return self._journal.mark_leftovers(needed)

    def remove_leftovers(self) -> None:
        """What was marked, and what could not be removed before."""
        self._remove(self._journal.leftovers())

    def try_out(self, asked: str, bounds: Bounds, *, may_write: bool = True) -> Trial:
        """Raises Interrupted. Without `may_write`, only whether there is a way to write at all."""
        value, place = f"{TRIAL_MARK}{secrets.token_hex(12)}", None
        try:
            place, key, way = self._find(asked, bounds)
            if not may_write:
                return Trial(place)
            try:
                self._add(place, key, way, [value], bounds)
                unseen = wait_until_visible(self._zones, place, [value], bounds.within(_TRIAL_SECONDS))
            finally:
                if (placed := self._journal.find(value)) is not None:
                    self._remove([placed], _TRIAL_SECONDS)
        except (CannotWrite, NotLocated) as fault:
            return Trial(place, fault)
        return Trial(place, unseen=unseen)

    def locate(self, asked: str, bounds: Bounds) -> Place:
        """Raises NotLocated, Interrupted."""
        return self._zones.locate(asked, bounds.within(LOCATE_SECONDS))

    def _find(self, asked: str, bounds: Bounds) -> tuple[Place, str, DnsWay]:
        place = self.locate(asked, bounds)
        if place.is_elsewhere and self._settings.named_zone(place.name) is None:
            raise CannotWrite(
                f"{asked} is a CNAME to {place.name} in the zone {place.zone}, which acme.dns.zones does not name",
                remedy=f"If {place.zone} is a zone of yours for this purpose, name it in acme.dns.zones.",
                needs_person=True,
            )
        found = self._settings.way_for(place.name)
        if found is None:
            raise CannotWrite(
                f"acme.dns has no way to write into the zone {place.zone}",
                remedy=f"Name {place.zone} in acme.dns.zones, or make {asked} a CNAME into a zone that is named there.",
                needs_person=True,
            )
        return (place, *found)

    def _add(self, place: Place, key: str, way: DnsWay, values: Sequence[str], bounds: Bounds) -> None:
        """The journal first: a kill in between leaves nothing unknown behind."""
        for value in values:
            self._journal.put(Placed(value, place.asked, place.name, place.zone, self._clock()))
        try:
            with self._turn(key, way, bounds):
                self._writer(way).add(place, values, bounds.within(_seconds(way)))
        except CannotWrite as fault:
            if fault.needs_person:  # refused; after anything else it may be there
                for value in values:
                    self._journal.drop(value)
            raise

    def _remove(self, placed: Sequence[Placed], seconds: float = REMOVE_SECONDS) -> bool:
        """Whether all are out now."""
        bounds, are_out = Bounds(seconds, self._wait), True
        by_place: dict[tuple[str, str, str], list[Placed]] = {}
        for each in placed:
            by_place.setdefault((each.asked, each.name, each.zone), []).append(each)
        for (asked, name, zone), group in by_place.items():
            try:
                self._take_out(Place(asked, name, zone, zone, ()), [each.value for each in group], bounds)
            except CannotWrite as fault:
                self._keep_for_later(group, fault)
                are_out = False
            except Interrupted:
                return False  # the next start finds them in the journal
            else:
                for each in group:
                    self._journal.drop(each.value)
        return are_out

    def _take_out(self, place: Place, values: Sequence[str], bounds: Bounds) -> None:
        found = self._settings.way_for(place.name)
        if found is None:
            raise CannotWrite(f"acme.dns has no way to write into the zone {place.zone}", needs_person=True)
        key, way = found
        with self._turn(key, way, bounds):
            self._writer(way).remove(place, values, bounds.within(_seconds(way)))

    def _keep_for_later(self, placed: Sequence[Placed], fault: CannotWrite) -> None:
        for each in placed:
            if self._clock() - each.at > FORGET_AFTER:
                logger.warning(
                    "the TXT record %s with the value %s could not be removed for days; remove it yourself: %s",
                    each.name,
                    each.value,
                    fault,
                )
                self._journal.drop(each.value)
                continue
            if not each.is_leftover:
                logger.warning(
                    "the TXT record at %s could not be removed and is tried again later: %s", each.name, fault
                )
                self._journal.put(replace(each, is_leftover=True))

    def _writer(self, way: DnsWay) -> ZoneWriter:
        match way:
            case Rfc2136Settings():
                return Rfc2136Writer(way, self._base)
            case LexiconSettings():
                return LexiconWriter(way, self._base)
            case ExecSettings():
                return HookWriter(way, self._base)

    @contextmanager
    def _turn(self, key: str, way: DnsWay, bounds: Bounds) -> Iterator[None]:
        """Programs and hosted DNS take one change at a time: many read a zone, change it and write it back."""
        if isinstance(way, Rfc2136Settings):
            yield
            return
        with self._locks_lock:
            lock = self._locks.setdefault(key, threading.Lock())
        while not lock.acquire(timeout=0.1):
            bounds.check()
            if bounds.budget.is_over:
                raise CannotWrite(f"{key} is busy with other records")
        try:
            yield
        finally:
            lock.release()


def _seconds(way: DnsWay) -> float:
    return WRITE_SECONDS if isinstance(way, Rfc2136Settings) else way.seconds
