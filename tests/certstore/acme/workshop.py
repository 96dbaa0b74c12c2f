"""A store's folders, a responder that answers challenges from them as the workers do, and what an order needs."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from certstore.acme.account import Accounts, AccountSettings
from certstore.acme.challenge_kind import ChallengeKind, ChallengeKinds
from certstore.acme.http01 import http01
from certstore.acme.issue import Issuer
from certstore.acme.network import Conversation
from certstore.acme.order_context import OrderContext
from certstore.acme.order_journal import OrderJournal, OrderRequest
from certstore.model.challenge import CHALLENGE_PATH
from certstore.model.layout import Layout
from certstore.model.renewal.ca import Ca, find_ca
from certstore.model.settings.addresses import HostPort
from certstore.net.own_address import OwnListener
from edge_addon.transport.validation import make_certificate, ssl_context
from tests.peers.pebble import Pebble
from tests.ports import listening_socket

AGREED = AccountSettings(("admin@example.org",), agrees_to_terms=True)


class Responder:
    """`unhelpful` names get a 404, and so do requests for which `is_moody` returns True. `blocked` names get one only
    from the CA, as behind a firewall. `asked` holds the (host, token) pairs of all requests."""

    def __init__(self, layout: Layout) -> None:
        self.unhelpful: set[str] = set()
        self.blocked: set[str] = set()
        self.is_moody: Callable[[str, str], bool] = lambda host, token: False
        self.asked: list[tuple[str, str]] = []
        responder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host = (self.headers.get("Host") or "").partition(":")[0]
                token = self.path.removeprefix(CHALLENGE_PATH)
                responder.asked.append((host, token))
                path = layout.challenge(token)
                is_ca = not (self.headers.get("User-Agent") or "").startswith("certedge")
                refuses = (
                    host in responder.unhelpful
                    or (is_ca and host in responder.blocked)
                    or responder.is_moody(host, token)
                )
                found = path is not None and path.is_file() and not refuses
                body = path.read_bytes() if path is not None and found else b"not here"
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # The client may have been killed before the answer came.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    @contextmanager
    def running(self) -> Iterator[Responder]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


_STATUS_REQUEST = b"\x00\x05\x00\x05\x01\x00\x00\x00\x00"


class AlpnResponder:
    """Proves names over TLS from the store's files, as the workers do. `unhelpful` names get another site's
    certificate, and `blocked` ones only at the CA. `asked` holds the names of all handshakes."""

    def __init__(self, layout: Layout) -> None:
        self.unhelpful: set[str] = set()
        self.blocked: set[str] = set()
        self.asked: list[str] = []
        self._is_ca = False
        self._layout = layout
        self._listening = listening_socket()
        self._stranger = _proving("stranger.test", b"other.proof")
        self._stranger.sni_callback = self._choose
        self._thread = threading.Thread(target=self._serve)

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def _choose(self, tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self.asked.append(name or "")
        path = self._layout.alpn_challenge(name or "")
        is_blocked = name in self.unhelpful or (self._is_ca and name in self.blocked)
        # An error here would be nobody's, and the file may be withdrawn at any moment.
        with suppress(OSError):
            if path is not None and not is_blocked:
                tls.context = _proving(name or "", path.read_bytes())

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            accepted.settimeout(5)
            with suppress(OSError):
                # Pebble is a Go program, whose hellos ask for OCSP; OpenSSL's do not.
                self._is_ca = _STATUS_REQUEST in accepted.recv(4096, socket.MSG_PEEK)
            with suppress(OSError), self._stranger.wrap_socket(accepted, server_side=True) as stream:
                stream.recv(1)

    @contextmanager
    def running(self) -> Iterator[AlpnResponder]:
        self._thread.start()
        try:
            yield self
        finally:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._thread.join()


def _proving(name: str, key_authorization: bytes) -> ssl.SSLContext:
    return ssl_context(make_certificate(name, key_authorization, datetime.now(UTC)), "1.2")


@dataclass
class Workshop:
    """Everything to order at `pebble` into `layout`."""

    layout: Layout
    responder: Responder
    pebble: Pebble
    told: list[str] = field(default_factory=list)
    ordered: int = 0
    failed: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def ca(self) -> Ca:
        return find_ca(self.pebble.directory)

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.layout)

    @property
    def journal(self) -> OrderJournal:
        return OrderJournal(self.layout)

    @property
    def kind(self) -> ChallengeKind:
        return http01(self.layout, (OwnListener(HostPort("127.0.0.1", self.responder.port)),))

    def unchecked(self) -> OrderContext:
        """The same without the self-check, so that only the CA finds what is wrong."""
        return replace(self.context(), kinds=ChallengeKinds(replace(self.kind, self_check=lambda proof: None)))

    def conversation(self) -> Conversation:
        return Conversation.begin(self.pebble.directory, ca_file=self.pebble.ca_file)

    def request(self, *names: str, key_type: str = "ec256", replaces: str | None = None) -> OrderRequest:
        return OrderRequest(names[0], self.ca.key, names, key_type, replaces=replaces)

    def context(self) -> OrderContext:
        def note_order() -> None:
            self.ordered += 1

        def note_failed(name: str, way: str) -> None:
            self.failed.append(name)

        kinds = ChallengeKinds(self.kind)
        return OrderContext(self.journal, kinds, self.stopping.wait, self.told.append, note_order, note_failed)

    @contextmanager
    def issuer(
        self,
        preferred_chain: str | None = None,
        context: OrderContext | None = None,
        settings: AccountSettings = AGREED,
    ) -> Iterator[Issuer]:
        anonymous = self.conversation()
        account = self.accounts.ensure(self.ca, anonymous, settings)
        own = account.sign_in(anonymous)
        try:
            yield Issuer(own, account, context or self.context(), preferred_chain)
        finally:
            own.close()
            anonymous.close()

    def tokens(self) -> list[Path]:
        return list(self.layout.challenges.iterdir())


def make_layout(root: Path) -> Layout:
    layout = Layout(root)
    for folder in (layout.challenges, layout.alpn_challenges, layout.accounts, layout.state, layout.temporary):
        folder.mkdir(parents=True)
    return layout


@contextmanager
def workshop(root: Path, **pebble: object) -> Iterator[Workshop]:
    layout = make_layout(root / "store")
    responder = Responder(layout)
    with responder.running(), Pebble(responder.port, **pebble) as running:  # type: ignore[arg-type]
        yield Workshop(layout, responder, running)
