"""From checked bytes to what is served: the one way in for drops, uploads and answers of a CA, and the way back.

The order is fixed: a complete version in the archive, `live` by one rename, the journal, the record. Where a step fails
for lack of space or rights, the steps before it are undone, nothing that is served changes, and that is put on record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certstore.model.certificate.bundle import CertificateBundle, Refused
from certstore.model.certificate.findings import Finding
from certstore.model.record import Outcome, Record
from certstore.model.site_registry import KnownSite
from certstore.model.text import listed
from certstore.model.version import Version
from certstore.store.versions import (
    VersionUnusable,
    digest_of,
    files_of,
    live_number,
    make_live,
    prune,
    read_version,
    remove_live,
    version_numbers,
    write_version,
)
from certstore.store.writer_state import SiteProblem, WriterState

INTAKE = "intake"


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """What became of bytes that came in, or of a version that was to be made live. `message` is for people."""

    site: str
    outcome: Outcome
    version: int | None
    fingerprint: str | None
    findings: tuple[Finding, ...]
    message: str
    reason: str


def live_version(state: WriterState, site: str) -> Version | None:
    """What is live and whole."""
    number = live_number(state.layout, site)
    if number is None:
        return None
    try:
        return read_version(state.layout, site, number)
    except VersionUnusable:
        return None


def activate_verdict(
    state: WriterState,
    known: KnownSite,
    verdict: CertificateBundle | Refused,
    *,
    source: str,
    doing: str = INTAKE,
    now: datetime,
) -> IntakeResult:
    """Make what was read the live version. Any outcome is on record when this returns."""
    site = known.site
    if isinstance(verdict, Refused):
        record = Record(now, doing, Outcome.REFUSED, verdict.findings[0].code, verdict.message, source=source)
        return _recorded(state, site, record, findings=verdict.findings)
    live = live_version(state, site)
    if live is not None and live.digest == digest_of(files_of(verdict)):
        message = f"this certificate is already live as version {live.number}"
        record = Record(now, doing, Outcome.NOTED, "already_live", message, source=source)
        return _recorded(state, site, record, version=live)
    try:
        version = write_version(
            state.layout, state.modes, site, verdict, source=source, now=now, sync_pool=state.sync_pool
        )
    except OSError as error:
        return _failed(state, site, doing, error, source=source, now=now)
    return switch_live(state, known, version, doing=doing, source=source, now=now)


def switch_live(
    state: WriterState, known: KnownSite, version: Version, *, doing: str, source: str, now: datetime
) -> IntakeResult:
    """Make an archived version the one that is served."""
    site, layout = known.site, state.layout
    before = live_number(layout, site)
    try:
        make_live(layout, site, version.number)
        state.learn(known.with_served(version.served))
    except OSError as error:
        _undo(state, site, before)
        return _failed(state, site, doing, error, source=source, now=now)
    for code in (SiteProblem.DROP_REFUSED, SiteProblem.LIVE_UNUSABLE):
        state.set_problem(site, code, None)
    record = Record(now, doing, Outcome.DONE, "activated", _sentence(version), version.number, source=source)
    result = _recorded(state, site, record, version=version, findings=version.problems)
    _prune(state, site, version.number, now)
    return result


def _undo(state: WriterState, site: str, before: int | None) -> None:
    """`live` as it was. On a disk where even that fails, the next start holds the journal against `live`."""
    try:
        if before is None:
            remove_live(state.layout, site)
        elif live_number(state.layout, site) != before:
            make_live(state.layout, site, before)
    except OSError as error:
        message = f"the step back to the version before failed too ({error.strerror}); mended at the next start"
        state.set_problem(site, SiteProblem.LIVE_UNUSABLE, message)


def _prune(state: WriterState, site: str, live: int, now: datetime) -> None:
    """Old versions go; one that can't be removed is no reason to call the activation a failure."""
    older = [number for number in version_numbers(state.layout, site) if number < live]
    predecessor = state.records(site).predecessor_of(live)
    protected = {live, *older[-1:]} | ({predecessor} if predecessor is not None else set())
    try:
        prune(state.layout, site, protected=protected, keep=state.policy.keep, now=now)
    except OSError as error:
        message = f"old versions could not be removed: {error.strerror}"
        state.record(site, Record(now, "prune", Outcome.FAILED, "disk", message))


def _failed(state: WriterState, site: str, doing: str, error: OSError, *, source: str, now: datetime) -> IntakeResult:
    root = state.layout.root
    message = f"nothing was changed: {error.strerror} while writing the store at {root}; free space or mend rights"
    record = Record(now, doing, Outcome.FAILED, "disk", message, source=source)
    return _recorded(state, site, record)


def _recorded(
    state: WriterState, site: str, record: Record, *, version: Version | None = None, findings: Sequence[Finding] = ()
) -> IntakeResult:
    state.record(site, record)
    number, fingerprint = (version.number, version.fingerprint) if version else (None, None)
    return IntakeResult(site, record.outcome, number, fingerprint, tuple(findings), record.message, record.reason)


def _sentence(version: Version) -> str:
    sentence = (
        f"version {version.number} is live: {listed(version.dns_names)}, valid until {version.not_after:%Y-%m-%d}"
    )
    remarks = "; ".join(problem.message for problem in version.problems)
    return f"{sentence}; {remarks}" if remarks else sentence
