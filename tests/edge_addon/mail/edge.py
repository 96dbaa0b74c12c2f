"""A mail listener in the test's own loop, between a client and a mail server that the test plays itself.

The product's plane, connection, TLS and session run on real sockets, and nothing is replaced. Only the other two sides
are played, line by line, because a test needs to send exactly what a real peer would never send.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

from certstore.model.layout import FULLCHAIN, PRIVKEY, Layout
from certstore.model.settings.models import ListenerSettings, Settings, Source
from certstore.model.snapshot import ServedCertificate, SiteEntry, encode_entry
from certstore.store.journal import JournalReader
from edge_addon.listeners.sessions import connection_factory
from edge_addon.plane.data_plane import DataPlane
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for_in_loop
from tests.ports import listening_socket

SECONDS = 20.0
MAIN_HOST = "edge.test"
DOMAIN_HOST = "webmail.client.test"

CA = CertificateAuthority()
MAIN = CA.issue(MAIN_HOST)
DOMAIN = CA.issue(DOMAIN_HOST)
OTHER_CA = CertificateAuthority("Other CA")


def client_context(*, ca: CertificateAuthority = CA) -> ssl.SSLContext:
    """The context of a client that trusts only this authority, and checks names."""
    return ssl.create_default_context(cadata=ca.root_pem.decode("ascii"))


def server_context(certificate: Issued, folder: Path) -> ssl.SSLContext:
    certificate.write_to(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
    return context


@dataclass
class Peer:
    """One end of a connection, played by the test."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> bytes:
        """The next line, or empty at the end."""
        return await asyncio.wait_for(self._unless_reset(self.reader.readline()), SECONDS)

    async def lines(self, last: bytes) -> bytes:
        """Everything up to the line that begins with `last`."""
        heard = b""
        while True:
            line = await self.line()
            heard += line
            if line.startswith(last):
                return heard
            assert line, f"the connection ended before {last!r}: {heard!r}"

    async def exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), SECONDS)

    async def end(self) -> bytes:
        """Everything up to the end of the connection."""
        return await asyncio.wait_for(self._unless_reset(self.reader.read()), SECONDS)

    async def ask(self, command: bytes, last: bytes) -> bytes:
        self.say(command)
        return await self.lines(last)

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str | None = None) -> None:
        await asyncio.wait_for(self.writer.start_tls(context, server_hostname=server_hostname), SECONDS)

    def leaf(self) -> bytes:
        """The certificate that the other side presented, as DER."""
        presented = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(presented, bytes)
        return presented

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        self.writer.transport.abort()

    @staticmethod
    async def _unless_reset(reading: Awaitable[bytes]) -> bytes:
        try:
            return await reading
        except ConnectionResetError:
            return b""


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A mail server on a port of the system's choice that follows one script per connection, in order.

    With `tls` every connection begins with a handshake.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._scripts = list(scripts)
        self._faults: list[BaseException] = []
        self._peers: list[Peer] = []
        self._running: set[asyncio.Task[None]] = set()
        self._bound = listening_socket()
        self.port: int = self._bound.getsockname()[1]
        self.connections = 0
        self.finished = 0

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._serve, sock=self._bound, ssl=self._tls)
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._peers.append(peer)
        self.connections += 1
        try:
            assert self._scripts, "an unexpected connection"
            await self._scripts.pop(0)(peer)
        except BaseException as fault:  # noqa: BLE001  shown to the test at its end, whatever it is
            self._faults.append(fault)
        finally:
            self.finished += 1
            writer.close()

    async def done(self, times: int = 1) -> None:
        """Wait until this many scripts have run to their end."""
        await wait_for_in_loop(lambda: self.finished >= times, f"{times} scripts played: {self._faults}")

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for peer in self._peers:
            peer.abort()
        await wait_for_in_loop(lambda: self.finished == self.connections, "the end of every script")
        for fault in self._faults:
            raise fault


@dataclass
class MailEdge:
    port: int
    plane: DataPlane
    log: Path
    clients: list[Peer] = field(default_factory=list)

    async def connect(self, context: ssl.SSLContext | None = None, server_name: str = MAIN_HOST) -> Peer:
        """A client; with a context it begins with TLS."""
        opening = asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=server_name if context is not None else None
        )
        peer = Peer(*await asyncio.wait_for(opening, SECONDS))
        self.clients.append(peer)
        return peer

    async def counted(self, cause: str) -> None:
        await wait_for_in_loop(
            lambda: self.plane.counters[cause], f"{cause} counted, not only {dict(self.plane.counters)}"
        )

    async def log_entries(self, number: int = 1) -> list[dict[str, Any]]:
        """The access log, once it has this many lines."""

        def read() -> list[str]:
            return self.log.read_text().splitlines() if self.log.exists() else []

        await wait_for_in_loop(lambda: len(read()) >= number, f"{number} lines in the access log")
        return [json.loads(line) for line in read()]


def _entry(site: str, certificate: Issued, layout: Layout) -> SiteEntry:
    folder = layout.version(site, 1)
    folder.mkdir(parents=True)
    (folder / FULLCHAIN).write_bytes(certificate.fullchain_pem)
    (folder / PRIVKEY).write_bytes(certificate.privkey_pem)
    names = certificate.dns_names
    served = ServedCertificate(
        site, 1, certificate.fingerprint, names, certificate.not_before.astimezone(UTC), certificate.not_after
    )
    return SiteEntry(site, names[0], names, Source.FILE, served)


@contextlib.asynccontextmanager
async def mail_edge(
    folder: Path, kind: str, upstream_port: int, *, limits: dict[str, float] | None = None, **listener: Any
) -> AsyncIterator[MailEdge]:
    """One listener of `kind`, with `listener` as further settings. The store has the main site and one domain."""
    settings = Settings.model_validate(
        {"store": folder / "store", "limits": limits or {}, "access_log": {"path": folder / "access.log"}}
    )
    layout = Layout(folder / "store")
    layout.state.mkdir(parents=True)
    entries = [_entry("main", MAIN, layout), _entry(DOMAIN_HOST, DOMAIN, layout)]
    layout.snapshot_journal.write_text("".join(json.dumps(encode_entry(each)) + "\n" for each in entries))
    journal = JournalReader(layout)
    plane = DataPlane(settings, folder, journal)
    with listening_socket() as bound:
        port = bound.getsockname()[1]
        whole = {"kind": kind, "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream_port}", **listener}
        factory = connection_factory(plane, ListenerSettings.model_validate(whole))
        server = await plane.loop.create_server(factory, sock=bound)
        edge = MailEdge(port, plane, folder / "access.log")
        try:
            yield edge
        finally:
            server.close()
            for client in edge.clients:
                client.abort()
            for connection in list(plane.connections):
                connection.abort()
            await wait_for_in_loop(lambda: not plane.connections, "the end of every connection")
            plane.stop()
            plane.access_log.close()
            journal.close()
