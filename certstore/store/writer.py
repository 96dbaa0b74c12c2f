"""The directory store: `Store` reads it, `StoreWriter` is the only one that changes it.

Reading takes no lock: workers, CLI and console read the same files. Writing holds the store's lock for as long as the
writer lives. Several threads call the writer (the watcher's, those of commands, that of ACME results): every public
method takes one internal lock, so changes are made one after another, but files from outside are read and checked
without it. No method may be called from an event loop, as all of them work on files. `WriterState` holds what the
writer knows.
"""

from __future__ import annotations

import contextlib
import grp
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from certstore.files.atomic import KeyPermissions
from certstore.files.clock import utc_now
from certstore.files.lock import StoreBusy, WriterLock
from certstore.model.certificate.bundle import CertificateBundle, Refused, choose_bundle
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Finding
from certstore.model.drop_decision import SETTLE
from certstore.model.front import Front
from certstore.model.layout import Layout
from certstore.model.record import Outcome, Record
from certstore.model.settings.models import SiteSettings, Source
from certstore.model.site_registry import KnownSite
from certstore.model.snapshot import MAIN, SiteEntry, Snapshot
from certstore.model.unloadable import Unloadable
from certstore.model.version import Version
from certstore.store.activation import (
    Attempt,
    IntakeResult,
    activate,
    archive,
    keep_archived,
    reactivate,
    switch_live,
    tried,
)
from certstore.store.counted_settings import doubt_of_name
from certstore.store.drops.ownership import site_of_place
from certstore.store.drops.processing import (
    DropCheck,
    SettleTimer,
    apply_settings,
    begin_check,
    finish_check,
    read_pending,
)
from certstore.store.errors import InvalidSite, NotWritable, TooBusy, UnknownSite, UnknownVersion
from certstore.store.live_check import keep_verdict, try_live, untried
from certstore.store.opening import empty_temporary, open_state, prepare_folders
from certstore.store.preview import Preview, read_upload
from certstore.store.reader import Store
from certstore.store.replicated import ReplicatedStore
from certstore.store.revocations import read_revocation
from certstore.store.self_signed import make_self_signed
from certstore.store.site_changes import add_site, adopt_site, remove_site, set_site
from certstore.store.site_settings import read_settings
from certstore.store.site_yaml import read_site_file
from certstore.store.turns import Turns
from certstore.store.unlocking import Effort, Unlocker
from certstore.store.versions import (
    VersionUnusable,
    archived_intermediates,
    read_files,
    read_live,
    read_version,
    version_numbers,
)
from certstore.store.writer_state import Policy, SiteChange, SiteProblem, WriterState

__all__ = [
    "DropCheck",
    "IntakeResult",
    "InvalidSite",
    "NotWritable",
    "Preview",
    "Store",
    "StoreBusy",
    "StoreWriter",
    "TooBusy",
    "UnknownSite",
    "UnknownVersion",
]

logger = logging.getLogger(__name__)

type Consent = Callable[[Version], str | None]
"""Takes a version that is whole in the archive; returns why it must not go live, None where it may."""

UPLOADS_AT_ONCE = 2
"""Each uploaded PKCS #12 file needs a process, which may use a core and much memory for seconds. Drops do not wait."""
UPLOADS_OF_CALLER = 4
"""Read or waiting: each one waits on a thread of the console."""
_CHECK_ROUNDS = 5
"""How often one check begins anew because the site has changed while its files were read; then others have a turn."""
_AFTER_ROUNDS = timedelta(seconds=0.5)


_WHILE_UNLOADABLE = timedelta(seconds=60)
"""A live version that can't be loaded is tried again this often: somebody may mend its files."""


class StoreWriter(ReplicatedStore):
    """The one writer. `acquire` makes it; `close` it, or use it as a context manager."""

    def __init__(self, layout: Layout, lock: WriterLock, state: WriterState) -> None:
        super().__init__(layout, state)
        self._writer_lock = lock
        self._settle_timer = SettleTimer()
        self._uploads = Turns(UPLOADS_AT_ONCE)

    @classmethod
    def acquire(
        cls,
        root: Path,
        *,
        keep: int = 10,
        keys_group: str | None = None,
        main_host: str | None = None,
        settle: timedelta = SETTLE,
        base: Path | None = None,
        front: Front | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> StoreWriter:
        """Take the lock, repair what a kill left, and make sure that there is a main certificate. `main_host` is the
        main site's host while there is no main/site.yaml; relative paths in a site.yaml start at `base`, by default the
        folder that the store lies in. A `front` adopts no drops. Raises StoreBusy, OSError, or
        InvalidSite for a group that does not exist.
        """
        layout = Layout(Path(root).absolute())
        policy = Policy(keep, settle, main_host or "localhost", (base or layout.root.parent).absolute(), front)
        permissions = KeyPermissions(None if keys_group is None else _gid_of(keys_group))
        layout.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = WriterLock.take(layout.lock)
        try:
            prepare_folders(layout, permissions)
            empty_temporary(layout)
            state = open_state(layout, permissions, policy, clock)
            writer = cls(layout, lock, state)
            writer._ensure_main()
        except BaseException:
            lock.release()
            raise
        return writer

    def on_record(self, listener: Callable[[str, Record], None]) -> None:
        """Tell `listener` of every attempt from now on, in the thread that makes it: it must neither wait nor raise."""
        self._state.on_record = listener

    def close(self) -> None:
        """Release the lock; nothing has to be written for that."""
        with self._lock:
            self._state.close()
            self._writer_lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Certificates

    def preview(
        self, site: str, files: Iterable[DroppedFile], *, password: bytes | None = None, caller: str | None = None
    ) -> Preview:
        """Read uploaded files and check them for `site`; nothing changes. `install` takes the answer and reads nothing
        again, so that a person can look first:

            preview = writer.preview("mail.example.com", files, password=password)
            match preview.verdict:
                case CertificateBundle(primary=pair, problems=problems): ...   # show what would be installed
                case Refused(findings=findings): ...                           # show why not, and preview.forced
            result = writer.install(preview, source="upload")                  # or force=True, where forced is not None

        The slow part runs without the writer's lock: however long these files take, only the same `caller` (where none
        is given, the same site) waits for them. Raises UnknownSite, TooBusy.
        """
        with self._lock:
            known = self._state.known(site)
        live, now = self.live_version(site), self._state.clock()
        with self._uploads.of(caller or site, UPLOADS_OF_CALLER if caller else None):
            chains = partial(archived_intermediates, self.layout, site)
            preview = read_upload(known, files, password, live=live, now=now, unlock=Unlocker(), archive=chains)
            forced = preview.forced and self._tried(preview.forced)
            forced = forced if isinstance(forced, CertificateBundle) else None
            return replace(preview, verdict=self._tried(preview.verdict), forced=forced)

    @property
    def refused_uploads(self) -> int:
        """Uploads refused since the start because too many of the same caller were being read."""
        return self._uploads.refused

    def install(
        self,
        preview: Preview,
        *,
        source: str,
        force: bool = False,
        doing: str = "intake",
        now: datetime | None = None,
        needs_chain: bool = False,
        consent: Consent | None = None,
    ) -> IntakeResult:
        """Make what was read the site's live version. `source` is where it came from, for the record; `force` overrules
        the refusals that a person may overrule. `needs_chain`: one of them is that no version has the chain either. A
        refusal is a result too, and recorded. `consent` is asked before the version goes live.

        The site may have changed since the preview, and the certificate may have expired: both are checked again.
        Raises UnknownSite, or InvalidSite where site.yaml says that the site uses the main certificate.
        """
        while True:
            with self._lock:
                names = self._installable(preview.site).expected_names
            at = now or self._state.clock()
            chains = partial(archived_intermediates, self.layout, preview.site)
            chosen = choose_bundle(
                preview.contents, now=at, names=names, force=force, archive=chains, needs_chain=needs_chain
            )
            verdict = self._tried(chosen)
            with self._lock:
                known = self._installable(preview.site)
                if known.expected_names != names:
                    continue
                attempt, live = Attempt(known, doing, source, at), read_live(self.layout, preview.site)
                if consent is None:
                    return activate(self._state, attempt, verdict, live)
                written = archive(self._state, attempt, verdict, live)
            return written if isinstance(written, IntakeResult) else self._ask_for(consent, attempt, written)

    def _ask_for(self, consent: Consent, attempt: Attempt, version: Version) -> IntakeResult:
        """Asked without the lock: the answer may take seconds, and other sites go on meanwhile."""
        why_not = consent(version)
        with self._lock:
            attempt = replace(attempt, known=self._installable(attempt.site))
            if why_not is not None:
                return keep_archived(self._state, attempt, version, why_not)
            return switch_live(self._state, attempt, version)

    def install_files(
        self,
        site: str,
        files: Iterable[DroppedFile],
        *,
        source: str,
        password: bytes | None = None,
        force: bool = False,
        doing: str = "intake",
        now: datetime | None = None,
        needs_chain: bool = False,
        consent: Consent | None = None,
    ) -> IntakeResult:
        """`preview` and `install` in one, for uploads without a preview and for answers of a CA."""
        with self._lock:
            self._installable(site)  # before anything is opened
        preview = self.preview(site, files, password=password)
        return self.install(
            preview, source=source, force=force, doing=doing, now=now, needs_chain=needs_chain, consent=consent
        )

    def activate(self, site: str, version: int, *, doing: str = "activate", source: str = "command") -> IntakeResult:
        """Make a version from the archive live. Raises UnknownSite, UnknownVersion."""
        with contextlib.suppress(OSError, VersionUnusable):  # ahead of `reactivate`, as `_tried` is of `activate`
            self._state.trial(read_files(self.layout, site, read_version(self.layout, site, version)))
        with self._lock:
            known = self._state.known(site)
            try:
                chosen = read_version(self.layout, site, version)
            except VersionUnusable as error:
                numbers = version_numbers(self.layout, site)
                found = f"no complete version {version} ({error})" if version in numbers else f"no version {version}"
                kept = ", ".join(map(str, numbers)) or "none"
                raise UnknownVersion(f"{site} has {found}; kept: {kept}") from None
            return reactivate(self._state, Attempt(known, doing, source, self._state.clock()), chosen)

    def rollback(self, site: str, version: int | None = None, *, source: str = "command") -> IntakeResult:
        """Go back to `version`, or to the one that was live before. Raises UnknownSite, UnknownVersion."""
        with self._lock:
            self._state.known(site)
            chosen = version if version is not None else self._predecessor(site)
            if (revoked := read_revocation(self.layout, site, chosen)) is not None:
                on = f"{revoked.at:%Y-%m-%d} ({revoked.reason})"
                raise UnknownVersion(f"version {chosen} of {site} was revoked on {on}: choose another one")
        return self.activate(site, chosen, doing="rollback", source=source)

    # Sites

    def add_site(self, site: str, settings: SiteSettings) -> SiteEntry:
        """A drop that is already there is handled by the next check. Raises InvalidSite, NotWritable, OSError."""
        with self._lock:
            return add_site(self._state, site, settings)

    def set_site(self, site: str, changes: Mapping[str, Any]) -> SiteEntry:
        """`changes` holds keys of site.yaml, with None for a key to remove.

        Raises UnknownSite, InvalidSite, NotWritable, OSError.
        """
        with self._lock:
            return set_site(self._state, site, changes)

    def adopt_site(self, site: str) -> SiteEntry:
        """Apply its site.yaml in full, though others may write that file. Raises InvalidSite, OSError."""
        found = read_site_file(self.layout.site_yaml(site), self.layout.root)
        with self._lock:
            return adopt_site(self._state, site, found)

    def remove_site(self, site: str) -> None:
        """Raises UnknownSite, InvalidSite, OSError."""
        with self._lock:
            remove_site(self._state, site)

    def settings(self, site: str) -> SiteSettings | None:
        """The settings of its site.yaml, None for a bare site. Raises UnknownSite."""
        with self._lock:
            return self._state.known(site).settings

    def doubt_of_name(self, site: str) -> str | None:
        """Why the site's name may be one that others than an administrator chose, in words; None where it is not."""
        with self._lock:
            is_given = self._state.is_given(site)
        return None if is_given else doubt_of_name(self.layout, site)

    # Drops

    def check(self, site: str, effort: Effort = Effort.FULL) -> DropCheck:
        """Apply what has been dropped for the site, and what has changed in its site.yaml.

        Where files with passwords take more than `effort`, nothing is applied, and the answer says what they need.
        """
        for _ in range(_CHECK_ROUNDS):
            with self._lock:
                before = begin_check(self._state, site)
            if isinstance(before, DropCheck):
                return before
            found = read_settings(before)
            with self._lock:
                pending = apply_settings(self._state, self._settle_timer, before, found)
            if isinstance(pending, DropCheck):
                return pending
            if pending is None:
                continue
            read = read_pending(
                pending, self._state.clock(), effort, partial(archived_intermediates, self.layout, site)
            )
            if read.verdict is not None:
                read = replace(read, verdict=self._tried(read.verdict))
            with self._lock:
                check = finish_check(self._state, self._settle_timer, pending, read)
            if check is not None:
                is_lost = self._check_live(site) is not None
                # What this release makes of the drop may be served.
                is_next = check.needs is None and site not in self._state.judged
                again_in = check.again_in or (timedelta() if is_next else _WHILE_UNLOADABLE)
                return replace(check, again_in=again_in, is_settled=False) if is_lost else check
        return DropCheck(site, again_in=_AFTER_ROUNDS)

    def unsettled(self) -> list[str]:
        """The sites that need a check however their drop places look: what they serve was not tried as it is now, or a
        problem stands that was found since the start.
        """
        found = []
        for site in self.sites():
            with self._lock:  # for each one anew: nobody waits for 50,000 sites
                if self._state.has_problems(site) or untried(self._state, site) is not None:
                    found.append(site)
        return found

    def site_of_place(self, name: str, *, is_folder: bool) -> str | None:
        """The site that an entry of domains/ belongs to, perhaps a new one; None for an entry that can't be a site."""
        with self._lock:
            return site_of_place(self._state, name, is_folder=is_folder)

    # The reader's questions, answered from memory

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot.build(self._state.journal.entries.values())

    def sites(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(sorted(self._state.registry, key=lambda site: (site != MAIN, site)))

    def site(self, site: str) -> SiteEntry:
        with self._lock:
            return self._state.registry.entry(self._state.known(site).site)

    def records(self, site: str) -> tuple[Record, ...]:
        with self._lock:
            return self._state.records(site).attempts

    def problems(self, site: str) -> tuple[Finding, ...]:
        with self._lock:
            return self._state.records(site).problems

    def add_record(self, site: str, record: Record) -> None:
        """Record an attempt that was made elsewhere (an order, a renewal, a warning)."""
        with self._lock:
            self._state.commit(SiteChange(site, record))

    def set_problem(self, site: str, problem: SiteProblem, message: str | None) -> None:
        """Let a problem that was found elsewhere stand, or solve it with None. Raises UnknownSite."""
        with self._lock:
            self._state.known(site)
            self._state.commit(SiteChange(site, problems={problem: message}))

    # Inside

    def _check_live(self, site: str) -> Unloadable | None:
        """Try the live version unless that was done before."""
        with self._lock:
            version = untried(self._state, site)
        if version is None:
            return None
        try:
            found = try_live(self.layout, self._state.trial, version)
        except OSError as error:
            logger.warning("%s: the live version could not be tried: %s", site, error.strerror)
            return None
        with self._lock:
            keep_verdict(self._state, version, found)
        return found

    def _tried(self, verdict: CertificateBundle | Refused) -> CertificateBundle | Refused:
        """Ahead of `activate`, which asks again and gets the same answer: here nobody waits for it."""
        with contextlib.suppress(OSError):
            return tried(self._state, verdict)
        return verdict

    def _installable(self, site: str) -> KnownSite:
        known = self._state.known(site)
        if known.settings is not None and known.settings.certificate is Source.MAIN and site != MAIN:
            raise InvalidSite(
                f"{site} is set to `certificate: main`, so another certificate would not be served; first run "
                f"`certedge site set {site} --certificate file`"
            )
        return known

    def _ensure_main(self) -> None:
        """Listeners can't open without a main certificate: take the drop that is there, else make a self-signed one."""
        lost = None
        if self._state.registry[MAIN].served is not None:
            lost = self._check_live(MAIN)
            if lost is None or lost.served is not None:
                return
            self._state.drops.drop(MAIN)  # what this release makes of the drop may be served
        self.check(MAIN)
        known = self._state.registry[MAIN]
        if known.served is not None and (lost is None or known.served.version != lost.version):
            return
        now = self._state.clock()
        refused = [each for each in self._state.records(MAIN).problems if each.code == SiteProblem.DROP_REFUSED]
        files = make_self_signed(known.host, now)
        result = self.install_files(MAIN, files, source="self-signed", doing="self_signed", now=now)
        if result.outcome is not Outcome.DONE:
            raise OSError(result.message)
        if lost is not None:
            message = f"{lost.message}, so a self-signed certificate was made; install a real one"
            self._state.commit(SiteChange(MAIN, problems={SiteProblem.LIVE_UNUSABLE: message}))
        for each in refused:  # an activation clears this, but here it is the reason for the self-signed one
            self._state.commit(SiteChange(MAIN, problems={SiteProblem.DROP_REFUSED: each.message}))
        logger.warning(
            "THE MAIN CERTIFICATE IS SELF-SIGNED: it was made for %s because there was no other, and clients do not "
            "trust it. Drop a real one into %s, or order one",
            known.host, self.layout.drop_folder(MAIN),
        )  # fmt: skip


def _gid_of(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidSite(f"keys_group: this machine has no group {group!r}") from None
