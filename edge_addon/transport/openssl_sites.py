"""What the served sites present on OpenSSL: certificates and keys, decoded on first use and kept up to so many bytes.

Sites with the same intermediates share a context, so a site costs its own certificate and key, and its sessions resume
on every worker that was forked after the context was made. Does not decide which version is served.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from certstore.model import layout as names
from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.model.snapshot import ServedCertificate
from certstore.model.unloadable import Unloadable
from certstore.net.openssl_contexts import ChainContexts, Servable
from certstore.net.openssl_credentials import Credentials, decode
from certstore.net.openssl_stage import Scratch
from edge_addon.transport.tls_contexts import OutOfFiles, VersionedContexts, live_sites, not_loaded, protocols_of

_NOTHING = 1000
"""Bytes for a site of which no version can be loaded."""


class OpenSslSites:
    """Of one worker, or of all that are forked from this process: everything that connections start from."""

    def __init__(self, layout: Layout, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        scratch = Scratch()
        self._layout = layout
        self._web, self._mail = (
            ChainContexts(
                settings.tls.minimum_version, protocols_of(settings, is_mail=is_mail), scratch, monotonic=monotonic
            )
            for is_mail in (False, True)
        )
        self._decoded = _Decoded(layout, settings, self._web, monotonic)

    def get(self, certificate: ServedCertificate, *, is_mail: bool) -> Servable | None:
        """What serves this certificate, or None when no version of its site can be loaded. Raises OutOfFiles."""
        credentials = self._decoded.get(certificate, is_mail=False)
        if credentials is None:
            return None
        try:
            return (self._mail if is_mail else self._web).servable(credentials)
        except OSError as error:
            reason = not_loaded(error)
            if isinstance(reason, OutOfFiles):
                raise reason from error
            return None

    @property
    def unloadable(self) -> list[Unloadable]:
        """The live versions that were wanted and could not be loaded, main's first."""
        return self._decoded.unloadable

    def warm(self, sites: int) -> None:
        """Load main and `sites` other sites, as they are live now, before workers are forked.

        The workers share ticket keys then, and a session of any site with one of these chains resumes on all of them.
        It ends for a site when its certificate is replaced, and for all sites after a day.
        """
        for site, version in live_sites(self._layout, sites):
            try:
                credentials = self._decoded.load(site, version)
                if credentials is not None:
                    for contexts in (self._web, self._mail):
                        contexts.servable(credentials)
            except (OutOfFiles, OSError):
                return  # each is loaded when it is needed


class _Decoded(VersionedContexts[Credentials]):
    """Serves web and mail alike: the purpose lies in the context."""

    def __init__(
        self, layout: Layout, settings: Settings, contexts: ChainContexts, monotonic: Callable[[], float]
    ) -> None:
        super().__init__(layout, settings, capacity=settings.tls.key_cache_bytes, monotonic=monotonic)
        self._contexts = contexts

    def load(self, site: str, version: int) -> Credentials | None:
        """Raises OutOfFiles."""
        return self._of(site, version, is_mail=False)

    def _weigh(self, context: Credentials | None) -> int:
        return _NOTHING if context is None else context.size

    def _build(self, folder: Path, is_mail: bool) -> Credentials:
        try:
            credentials = decode(_read_pairs(folder))
            # A connection finds out whether the parts fit each other, and the library takes them.
            self._contexts.servable(credentials).stage()
        except OSError as error:
            raise not_loaded(error) from error
        return credentials


def _read_pairs(folder: Path) -> list[tuple[bytes, bytes]]:
    """Full chain and key of each pair. Raises OSError."""
    pairs = [((folder / names.FULLCHAIN).read_bytes(), (folder / names.PRIVKEY).read_bytes())]
    if (rsa := folder / names.FULLCHAIN_RSA).exists():
        pairs.append((rsa.read_bytes(), (folder / names.PRIVKEY_RSA).read_bytes()))
    return pairs
