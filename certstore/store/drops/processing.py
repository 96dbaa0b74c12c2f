"""One look at one site: has its site.yaml changed, has its drop, and what follows.

Gathers the facts, asks `judgement`, applies the answer. Runs under the writer's lock; when to look is decided elsewhere
(`watch`). Whether to look again soon, because something may be half written, is part of the answer.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

from certstore.model.certificate.bundle import CertificateBundle, Refused, read_bundle
from certstore.model.drop_decision import DropFacts, HeldBack, Judged, LastDrop, Missing, Wait, is_news, judge
from certstore.model.record import Outcome, Record
from certstore.model.settings.models import Source
from certstore.model.site_registry import KnownSite
from certstore.store.activation import INTAKE, IntakeResult, activate_verdict, live_version
from certstore.store.drops.reading import Drop, DropPlaces, read_drop
from certstore.store.pkcs12_process import open_apart
from certstore.store.site_settings import look_at_settings
from certstore.store.writer_state import Books, Standing

_PATIENCE = timedelta(seconds=30)
_AFTER_FAILURE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Look:
    """`result` is there when something was judged; `again_in` when the site should be looked at again by itself."""

    site: str
    result: IntakeResult | None = None
    again_in: timedelta | None = None


@dataclass(slots=True)
class Patience:
    """How long each unfinished thing has been seen as it is: for clocks that disagree with the file system's, and to
    say so when a drop never comes to rest.
    """

    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def unchanged_for(self, what: str, content: str, changed_at: float) -> timedelta:
        """By the file's own time if that is in the past, else since it was first seen with this content."""
        seen, first = self._seen.get(what, ("", 0.0))
        now = time.monotonic()
        if seen != content:
            self._seen[what] = (content, now)
            first = now
        by_file = time.time() - changed_at
        return timedelta(seconds=max(by_file, now - first))

    def is_exhausted(self, what: str) -> bool:
        return time.monotonic() - self._since.setdefault(what, time.monotonic()) > _PATIENCE.total_seconds()

    def end(self, what: str) -> None:
        self._seen.pop(what, None)
        self._since.pop(what, None)


def look_at(books: Books, patience: Patience, site: str) -> Look:
    """Look at settings and drop of `site`, a key that may be new; nothing happens when there is nothing new."""
    if site in books.tombstones:
        return Look(site)
    settings = look_at_settings(books, site, lambda text, at: patience.unchanged_for(f"{site}/yaml", text, at))
    known = books.roster.get(site)
    if known is None:
        folder = books.layout.drop_folder(site)
        if os.path.isdir(folder) and not os.path.lexists(books.layout.site_yaml(site)):  # noqa: PTH112  never raises
            books.say_once(f"{folder} is no site yet: it has no site.yaml, and its name is no host name with a dot")
        return Look(site, None, settings.again_in)
    look, missing = _look_at_drop(books, patience, known)
    sources = [message for message in (settings.missing, missing) if message]
    books.set_problem(site, Standing.SOURCE_MISSING, "; ".join(sources) or None)
    waits = [each for each in (settings.again_in, look.again_in) if each is not None]
    return replace(look, again_in=min(waits, default=None))


def places_of(books: Books, known: KnownSite) -> DropPlaces:
    """A file beside the folders is the drop of the site whose key it bears, else of the one whose host it is."""
    layout, files = books.layout, [books.layout.drop_file(known.site)]
    if known.host not in books.roster and books.roster.site_of_host(known.host) == known.site:
        files.append(layout.drop_file(known.host))
    return DropPlaces(layout.drop_folder(known.site), tuple(files))


def _look_at_drop(books: Books, patience: Patience, known: KnownSite) -> tuple[Look, str | None]:
    """The look, and what to say when the drop is gone."""
    site, places = known.site, places_of(books, known)
    drop = read_drop(places)
    if not drop.is_absent:
        known = replace(known, has_drop=True)
    last = books.last_drop(site)
    facts = DropFacts(drop.digest, drop.is_absent, drop.is_steady, _unchanged_for(patience, site, drop, last))
    verdict = _verdict(books, known, drop) if is_news(facts, last, known.source) else None
    live = live_version(books, site) if verdict is not None else None
    judgement = judge(facts, verdict, last=last, source=known.source, live=live, settle=books.policy.settle)
    if isinstance(judgement, Wait):
        if patience.is_exhausted(site):
            message = "the drop keeps changing or stays incomplete; what was complete last is served"
            books.set_problem(site, Standing.UNSETTLED, message)
        return Look(site, None, judgement.remaining), None
    patience.end(site)
    books.set_problem(site, Standing.UNSETTLED, None)
    if isinstance(judgement, Missing):
        return Look(site), f"what was dropped in {places.folder} or beside it is gone; its certificate is served on"
    if isinstance(judgement, HeldBack):
        _hold_back(books, known, drop, judgement.source)
    if isinstance(judgement, Judged):
        return _apply(books, known, places, drop, judgement.verdict), None
    return Look(site), None


def _unchanged_for(patience: Patience, site: str, drop: Drop, last: LastDrop | None) -> timedelta:
    """What is not there has no time of its own, so absence counts from when it was noticed."""
    if drop.is_absent:
        return patience.unchanged_for(site, drop.digest, time.time()) if last is not None else timedelta()
    return patience.unchanged_for(site, drop.digest, drop.changed_at)


def _verdict(books: Books, known: KnownSite, drop: Drop) -> CertificateBundle | Refused:
    if drop.findings:
        return Refused(drop.findings)
    return read_bundle(drop.files, now=books.clock(), names=known.expected_names, open_pkcs12=open_apart)


def _apply(
    books: Books, known: KnownSite, places: DropPlaces, drop: Drop, verdict: CertificateBundle | Refused
) -> Look:
    site = known.site
    result = activate_verdict(books, known, verdict, source=_source(places, drop), doing=INTAKE, now=books.clock())
    if result.outcome is Outcome.FAILED:
        # The drop was not to blame: it is judged again, when there may be space.
        return Look(site, result, _AFTER_FAILURE)
    _count(books, known, LastDrop(drop.digest, is_held=False))
    refused = result.message if result.outcome is Outcome.REFUSED else None
    books.set_problem(site, Standing.DROP_REFUSED, refused)
    books.set_problem(site, Standing.NOT_ACTIVATED, None)
    return Look(site, result)


def _hold_back(books: Books, known: KnownSite, drop: Drop, source: Source) -> None:
    message = (
        f"a drop lies there and is not activated, because site.yaml says `certificate: {source.value}`; "
        "set it to `file` to use the drop"
    )
    _count(books, known, LastDrop(drop.digest, is_held=True))
    record = Record(books.clock(), INTAKE, Outcome.NOTED, Standing.NOT_ACTIVATED, message)
    books.record(known.site, record)
    books.set_problem(known.site, Standing.NOT_ACTIVATED, message)


def _count(books: Books, known: KnownSite, last: LastDrop) -> None:
    """The drop counts once: from now on only another digest is judged."""
    try:
        if books.roster[known.site].has_drop != known.has_drop:
            books.learn(replace(books.roster[known.site], has_drop=known.has_drop))
        books.drops.put(known.site, last.to_json())
    except OSError as error:
        message = f"that this drop was judged could not be written down ({error.strerror}): it will be judged again"
        books.record(known.site, Record(books.clock(), INTAKE, Outcome.FAILED, "disk", message))


def _source(places: DropPlaces, drop: Drop) -> str:
    """The folder, or the one file where that is all there is."""
    beside = [path for path in places.files if any(file.name == path.name for file in drop.files)]
    return str(beside[0]) if len(drop.files) == len(beside) == 1 else str(places.folder)
