"""TLS contexts, one per served certificate version and purpose, built on first use and kept in a bounded cache.

Each context has its own ticket keys, so a session can only resume with the certificate that it was made with. Knows
where the files of a version lie, and does not decide which version is served.
"""

from __future__ import annotations

import errno
import ssl
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.model.snapshot import MAIN, ServedCertificate
from certstore.net.tls_server import MINIMUM_VERSIONS, load_version, server_context
from edge_addon.transport.alpn import MAIL_PROTOCOLS

CAPACITY = 1024
"""Contexts in the cache. One takes 26 KB and 0.4 ms to build: a busy worker keeps those in use and rebuilds others."""

MAXIMUM_AGE_SECONDS = 24 * 3600
"""A context is rebuilt after a day, which renews its ticket keys (RFC 8446 appendix C.4 on reuse)."""


class OutOfFiles(Exception):
    """No descriptor is free to read a certificate: there is nothing wrong with it, and no other may take its place."""


@dataclass(frozen=True, slots=True)
class _Built[C]:
    context: C
    version: int
    at: float


class VersionedContexts[C](ABC):
    """Contexts by site, version and purpose (web or mail); the least recently used ones are dropped.

    A site has one context per purpose, the newest. When the version is not readable (pruned before this worker read the
    journal, or a disk error), the site's live version is tried, then the last good context stays in use.
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

    def get(self, certificate: ServedCertificate, *, is_mail: bool) -> C | None:
        """The context that serves this certificate, or None when its files can't be read and none was built before.

        Raises OutOfFiles.
        """
        try:
            return self._of(certificate.site, certificate.version, is_mail)
        except OutOfFiles:
            built = self._built.get((certificate.site, is_mail))
            if built is None:
                raise
            return built.context

    def _of(self, site: str, version: int, is_mail: bool) -> C | None:
        key = (site, is_mail)
        built = self._built.get(key)
        now = self._monotonic()
        if built is not None and built.version == version and now - built.at < MAXIMUM_AGE_SECONDS:
            self._built.move_to_end(key)
            return built.context
        context = self._build(self._layout.version(site, version), is_mail)
        if context is None:
            context = self._build(self._layout.live(site), is_mail)
        if context is None:
            return built.context if built is not None else None
        self._built[key] = _Built(context, version, now)
        self._built.move_to_end(key)
        if len(self._built) > self._capacity:
            self._built.popitem(last=False)
        return context

    @abstractmethod
    def _build(self, folder: Path, is_mail: bool) -> C | None:
        """A context with the certificates in this folder, or None when they can't be read."""


class ContextCache(VersionedContexts[ssl.SSLContext]):
    """What the edge's own listeners serve on."""

    def warm(self, sites: int) -> None:
        """Build the contexts of main and of `sites` other sites, as they are live now.

        This happens before workers are forked, so that they share ticket keys and a session resumes on any of them.
        It ends for a site when its certificate is replaced, and for all sites after a day.
        """
        try:
            names = sorted(path.name for path in self._layout.live_folder.iterdir() if path.name != MAIN)
        except OSError:
            return  # nothing is live yet
        for site in (MAIN, *names[:sites]):
            try:
                version = int(self._layout.live(site).readlink().name)
            except (OSError, ValueError):
                continue
            self._of(site, version, is_mail=False)
            if site == MAIN:
                self._of(site, version, is_mail=True)

    def _build(self, folder: Path, is_mail: bool) -> ssl.SSLContext | None:
        context = server_context(MINIMUM_VERSIONS[self._settings.tls.minimum_version])
        web = ["h2", "http/1.1"] if self._settings.http.http2 else ["http/1.1"]
        context.set_alpn_protocols([*MAIL_PROTOCOLS] if is_mail else web)
        try:
            load_version(context, folder)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise OutOfFiles from error
            return None
        return context
