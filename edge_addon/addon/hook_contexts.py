"""pyOpenSSL contexts for the hooks, one per served version; like `transport.tls_contexts`, for mitmproxy's TLS layer.

Sessions never resume on them: session cache and tickets are off. A handshake in a mode of mitmproxy costs milliseconds
anyway, and a session that resumes with the certificate of another name is exactly what the edge must prevent.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from mitmproxy.addons.tlsconfig import alpn_select_callback
from OpenSSL import SSL

from certstore.model import layout as files
from certstore.net.tls_server import CIPHERS
from edge_addon.transport.tls_contexts import NotLoaded, VersionedContexts, not_loaded

MINIMUM_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class HookContexts(VersionedContexts[SSL.Context]):
    """Contexts without a purpose: mail and web get the same one."""

    @cached_property
    def refusing(self) -> SSL.Context:
        """A context without a certificate: every handshake on it ends in an alert."""
        return self._empty()

    def _build(self, folder: Path, is_mail: bool) -> SSL.Context:
        context = self._empty()
        try:
            _use(context, folder / files.FULLCHAIN, folder / files.PRIVKEY)
            if (folder / files.FULLCHAIN_RSA).exists():
                _use(context, folder / files.FULLCHAIN_RSA, folder / files.PRIVKEY_RSA)
        except OSError as error:
            raise not_loaded(error) from error
        except SSL.Error as error:
            raise NotLoaded(_words(error)) from error
        return context

    def _empty(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(MINIMUM_VERSIONS[self._settings.tls.minimum_version])
        context.set_cipher_list(CIPHERS.encode("ascii"))
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_alpn_select_callback(alpn_select_callback)
        return context


def _use(context: SSL.Context, fullchain: Path, privkey: Path) -> None:
    if b"ENCRYPTED" in privkey.read_bytes():
        raise NotLoaded("the key has a password")  # OpenSSL would ask for it on the terminal, and wait
    try:
        context.use_certificate_chain_file(str(fullchain))
        context.use_privatekey_file(str(privkey))
    except SSL.Error:
        for path in (fullchain, privkey):
            path.read_bytes()  # where the system is to blame, this says why: the library does not
        raise


def _words(error: SSL.Error) -> str:
    """The last of the reasons that the library gives."""
    reasons = [text for *_, text in (error.args[0] if error.args else ())]
    return reasons[-1] if reasons else "unknown reason"
