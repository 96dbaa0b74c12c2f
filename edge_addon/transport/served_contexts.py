"""What connections start from, on the TLS engine that is in force: the one place where the two engines meet.

The OpenSSL of `cryptography` is imported here only if it is the engine.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.net.tls_engine import EngineName, engine_in_force
from edge_addon.transport.tls_contexts import ContextCache
from edge_addon.transport.tls_stage import TlsStage

if TYPE_CHECKING:
    from certstore.net.openssl_contexts import Servable
    from certstore.net.openssl_stage import OpenSslStage
    from edge_addon.transport.openssl_sites import OpenSslSites

log = logging.getLogger(__name__)

type ServedContext = ssl.SSLContext | Servable
"""A site's certificate with all that a listener adds to it."""

type ServedContexts = ContextCache | OpenSslSites
"""By site, version and purpose: `get`, `unloadable`, `warm`."""

type ServerStage = TlsStage | OpenSslStage
"""A connection: `feed`, `output`, `handshake`, `version`, `alpn`, `read`, `may_have_more`, `write`, `close_notify`."""


def served_contexts(layout: Layout, settings: Settings) -> ServedContexts:
    """For the listeners of one worker, or of all workers that are forked from this process."""
    engine = engine_in_force()
    if engine.problem:
        log.warning("%s", engine.problem)
    if engine.name is EngineName.SSL:
        return ContextCache(layout, settings)
    from edge_addon.transport.openssl_sites import OpenSslSites

    return OpenSslSites(layout, settings)


def open_stage(context: ServedContext) -> ServerStage:
    """A new connection."""
    return TlsStage(context) if isinstance(context, ssl.SSLContext) else context.stage()
