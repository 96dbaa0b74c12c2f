"""TLS contexts, one per served certificate version and purpose, built on first use and kept in a bounded cache.

Each context has its own ticket keys, so a session can only resume with the certificate that it was made with. Knows
where the files of a version lie, and does not decide which version is served.
"""

from __future__ import annotations

import errno
import logging
import ssl
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.model.snapshot import MAIN, ServedCertificate
from certstore.model.unloadable import Unloadable, main_first
from certstore.net.tls_server import MINIMUM_VERSIONS, load_version, server_context, words_of
from certstore.store.versions import live_number, stand_ins
from edge_addon.transport.alpn import MAIL_PROTOCOLS

log = logging.getLogger(__name__)

CAPACITY = 1024
"""Contexts in the cache. One takes 26 KB and 0.4 ms to build: a busy worker keeps those in use and rebuilds others."""

MAXIMUM_AGE_SECONDS = 24 * 3600
"""A context is rebuilt after a day, which renews its ticket keys (RFC 8446 appendix C.4 on reuse)."""


class OutOfFiles(Exception):
    """No descriptor is free to read a certificate: there is nothing wrong with it, and no other may take its place."""


OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})

RETRY_SECONDS = 10.0
"""How soon a version that could not be loaded is tried again: a person may have given back the right to read it."""

STAND_INS = 20
"""How many other versions are tried in place of one; each takes 0.4 ms."""


class NotLoaded(Exception):
    """The files of a version can't be loaded; the message gives the library's or the system's reason."""


def not_loaded(error: OSError) -> NotLoaded | OutOfFiles:
    """What it means that the files of a version could not be read."""
    return OutOfFiles() if error.errno in OUT_OF_FILES else NotLoaded(words_of(error))


@dataclass(frozen=True, slots=True)
class _Built[C]:
    """What a site is served on: `context` holds version `number`, which is another than the wanted `version` where that
    is unloadable. It holds until the instant `until`.
    """

    context: C | None
    version: int
    number: int | None
    until: float
    problem: Unloadable | None = None


class VersionedContexts[C](ABC):
    """Contexts by site, version and purpose (web or mail), or what stands for one; the least recently used ones are
    dropped.

    A site has one context per purpose, the newest. When the version can't be loaded (pruned before this worker read the
    journal, a disk error, a library that does not take it), the site's live version is tried, then the last good
    context stays in use, then the version before it is served: any certificate of the site rather than none.
    """

    def __init__(
        self,
        layout: Layout,
        settings: Settings,
        *,
        capacity: int = CAPACITY,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._capacity = capacity
        self._monotonic = monotonic
        self._built: OrderedDict[tuple[str, bool], _Built[C]] = OrderedDict()
        self._weight = 0

    def get(self, certificate: ServedCertificate, *, is_mail: bool) -> C | None:
        """The context that serves this certificate, or None when no version of its site can be loaded.

        Raises OutOfFiles.
        """
        try:
            return self._of(certificate.site, certificate.version, is_mail)
        except OutOfFiles:
            built = self._built.get((certificate.site, is_mail))
            if built is None:
                raise
            return built.context

    @property
    def unloadable(self) -> list[Unloadable]:
        """The live versions that were wanted and could not be loaded, main's first."""
        return main_first([each.problem for each in self._built.values() if each.problem is not None])

    def _of(self, site: str, version: int, is_mail: bool) -> C | None:
        key = (site, is_mail)
        before = self._built.get(key)
        if before is None or before.version != version or self._monotonic() >= before.until:
            built = self._built[key] = self._fresh(site, version, is_mail, before)
            self._weight += self._weigh(built.context) - (0 if before is None else self._weigh(before.context))
            if built.problem is not None and (before is None or before.problem != built.problem):
                log.error("%s", built.problem.message)
        else:
            built = before
        self._built.move_to_end(key)
        while self._weight > self._capacity and len(self._built) > 1:
            self._weight -= self._weigh(self._built.popitem(last=False)[1].context)
        return built.context

    def _weigh(self, _context: C | None) -> int:
        """How much of the capacity this takes."""
        return 1

    def _fresh(self, site: str, version: int, is_mail: bool, before: _Built[C] | None) -> _Built[C]:
        now = self._monotonic()
        live = live_number(self._layout, site)
        reason = ""
        for number in dict.fromkeys((version, version if live is None else live)):
            try:
                context = self._build(self._layout.version(site, number), is_mail)
            except NotLoaded as error:
                reason = reason or str(error)
            else:
                return _Built(context, version, number, now + MAXIMUM_AGE_SECONDS)
        if before is not None and before.context is not None:
            stand_in: tuple[C | None, int | None] = before.context, before.number
        else:
            stand_in = self._stand_in(site, version, is_mail)
        problem = Unloadable(site, version, reason, stand_in[1])
        return _Built(stand_in[0], version, stand_in[1], now + RETRY_SECONDS, problem)

    def _stand_in(self, site: str, version: int, is_mail: bool) -> tuple[C | None, int | None]:
        """Another version of the site that can be loaded, with its number."""
        try:
            others = stand_ins(self._layout, site, version)[:STAND_INS]
        except OSError as error:
            if isinstance(not_loaded(error), OutOfFiles):
                raise OutOfFiles from error
            return None, None
        for number in others:
            try:
                return self._build(self._layout.version(site, number), is_mail), number
            except NotLoaded:
                continue
        return None, None

    @abstractmethod
    def _build(self, folder: Path, is_mail: bool) -> C:
        """A context with the certificates in this folder. Raises NotLoaded."""


def protocols_of(settings: Settings, *, is_mail: bool) -> list[str]:
    """What these listeners choose from, the preferred one first."""
    if is_mail:
        return [*MAIL_PROTOCOLS]
    return ["h2", "http/1.1"] if settings.http.http2 else ["http/1.1"]


def live_sites(layout: Layout, count: int) -> Iterator[tuple[str, int]]:
    """Main and so many other sites, with the number of the version that is live now."""
    try:
        names = sorted(path.name for path in layout.live_folder.iterdir() if path.name != MAIN)
    except OSError:
        return  # nothing is live yet
    for site in (MAIN, *names[:count]):
        number = live_number(layout, site)
        if number is not None:
            yield site, number


class ContextCache(VersionedContexts[ssl.SSLContext]):
    """What the edge's own listeners serve on where Python's `ssl` is the engine."""

    def warm(self, sites: int) -> None:
        """Build the contexts of main and of `sites` other sites, as they are live now.

        This happens before workers are forked, so that they share ticket keys and a session resumes on any of them.
        It ends for a site when its certificate is replaced, and for all sites after a day.
        """
        for site, version in live_sites(self._layout, sites):
            try:
                self._of(site, version, is_mail=False)
                if site == MAIN:
                    self._of(site, version, is_mail=True)
            except OutOfFiles:
                return  # each is built when it is needed

    def _build(self, folder: Path, is_mail: bool) -> ssl.SSLContext:
        context = server_context(MINIMUM_VERSIONS[self._settings.tls.minimum_version])
        context.set_alpn_protocols(protocols_of(self._settings, is_mail=is_mail))
        try:
            load_version(context, folder)
        except OSError as error:
            raise not_loaded(error) from error
        return context
