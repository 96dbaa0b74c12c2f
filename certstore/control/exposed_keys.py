"""Certificates whose private key a stolen node knew: each is replaced, and the old ones are revoked.

What counts is when a version was made, so nothing has to be kept for each site, and a kill forgets nothing. Every node
says which of its sites are exposed; the one that renews has their certificates ordered, which `model.renewal.decision`
wants at once, and revokes the old ones where the account can. What came as a file stays a problem until it is replaced.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from certstore.control.fault import describe
from certstore.control.protocol import RequestFailed
from certstore.files.clock import Clock, utc_now
from certstore.model.duty import Duty
from certstore.model.settings.models import Source
from certstore.model.snapshot import SiteEntry
from certstore.model.version import Version
from certstore.renewal.sites import ACME_SOURCE
from certstore.store.revocations import read_revocation
from certstore.store.writer import StoreWriter, UnknownSite
from certstore.store.writer_state import SiteProblem

logger = logging.getLogger(__name__)

ROUND_SECONDS = 2.0
_REVOKED_AGAIN = timedelta(hours=1)


class ExposedKeys:
    """Call `start` and `stop` once each; without `start`, `round` does one step. `order_soon` has a site looked at by
    renewal; `revoke` revokes a version of a site for a compromised key, and raises RequestFailed.
    """

    def __init__(
        self,
        writer: StoreWriter,
        duty: Duty,
        order_soon: Callable[[str], None],
        revoke: Callable[[str, int], None],
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._writer = writer
        self._duty = duty
        self._order_soon = order_soon
        self._revoke = revoke
        self._clock = clock
        self._changed: set[str] = set()
        self._for: datetime | None = None
        """The instant for which every site was looked at."""
        self._again_at: dict[str, datetime] = {}
        self._had_duty = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exposed-keys", daemon=True)
        writer.subscribe(self._changed.add)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """A revocation that is under way ends first."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(ROUND_SECONDS):
            try:
                self.round()
            except Exception as error:  # noqa: BLE001  the next round tries again
                logger.error("exposed keys could not be looked for: %s", describe(error))

    def round(self) -> None:
        """Look at every site that has changed since the last round, and at all after a theft, or with a new duty."""
        exposed = self._writer.exposed_before
        if exposed is None:
            self._changed.clear()
            return
        has_duty, now = self._duty.is_mine(), self._clock()
        if exposed != self._for or (has_duty and not self._had_duty):
            self._changed.update(self._writer.sites())
        self._for, self._had_duty = exposed, has_duty
        self._changed.update(site for site, at in self._again_at.items() if now >= at)
        while self._changed and not self._stopping.is_set():
            site = self._changed.pop()
            self._again_at.pop(site, None)
            with suppress(UnknownSite):
                entry = self._writer.site(site)
                if entry.certificate is not None and entry.certificate.site == site:
                    self._look(entry, exposed, has_duty=has_duty)

    def _look(self, entry: SiteEntry, exposed: datetime, *, has_duty: bool) -> None:
        """And once more later, where a CA did not answer."""
        live = self._writer.live_version(entry.site)
        is_exposed = live is not None and live.made_at < exposed and not live.is_self_signed
        stands = any(each.code == SiteProblem.KEY_EXPOSED for each in self._writer.problems(entry.site))
        if is_exposed or stands:
            message = _words(entry.source) if is_exposed else None
            self._writer.set_problem(entry.site, SiteProblem.KEY_EXPOSED, message)
        if is_exposed and entry.source is Source.ACME:
            self._order_soon(entry.site)
        elif has_duty and live is not None:
            self._revoke_old(entry.site, live, exposed)

    def _revoke_old(self, site: str, live: Version, exposed: datetime) -> None:
        now = self._clock()
        for version in self._writer.versions(site):
            is_ours = version.source.startswith(ACME_SOURCE) and version.number != live.number
            if not is_ours or version.made_at >= exposed or version.not_after <= now:
                continue
            if read_revocation(self._writer.layout, site, version.number) is None:
                try:
                    self._revoke(site, version.number)
                except RequestFailed as failure:
                    self._again_at[site] = now + _REVOKED_AGAIN
                    logger.warning("%s: version %d was not revoked: %s", site, version.number, failure)


def _words(source: Source) -> str:
    what = "somebody who has the files of a node that was taken out knows the private key of its certificate"
    if source is Source.ACME:
        return f"{what}: another one, with a new key, is ordered"
    return f"{what}: install one with a new key, and have the old one revoked where it was issued"
