"""From checked bytes to what is served: the one way in for drops, uploads and answers of a CA, and the way back.

The order is fixed: a trial by the TLS library that serves, a complete version in the archive, `live` by one rename,
then the commit of the site's change.
Where a step fails for lack of space or rights, the steps before it are undone, nothing that is served changes, and the
failure is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from certstore.model.certificate.bundle import CertificateBundle, Refused
from certstore.model.certificate.findings import Finding
from certstore.model.drop_decision import LastDrop
from certstore.model.record import Outcome, Record
from certstore.model.site_registry import KnownSite
from certstore.model.text import listed
from certstore.model.version import Version
from certstore.store.live_check import remember_tried
from certstore.store.trial import refused
from certstore.store.versions import (
    digest_of,
    files_of,
    is_intact,
    live_number,
    make_live,
    prune,
    read_files,
    remove_live,
    version_numbers,
    write_version,
)
from certstore.store.writer_state import Problems, SiteChange, SiteProblem, WriterState

CAME_LATE = "came_late"
"""The reason on record where a version was not let go live."""

_SOLVED_BY_ANOTHER = (
    *(SiteProblem.DROP_REFUSED, SiteProblem.LIVE_UNUSABLE),
    *(SiteProblem.LIVE_UNLOADABLE, SiteProblem.LIVE_REVOKED),
)


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """The result of installing files or of making a version live. `message` is for people."""

    site: str
    outcome: Outcome
    version: int | None
    fingerprint: str | None
    findings: tuple[Finding, ...]
    message: str
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to change what a site serves, as far as it is known before its outcome.

    `known` is the site as it is, `doing` and `source` are for the record. `problems` are set or solved by any outcome;
    `drop` is the drop that the attempt decides, None for an upload, an order or a rollback.
    """

    known: KnownSite
    doing: str
    source: str
    at: datetime
    problems: Problems = field(default_factory=dict)
    drop: LastDrop | None = None

    @property
    def site(self) -> str:
        return self.known.site

    def record(self, outcome: Outcome, reason: str, message: str, version: int | None = None) -> Record:
        return Record(self.at, self.doing, outcome, reason, message, version, source=self.source)


def activate(
    state: WriterState, attempt: Attempt, verdict: CertificateBundle | Refused, live: Version | None
) -> IntakeResult:
    """Make what was read the live version, where it was accepted and is not `live` already."""
    written = archive(state, attempt, verdict, live)
    return written if isinstance(written, IntakeResult) else switch_live(state, attempt, written)


def archive(
    state: WriterState, attempt: Attempt, verdict: CertificateBundle | Refused, live: Version | None
) -> IntakeResult | Version:
    """The first half of `activate`: a whole version in the archive, or the result where there is nothing to serve."""
    try:
        verdict = tried(state, verdict)
    except OSError as error:
        return _fail(state, attempt, f"{error.strerror or error}; it is tried again soon")
    if isinstance(verdict, Refused):
        reason, message = verdict.findings[0].code, verdict.message
        return _conclude(state, attempt, Outcome.REFUSED, reason, message, findings=verdict.findings)
    if live is not None and live.digest == digest_of(files_of(verdict)) and is_intact(state.layout, live):
        message = f"this certificate is already live as version {live.number}"
        return _conclude(state, attempt, Outcome.NOTED, "already_live", message, version=live)
    try:
        return write_version(
            state.layout, state.permissions, attempt.site, verdict,
            source=attempt.source, now=attempt.at, sync_pool=state.sync_pool,
        )  # fmt: skip
    except OSError as error:
        return _fail(state, attempt, _while_writing(state, error))


def keep_archived(state: WriterState, attempt: Attempt, version: Version, why: str) -> IntakeResult:
    """The version stays in the archive: `why` it must not go live."""
    message = f"archived as version {version.number}, and not live: {why}"
    return _conclude(state, attempt, Outcome.REFUSED, CAME_LATE, message, version=version)


def reactivate(state: WriterState, attempt: Attempt, version: Version) -> IntakeResult:
    """Make a version from the archive live again, if it can be served: the TLS library may be another one by now."""
    try:
        reason = state.trial(read_files(state.layout, attempt.site, version))
    except OSError as error:
        return _fail(state, attempt, f"version {version.number}: {error.strerror or error}")
    if reason is not None:
        found = refused(f"version {version.number}", reason)
        return _conclude(
            state, attempt, Outcome.REFUSED, found.findings[0].code, found.message, findings=found.findings
        )
    return switch_live(state, attempt, version)


def tried(state: WriterState, verdict: CertificateBundle | Refused) -> CertificateBundle | Refused:
    """Refuse what the TLS library that serves can't serve. `activate` asks this of everything; to ask before, without
    the writer's lock, spares others the time of the trial, as its answer is remembered. Raises OSError.
    """
    if isinstance(verdict, Refused) or (reason := state.trial(files_of(verdict))) is None:
        return verdict
    return refused(f"the certificate of {listed(verdict.primary.dns_names)}", reason)


def switch_live(state: WriterState, attempt: Attempt, version: Version) -> IntakeResult:
    """Make an archived version the one that is served."""
    site, before = attempt.site, live_number(state.layout, attempt.site)
    record = attempt.record(Outcome.DONE, "activated", _sentence(version), version.number)
    solved: Problems = dict.fromkeys(_SOLVED_BY_ANOTHER)
    known = attempt.known.with_served(version.served)
    try:
        make_live(state.layout, site, version.number)
        state.commit(_change(attempt, record, solved, known))
    except OSError as error:
        return _fail(state, attempt, _while_writing(state, error), _undo(state, site, before))
    remember_tried(state, site, version.number)
    prune_archive(state, site, version.number, attempt.at)
    return _result(attempt, record, version, version.problems)


def _conclude(
    state: WriterState,
    attempt: Attempt,
    outcome: Outcome,
    reason: str,
    message: str,
    version: Version | None = None,
    findings: Sequence[Finding] = (),
) -> IntakeResult:
    """An outcome after which the same is served as before."""
    record = attempt.record(outcome, reason, message)
    refused: Problems = {}
    if attempt.drop is not None:
        refused = {SiteProblem.DROP_REFUSED: message if outcome is Outcome.REFUSED else None}
    try:
        state.commit(_change(attempt, record, refused, attempt.known))
    except OSError as error:
        return _fail(state, attempt, _while_writing(state, error))
    return _result(attempt, record, version, findings)


def _change(attempt: Attempt, record: Record, problems: Problems, known: KnownSite) -> SiteChange:
    decided: Problems = {} if attempt.drop is None else {SiteProblem.NOT_ACTIVATED: None}
    return SiteChange(attempt.site, record, {**attempt.problems, **decided, **problems}, known, drop=attempt.drop)


def _while_writing(state: WriterState, error: OSError) -> str:
    return (
        f"{error.strerror} while writing to the store {state.layout.root}; "
        "free some space, or restore the service's right to write there"
    )


def _fail(state: WriterState, attempt: Attempt, why: str, problems: Problems | None = None) -> IntakeResult:
    """The drop was not to blame: it does not count as decided."""
    record = attempt.record(Outcome.FAILED, "disk", f"nothing was changed: {why}")
    state.commit(SiteChange(attempt.site, record, {**attempt.problems, **(problems or {})}))
    return _result(attempt, record, None, ())


def _undo(state: WriterState, site: str, before: int | None) -> Problems:
    """Make `live` what it was before. Where even that fails, the next start compares the journal with `live`."""
    try:
        if before is None:
            remove_live(state.layout, site)
        elif live_number(state.layout, site) != before:
            make_live(state.layout, site, before)
    except OSError as error:
        message = f"the previous version could not be made live again ({error.strerror}); the next start repairs this"
        return {SiteProblem.LIVE_UNUSABLE: message}
    return {}


def prune_archive(state: WriterState, site: str, live: int, now: datetime) -> None:
    """Remove old versions; where that fails, the activation still counts as done."""
    numbers = version_numbers(state.layout, site)
    if len(numbers) <= state.policy.keep:
        return
    older = [number for number in numbers if number < live]
    predecessor = state.records(site).predecessor_of(live)
    protected = {live, *older[-1:]} | ({predecessor} if predecessor is not None else set())
    try:
        prune(state.layout, site, protected=protected, keep=state.policy.keep, now=now)
    except OSError as error:
        message = f"old versions could not be removed: {error.strerror}"
        state.commit(SiteChange(site, Record(now, "prune", Outcome.FAILED, "disk", message)))


def _result(attempt: Attempt, record: Record, version: Version | None, findings: Sequence[Finding]) -> IntakeResult:
    number, fingerprint = (version.number, version.fingerprint) if version else (None, None)
    return IntakeResult(
        attempt.site, record.outcome, number, fingerprint, tuple(findings), record.message, record.reason
    )


def _sentence(version: Version) -> str:
    sentence = (
        f"version {version.number} is live: {listed(version.dns_names)}, valid until {version.not_after:%Y-%m-%d}"
    )
    remarks = "; ".join(problem.message for problem in version.problems)
    return f"{sentence}; {remarks}" if remarks else sentence
