"""TLS towards https upstreams of inspected sites: verified, always, as on the fast path.

mitmproxy speaks TLS through pyOpenSSL; contexts are kept per upstream. No certificate authority of mitmproxy's is made
or asked.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from OpenSSL import SSL

from certstore.model.settings.models import Upstream

_NO_PARTIAL_WILDCARDS = 0x4
_NEVER_CHECK_SUBJECT = 0x20
"""X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS and _NEVER_CHECK_SUBJECT of OpenSSL's x509v3.h: names are those of RFC 9525."""


class UpstreamTls:
    """Contexts of one worker; `base` is the folder that the settings' paths start from."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._contexts: dict[Upstream | None, SSL.Context] = {}

    def connection(self, name: str, upstream: Upstream | None) -> SSL.Connection:
        """A connection in connect state that accepts only a certificate for `name`.

        `upstream` is None for a server that an addon chose: the system's trust holds. Raises OSError or SSL.Error
        when a file that the settings name can't be used.
        """
        context = self._contexts.get(upstream)
        if context is None:
            context = self._contexts[upstream] = self._build(upstream)
        connection = SSL.Connection(context)
        _expect_name(connection, name)
        connection.set_connect_state()
        return connection

    def _build(self, upstream: Upstream | None) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_verify(SSL.VERIFY_PEER)
        context.set_alpn_protos([b"http/1.1"])
        if upstream is not None and upstream.ca_file is not None:
            context.load_verify_locations(str(self._base / upstream.ca_file))
        else:
            paths = ssl.get_default_verify_paths()
            context.load_verify_locations(paths.cafile, paths.capath)
        if upstream is not None and upstream.client_cert is not None:
            file = str(self._base / upstream.client_cert)
            context.use_certificate_chain_file(file)
            context.use_privatekey_file(file)
        return context


def _expect_name(connection: SSL.Connection, name: str) -> None:
    """SNI and the name that the certificate must be for; pyOpenSSL has no call of its own for the latter."""
    parameters = SSL._lib.SSL_get0_param(connection._ssl)  # type: ignore[attr-defined]
    SSL._lib.X509_VERIFY_PARAM_set_hostflags(  # type: ignore[attr-defined]
        parameters, _NO_PARTIAL_WILDCARDS | _NEVER_CHECK_SUBJECT
    )
    try:
        packed = ipaddress.ip_address(name).packed
    except ValueError:
        host = name.encode("idna")
        connection.set_tlsext_host_name(host)
        done = SSL._lib.X509_VERIFY_PARAM_set1_host(parameters, host, len(host))  # type: ignore[attr-defined]
    else:
        done = SSL._lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))  # type: ignore[attr-defined]
    if done != 1:
        raise ssl.SSLError(f"OpenSSL does not take the name {name!r}")
