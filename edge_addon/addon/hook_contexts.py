"""pyOpenSSL contexts for the hooks, one per served version; like `transport.tls_contexts`, for mitmproxy's TLS layer.

Sessions never resume on them: session cache and tickets are off. A handshake in a mode of mitmproxy costs milliseconds
anyway, and a session that resumes with the certificate of another name is exactly what the edge must prevent.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from mitmproxy.addons.tlsconfig import alpn_select_callback
from OpenSSL import SSL

from certstore.model import layout as files
from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.model.snapshot import ServedCertificate
from edge_addon.transport.tls_contexts import CIPHERS

CAPACITY = 1024

MINIMUM_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class HookContexts:
    """Contexts by site, one each, for its newest version; the least recently used ones are dropped."""

    def __init__(self, layout: Layout, settings: Settings, *, capacity: int = CAPACITY) -> None:
        self._layout = layout
        self._minimum_version = MINIMUM_VERSIONS[settings.tls.minimum_version]
        self._capacity = capacity
        self._built: OrderedDict[str, tuple[int, SSL.Context]] = OrderedDict()
        self.refusing = self._empty()
        """A context without a certificate: every handshake on it ends in an alert."""

    def get(self, certificate: ServedCertificate) -> SSL.Context | None:
        """The context for this certificate; without its files that of the live version, then the site's last one."""
        site = certificate.site
        built = self._built.get(site)
        if built is not None and built[0] == certificate.version:
            self._built.move_to_end(site)
            return built[1]
        context = self._load(self._layout.version(site, certificate.version)) or self._load(self._layout.live(site))
        if context is None:
            return built[1] if built is not None else None
        self._built[site] = (certificate.version, context)
        self._built.move_to_end(site)
        if len(self._built) > self._capacity:
            self._built.popitem(last=False)
        return context

    def _load(self, folder: Path) -> SSL.Context | None:
        context = self._empty()
        try:
            _use(context, folder / files.FULLCHAIN, folder / files.PRIVKEY)
            if (folder / files.FULLCHAIN_RSA).exists():
                _use(context, folder / files.FULLCHAIN_RSA, folder / files.PRIVKEY_RSA)
        except (OSError, SSL.Error):
            return None
        return context

    def _empty(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(self._minimum_version)
        context.set_cipher_list(CIPHERS.encode("ascii"))
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_alpn_select_callback(alpn_select_callback)
        return context


def _use(context: SSL.Context, fullchain: Path, privkey: Path) -> None:
    context.use_certificate_chain_file(str(fullchain))
    context.use_privatekey_file(str(privkey))
