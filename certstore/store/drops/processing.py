"""One check of one site: has its site.yaml changed, has its drop, and what follows.

Reading and judging are slow (files on other machines, keys with passwords): `read_settings` and `read_pending` need no
lock. `begin_check`, `apply_settings` and `finish_check` around them run under the writer's. When to check is decided
elsewhere (`watch`). Whether to check again soon, because something may be half written, is part of the answer.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from certstore.model.certificate.bundle import Archive, CertificateBundle, Refused, no_archive, read_bundle
from certstore.model.certificate.contents import Unlocked
from certstore.model.drop_decision import (
    Decided,
    DropDecision,
    DropFacts,
    HeldBack,
    LastDrop,
    Missing,
    Wait,
    decide_drop,
    is_news,
)
from certstore.model.front import Front, has_other_drop, ignored_on_front
from certstore.model.record import Outcome, Record
from certstore.model.site_registry import KnownSite
from certstore.model.snapshot import MAIN
from certstore.model.version import Version
from certstore.store.activation import Attempt, IntakeResult, activate
from certstore.store.drops.reading import Drop, DropPlaces, read_drop
from certstore.store.site_settings import SettingsBefore, SettingsCheck, check_settings, settings_before
from certstore.store.site_yaml import FoundSettings
from certstore.store.unlocking import Effort, NeedsEffort, Unlocker
from certstore.store.versions import read_live
from certstore.store.writer_state import INTAKE, SiteChange, SiteProblem, WriterState

_UNSETTLED_AFTER = timedelta(seconds=30)
_AFTER_FAILURE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class DropCheck:
    """`result` is there when the drop was decided, `again_in` when the site needs another check without a change, and
    `needs` when the drop was not read, because that takes more effort than was granted. `is_settled` says that nothing
    is left to do, not even at the next start, as long as the drop places look the same.
    """

    site: str
    result: IntakeResult | None = None
    again_in: timedelta | None = None
    needs: Effort | None = None
    is_settled: bool = False


@dataclass(slots=True)
class SettleTimer:
    """How long each unfinished drop or site.yaml has been as it is: for clocks that disagree with the file system's,
    and to report a drop that never settles.
    """

    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def unchanged_for(self, what: str, content: str, changed_at: float) -> timedelta:
        """By the file's own time if that is in the past, else since this content was first seen."""
        seen, first = self._seen.get(what, ("", 0.0))
        now = time.monotonic()
        if seen != content:
            self._seen[what] = (content, now)
            first = now
        by_file = time.time() - changed_at
        return timedelta(seconds=max(by_file, now - first))

    def is_exhausted(self, what: str) -> bool:
        return time.monotonic() - self._since.setdefault(what, time.monotonic()) > _UNSETTLED_AFTER.total_seconds()

    def end(self, what: str) -> None:
        self._seen.pop(what, None)
        self._since.pop(what, None)


@dataclass(frozen=True, slots=True)
class PendingCheck:
    """A site whose drop is to be read, as it was at that moment: what is decided holds only while it is the same.

    `is_second_look`: the drop counts as news although it was decided before, until this start has judged it too. On a
    `front`, no drop is adopted.
    """

    known: KnownSite
    last: LastDrop | None
    places: DropPlaces
    settings: SettingsCheck
    is_second_look: bool
    front: Front | None = None


@dataclass(frozen=True, slots=True)
class ReadDrop:
    """A drop, and what reading it came to; `verdict` is None where the drop is no news. `known` is the site with it.

    `fault` is why a refused drop was not read to its end, where the machine was to blame; `needs` is the effort that it
    takes, where less was granted.
    """

    drop: Drop
    known: KnownSite
    verdict: CertificateBundle | Refused | None
    fault: OSError | None = None
    needs: Effort | None = None


def begin_check(state: WriterState, site: str) -> SettingsBefore | DropCheck:
    """`site` is a key that may be new; of one that was removed, nothing is read."""
    return DropCheck(site) if site in state.tombstones else settings_before(state, site)


def apply_settings(
    state: WriterState, settle_timer: SettleTimer, before: SettingsBefore, found: FoundSettings | None
) -> PendingCheck | DropCheck | None:
    """Apply what `read_settings` found. Where there is no such site, that is all; None when it has changed meanwhile:
    then check it anew.
    """
    site = before.site
    settings = check_settings(
        state, before, found, lambda text, at: settle_timer.unchanged_for(f"{site}/yaml", text, at)
    )
    if settings is None:
        return None
    known = state.registry.get(site)
    front = state.policy.front
    if known is None and front is not None:
        state.commit(SiteChange(site, problems=_ignored_new_site(state, front, site)))
        return DropCheck(site, None, settings.again_in)
    if known is None:
        folder = state.layout.drop_folder(site)
        if os.path.isdir(folder) and not os.path.lexists(state.layout.site_yaml(site)):  # noqa: PTH112  never raises
            state.log_once(
                f"{folder} is not a site yet: it has no site.yaml, and its name is not a host name with a dot; run "
                f"`certedge site add {site} --host NAME`, or rename it to its host name"
            )
        return DropCheck(site, None, settings.again_in)
    is_second_look = front is None and state.is_to_judge_again(known)
    return PendingCheck(known, state.last_drop(site), _places(state, known), settings, is_second_look, front)


def read_pending(pending: PendingCheck, now: datetime, effort: Effort, archive: Archive = no_archive) -> ReadDrop:
    """Read the drop and, where it is news, check what is in it. Never raises for what is in it."""
    drop, known = read_drop(pending.places), pending.known
    if not drop.is_absent:
        known = replace(known, has_drop=True)
    last = None if pending.is_second_look else pending.last
    if pending.front is not None or drop.is_absent or not is_news(drop.digest, last, known.source):
        return ReadDrop(drop, known, None)
    unlock, faults = Unlocker(effort), list[OSError]()

    def noting_faults(content: bytes, password: bytes | None) -> Unlocked:
        try:
            return unlock(content, password)
        except OSError as error:
            faults.append(error)
            raise

    try:
        verdict = read_bundle(
            drop.files, now=now, names=known.expected_names, unlock=noting_faults, unread=drop.findings, archive=archive
        )
    except NeedsEffort as error:
        return ReadDrop(drop, known, None, needs=error.effort)
    return ReadDrop(drop, known, verdict, faults[0] if faults and isinstance(verdict, Refused) else None)


def finish_check(
    state: WriterState, settle_timer: SettleTimer, pending: PendingCheck, read: ReadDrop
) -> DropCheck | None:
    """Decide what becomes of the drop and do it. None when the site has changed meanwhile: then check it anew."""
    site, drop, known = pending.known.site, read.drop, read.known
    if state.registry.get(site) != pending.known or state.last_drop(site) != pending.last:
        return None
    if read.needs is not None:
        return DropCheck(site, None, pending.settings.again_in, read.needs)
    if state.policy.front != pending.front:
        return None
    if pending.front is not None:
        return _finish_on_front(state, pending, pending.front, drop)
    live = read_live(state.layout, site) if read.verdict is not None else None
    facts = DropFacts(drop.digest, drop.is_absent, drop.is_steady, _unchanged_for(settle_timer, pending, drop))
    decision = decide_drop(
        facts, read.verdict, last=pending.last, source=known.source, live=live, settle=state.policy.settle
    )
    if read.fault is not None and isinstance(decision, Decided):
        # The drop was not to blame, so it must not count as refused: nobody would put it there again.
        state.log_once(f"{site}: a file of the drop can't be opened now: {read.fault.strerror}; trying again")
        decision = Wait(_AFTER_FAILURE)
    problems = _problems(settle_timer, pending, decision)
    waits = [pending.settings.again_in, decision.remaining if isinstance(decision, Wait) else None]
    result = None
    if isinstance(decision, Decided) or (pending.is_second_look and not isinstance(decision, Wait)):
        state.judged[site] = frozenset(known.expected_names)
    if isinstance(decision, Decided) and not _is_known(pending, decision, drop, state.refusal(site), live):
        counted, source = LastDrop(drop.digest, is_held=False), _source(pending.places, drop)
        attempt = Attempt(known, INTAKE, source, state.clock(), problems, counted)
        result = activate(state, attempt, decision.verdict, live)
        if result.outcome is Outcome.FAILED:
            waits.append(_AFTER_FAILURE)  # the drop was not to blame; by then there may be space
    elif isinstance(decision, HeldBack):
        counted, message = LastDrop(drop.digest, is_held=True), problems[SiteProblem.NOT_ACTIVATED] or ""
        record = Record(state.clock(), INTAKE, Outcome.NOTED, SiteProblem.NOT_ACTIVATED, message)
        state.commit(SiteChange(site, record, problems, known, drop=counted))
    else:
        state.commit(SiteChange(site, problems=problems))
    again_in = min((each for each in waits if each is not None), default=None)
    return DropCheck(site, result, again_in, is_settled=again_in is None and _is_settled(state, site, drop))


def _finish_on_front(state: WriterState, pending: PendingCheck, front: Front, drop: Drop) -> DropCheck:
    """Nothing is adopted, and nothing counts as decided: once the node is no front any more, the drop is news."""
    site, ignored = pending.known.site, [pending.settings.ignored] if pending.settings.ignored else []
    if has_other_drop(drop.digest, pending.last, is_absent=drop.is_absent):
        ignored.append(Path(_source(pending.places, drop)))
    problems: dict[SiteProblem, str | None] = {
        SiteProblem.IGNORED_ON_FRONT: ignored_on_front(front, list(map(str, ignored))),
        SiteProblem.SOURCE_MISSING: pending.settings.missing,
        SiteProblem.UNSETTLED: None,
    }
    state.commit(SiteChange(site, problems=problems))
    again_in = pending.settings.again_in
    return DropCheck(site, None, again_in, is_settled=again_in is None and _is_settled(state, site, drop))


def _ignored_new_site(state: WriterState, front: Front, site: str) -> dict[SiteProblem, str | None]:
    """Of a folder or file that would be a new site elsewhere."""
    places = [state.layout.drop_folder(site), state.layout.drop_file(site)]
    return {SiteProblem.IGNORED_ON_FRONT: ignored_on_front(front, [str(each) for each in places if each.exists()])}


def _is_known(pending: PendingCheck, decision: Decided, drop: Drop, refusal: str | None, live: Version | None) -> bool:
    """Whether the second look came to what the first one did, which is on record. Of a drop that was taken, only the
    certificate that is live is news: an upload or a rollback may have followed it.
    """
    verdict = decision.verdict
    if not pending.is_second_look or is_news(drop.digest, pending.last, pending.known.source):
        return False
    if refusal is not None:
        return isinstance(verdict, Refused) and verdict.message == refusal
    return isinstance(verdict, Refused) or live is None or verdict.primary.fingerprint != live.fingerprint


def _problems(
    settle_timer: SettleTimer, pending: PendingCheck, decision: DropDecision
) -> dict[SiteProblem, str | None]:
    """What the decision sets or solves, besides what an activation does."""
    site, missing = pending.known.site, [pending.settings.missing]
    problems: dict[SiteProblem, str | None] = {SiteProblem.IGNORED_ON_FRONT: None}
    if not isinstance(decision, Wait):
        settle_timer.end(site)
        problems[SiteProblem.UNSETTLED] = None
    elif settle_timer.is_exhausted(site):
        message = "the drop keeps changing or stays incomplete; the last complete one is still served"
        problems[SiteProblem.UNSETTLED] = message
    if isinstance(decision, HeldBack):
        problems[SiteProblem.NOT_ACTIVATED] = (
            f"there is a drop, but it is not activated, because site.yaml says `certificate: {decision.source.value}`; "
            "set that to `file` to use the drop"
        )
    elif isinstance(decision, Missing):
        folder = pending.places.folder
        missing.append(
            f"the files that were dropped in {folder} or beside it are gone; their certificate is still served; "
            f"put them back{'' if site == MAIN else f', or end the site with `certedge site remove {site}`'}"
        )
    problems[SiteProblem.SOURCE_MISSING] = "; ".join(filter(None, missing)) or None
    return problems


def _is_settled(state: WriterState, site: str, drop: Drop) -> bool:
    """A site with a problem is checked at every start: what caused it may have gone without a trace in the places."""
    last = state.last_drop(site)
    is_decided = drop.is_absent or (last is not None and last.digest == drop.digest)
    return is_decided and not state.has_problems(site)


def _places(state: WriterState, known: KnownSite) -> DropPlaces:
    """A file beside the folders is the drop of the site with that key, else of the site with that host."""
    layout, files = state.layout, [state.layout.drop_file(known.site)]
    if known.host not in state.registry and state.registry.site_of_host(known.host) == known.site:
        files.append(layout.drop_file(known.host))
    return DropPlaces(layout.drop_folder(known.site), tuple(files))


def _unchanged_for(settle_timer: SettleTimer, pending: PendingCheck, drop: Drop) -> timedelta:
    """Files that are not there have no time, so absence counts from when it was noticed."""
    if not drop.is_absent:
        return settle_timer.unchanged_for(pending.known.site, drop.digest, drop.changed_at)
    if pending.last is None:
        return timedelta()
    return settle_timer.unchanged_for(pending.known.site, drop.digest, time.time())


def _source(places: DropPlaces, drop: Drop) -> str:
    """The folder, or the file beside it where that is all there is."""
    beside = [path for path in places.files if any(file.name == path.name for file in drop.files)]
    return str(beside[0]) if len(drop.files) == len(beside) == 1 else str(places.folder)
