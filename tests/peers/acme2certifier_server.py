"""acme2certifier's own WSGI application over HTTPS: `python -m tests.peers.acme2certifier_server FOLDER PORT HTTP DNS`.

FOLDER has `acme_srv.cfg` and `server.pem`. It validates on port HTTP and queries the DNS on port DNS, both on
127.0.0.1. The application has no settings for these, and a test can't use ports 80 and 53.
"""

from __future__ import annotations

import importlib
import os
import ssl
import sys
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import dns.resolver


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def get_request(self) -> Any:
        """Leaves the handshake to the connection's thread."""
        plain, address = super().get_request()
        plain.settimeout(30)
        return self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    context: ssl.SSLContext


class Handler(WSGIRequestHandler):
    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "HTTPS": "on"}


def main(folder: str, port: str, http_port: str, dns_port: str) -> None:
    os.chdir(folder)
    os.environ |= {"ACME_SRV_CONFIGFILE": f"{folder}/acme_srv.cfg", "ACME2CERTIFIER_BASE_DIR": folder}

    class Resolver(dns.resolver.Resolver):
        def __init__(self) -> None:
            super().__init__(configure=False)
            self.port = int(dns_port)

    dns.resolver.Resolver = Resolver  # type: ignore[assignment,misc]
    network: Any = importlib.import_module("acme2certifier.acme_srv.helpers.network")
    url_host = network._http_url_host
    network._http_url_host = lambda address: f"{url_host(address)}:{http_port}"
    application = importlib.import_module("acme2certifier.share.acme2certifier_wsgi").application
    with make_server("127.0.0.1", int(port), application, server_class=Server, handler_class=Handler) as server:
        server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.context.load_cert_chain("server.pem")
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
