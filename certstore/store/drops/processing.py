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
from certstore.model.drop_decision import DropFacts, HeldBack, Judged, LastDrop, Missing, Wait, decide_drop, is_news
from certstore.model.record import Outcome, Record
from certstore.model.settings.models import Source
from certstore.model.site_registry import KnownSite
from certstore.store.activation import INTAKE, IntakeResult, activate_verdict, live_version
from certstore.store.drops.reading import Drop, DropPlaces, read_drop
from certstore.store.pkcs12_process import open_apart
from certstore.store.site_settings import check_settings
from certstore.store.writer_state import SiteProblem, WriterState

_PATIENCE = timedelta(seconds=30)
_AFTER_FAILURE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class DropCheck:
    """`result` is there when something was judged; `again_in` when the site should be looked at again by itself."""

    site: str
    result: IntakeResult | None = None
    again_in: timedelta | None = None


@dataclass(slots=True)
class SettleTimer:
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


def check_site(state: WriterState, settle_timer: SettleTimer, site: str) -> DropCheck:
    """Look at settings and drop of `site`, a key that may be new; nothing happens when there is nothing new."""
    if site in state.tombstones:
        return DropCheck(site)
    settings = check_settings(state, site, lambda text, at: settle_timer.unchanged_for(f"{site}/yaml", text, at))
    known = state.registry.get(site)
    if known is None:
        folder = state.layout.drop_folder(site)
        if os.path.isdir(folder) and not os.path.lexists(state.layout.site_yaml(site)):  # noqa: PTH112  never raises
            state.say_once(f"{folder} is no site yet: it has no site.yaml, and its name is no host name with a dot")
        return DropCheck(site, None, settings.again_in)
    check, missing = _check_drop(state, settle_timer, known)
    sources = [message for message in (settings.missing, missing) if message]
    state.set_problem(site, SiteProblem.SOURCE_MISSING, "; ".join(sources) or None)
    waits = [each for each in (settings.again_in, check.again_in) if each is not None]
    return replace(check, again_in=min(waits, default=None))


def places_of(state: WriterState, known: KnownSite) -> DropPlaces:
    """A file beside the folders is the drop of the site whose key it bears, else of the one whose host it is."""
    layout, files = state.layout, [state.layout.drop_file(known.site)]
    if known.host not in state.registry and state.registry.site_of_host(known.host) == known.site:
        files.append(layout.drop_file(known.host))
    return DropPlaces(layout.drop_folder(known.site), tuple(files))


def _check_drop(state: WriterState, settle_timer: SettleTimer, known: KnownSite) -> tuple[DropCheck, str | None]:
    """The look, and what to say when the drop is gone."""
    site, places = known.site, places_of(state, known)
    drop = read_drop(places)
    if not drop.is_absent:
        known = replace(known, has_drop=True)
    last = state.last_drop(site)
    facts = DropFacts(drop.digest, drop.is_absent, drop.is_steady, _unchanged_for(settle_timer, site, drop, last))
    verdict = _verdict(state, known, drop) if is_news(facts, last, known.source) else None
    live = live_version(state, site) if verdict is not None else None
    decision = decide_drop(facts, verdict, last=last, source=known.source, live=live, settle=state.policy.settle)
    if isinstance(decision, Wait):
        if settle_timer.is_exhausted(site):
            message = "the drop keeps changing or stays incomplete; what was complete last is served"
            state.set_problem(site, SiteProblem.UNSETTLED, message)
        return DropCheck(site, None, decision.remaining), None
    settle_timer.end(site)
    state.set_problem(site, SiteProblem.UNSETTLED, None)
    if isinstance(decision, Missing):
        return DropCheck(
            site
        ), f"what was dropped in {places.folder} or beside it is gone; its certificate is served on"
    if isinstance(decision, HeldBack):
        _hold_back(state, known, drop, decision.source)
    if isinstance(decision, Judged):
        return _apply(state, known, places, drop, decision.verdict), None
    return DropCheck(site), None


def _unchanged_for(settle_timer: SettleTimer, site: str, drop: Drop, last: LastDrop | None) -> timedelta:
    """What is not there has no time of its own, so absence counts from when it was noticed."""
    if drop.is_absent:
        return settle_timer.unchanged_for(site, drop.digest, time.time()) if last is not None else timedelta()
    return settle_timer.unchanged_for(site, drop.digest, drop.changed_at)


def _verdict(state: WriterState, known: KnownSite, drop: Drop) -> CertificateBundle | Refused:
    if drop.findings:
        return Refused(drop.findings)
    return read_bundle(drop.files, now=state.clock(), names=known.expected_names, open_pkcs12=open_apart)


def _apply(
    state: WriterState, known: KnownSite, places: DropPlaces, drop: Drop, verdict: CertificateBundle | Refused
) -> DropCheck:
    site = known.site
    result = activate_verdict(state, known, verdict, source=_source(places, drop), doing=INTAKE, now=state.clock())
    if result.outcome is Outcome.FAILED:
        # The drop was not to blame: it is judged again, when there may be space.
        return DropCheck(site, result, _AFTER_FAILURE)
    _count(state, known, LastDrop(drop.digest, is_held=False))
    refused = result.message if result.outcome is Outcome.REFUSED else None
    state.set_problem(site, SiteProblem.DROP_REFUSED, refused)
    state.set_problem(site, SiteProblem.NOT_ACTIVATED, None)
    return DropCheck(site, result)


def _hold_back(state: WriterState, known: KnownSite, drop: Drop, source: Source) -> None:
    message = (
        f"a drop lies there and is not activated, because site.yaml says `certificate: {source.value}`; "
        "set it to `file` to use the drop"
    )
    _count(state, known, LastDrop(drop.digest, is_held=True))
    record = Record(state.clock(), INTAKE, Outcome.NOTED, SiteProblem.NOT_ACTIVATED, message)
    state.record(known.site, record)
    state.set_problem(known.site, SiteProblem.NOT_ACTIVATED, message)


def _count(state: WriterState, known: KnownSite, last: LastDrop) -> None:
    """The drop counts once: from now on only another digest is judged."""
    try:
        if state.registry[known.site].has_drop != known.has_drop:
            state.learn(replace(state.registry[known.site], has_drop=known.has_drop))
        state.drops.put(known.site, last.to_json())
    except OSError as error:
        message = f"that this drop was judged could not be written down ({error.strerror}): it will be judged again"
        state.record(known.site, Record(state.clock(), INTAKE, Outcome.FAILED, "disk", message))


def _source(places: DropPlaces, drop: Drop) -> str:
    """The folder, or the one file where that is all there is."""
    beside = [path for path in places.files if any(file.name == path.name for file in drop.files)]
    return str(beside[0]) if len(drop.files) == len(beside) == 1 else str(places.folder)
