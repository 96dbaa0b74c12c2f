"""The edge as hooks in a mitmproxy with a mode of your own: reverse, regular or any other that serves TLS to clients.

`tls_start_client` gives mitmproxy an OpenSSL connection with the selected certificate, so mitmproxy's own selection
(case-sensitive, wildcards across labels, generated certificates for unknown names) is never used. `requestheaders`
answers challenges and refuses requests that came over the wrong certificate.
"""

from __future__ import annotations

import logging

from mitmproxy import connection, ctx, http, tls
from mitmproxy.addons.tlsconfig import AppData
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.layers import modes as proxy_layers
from OpenSSL import SSL

from certstore.model.names import normalise_server_name
from certstore.model.selection import Reason, Selection, fall_back_to_main, select
from edge_addon.addon.hook_contexts import HookContexts
from edge_addon.http.http01 import answer_challenge
from edge_addon.plane.data_plane import DataPlane
from edge_addon.transport.tls_contexts import OutOfFiles

log = logging.getLogger(__name__)


class EdgeHooks:
    """mitmproxy calls it `edgehooks`. The methods without a docstring handle mitmproxy's events."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._contexts = HookContexts(plane.layout, plane.settings)
        self._mail_ports = {each.listen.port for each in plane.settings.listeners if each.kind.is_mail}

    def tls_start_client(self, data: tls.TlsData) -> None:
        if data.ssl_conn is not None or data.is_dtls:
            return  # another addon has set one; the edge does not serve QUIC and DTLS
        client = data.context.client
        is_mail = client.sockname[1] in self._mail_ports
        selection = self._select(client.sni, is_mail=is_mail)
        context = self._context(selection)
        data.ssl_conn = SSL.Connection(context)
        # mitmproxy's own callback selects ALPN, as it would without the edge: CONNECT is for HTTP/1 only.
        is_proxy_itself = len(data.context.layers) == 2 and isinstance(data.context.layers[0], proxy_layers.HttpProxy)
        data.ssl_conn.set_app_data(
            AppData(
                client_alpn=b"http/1.1" if is_proxy_itself else client.alpn,
                server_alpn=data.context.server.alpn,
                http2=ctx.options.http2,
            )
        )
        data.ssl_conn.set_accept_state()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        request = flow.request
        answer = answer_challenge(request.method, request.path, self._plane.challenge)
        if answer is not None:
            if not answer.may_pass or self._plane.settings.http.unknown_challenge == "not_found":
                flow.response = http.Response.make(answer.status, answer.body, {"Content-Type": answer.content_type})
        elif self._is_misdirected(flow):
            flow.response = http.Response.make(421, b"This connection is for another host.\n")

    def _select(self, server_name: str | None, *, is_mail: bool) -> Selection:
        return select(self._plane.snapshot, server_name, is_mail=is_mail, now=self._plane.clock())

    def _context(self, selection: Selection) -> SSL.Context:
        plane = self._plane
        if plane.settings.tls.unknown_name == "reject" and selection.reason is Reason.UNKNOWN_NAME:
            return self._contexts.refusing
        try:
            context = self._contexts.get(selection.certificate, is_mail=False)
            if context is None:
                log.error("can't read the certificate of %s; serving that of main", selection.certificate.site)
                context = self._contexts.get(fall_back_to_main(plane.snapshot, selection).certificate, is_mail=False)
        except OutOfFiles:
            return self._contexts.refusing
        return context or self._contexts.refusing

    def _is_misdirected(self, flow: http.HTTPFlow) -> bool:
        """Whether the request's host differs from that of the handshake and would get another certificate."""
        client = flow.client_conn
        if not client.tls_established or _is_host_overwritten(client):
            return False
        host = normalise_server_name(flow.request.pretty_host)
        server_name = normalise_server_name(client.sni)
        if host == server_name:
            return False
        mine = self._select(server_name, is_mail=False).certificate
        return self._select(host, is_mail=False).certificate.site != mine.site


def _is_host_overwritten(client: connection.Client) -> bool:
    """In reverse mode mitmproxy replaces the client's host by the upstream's before any addon sees the request."""
    return isinstance(client.proxy_mode, mode_specs.ReverseMode) and not ctx.options.keep_host_header
