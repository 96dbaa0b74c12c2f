"""The relay on a real socket in the test's loop: the product's plane, connection and session, with nothing replaced."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mitmproxy import options
from mitmproxy.addons import core, proxyserver
from mitmproxy.proxy.mode_specs import ProxyMode

from certstore.model.layout import Layout
from certstore.model.settings.models import ListenerSettings, Settings, Source, Upstream
from certstore.model.snapshot import ServedCertificate, SiteEntry, encode_entry
from certstore.store.journal import JournalReader
from edge_addon.addon.mode import mode_spec
from edge_addon.inspection.inspector import Inspector
from edge_addon.listeners.sessions import connection_factory
from edge_addon.plane.data_plane import DataPlane
from edge_addon.processes.worker import LeanMaster
from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for_in_loop
from tests.peers.recorder import Connection, Recorder
from tests.ports import listening_socket
from tests.running import Site

CA = CertificateAuthority()
MAIN_HOST = "edge.test"
kind_of_sites = "plain"
"""Or `inspected`: then mitmproxy's addons see the requests of all sites. Set by `site_kinds`."""
PLAIN_RELAY: dict[str, Any] = {"redirect_to_https": False}


def entry(site: str, *names: str, upstream: str | None = None, has_certificate: bool = True) -> SiteEntry:
    """Make a site of the snapshot; its certificate exists only in the index."""
    start = datetime.now(UTC) - timedelta(days=1)
    certificate = ServedCertificate(site, 1, site * 8, names, start, start + timedelta(days=90))
    upstreams = (Upstream(url=upstream),) if upstream is not None else None
    return SiteEntry(site, names[0], names, Source.FILE, certificate if has_certificate else None, upstreams=upstreams)


def main_site() -> Site:
    """The main site for `running_edge`, of the kind that the module's tests run against."""
    return Site(CA.issue(MAIN_HOST), {"host": MAIN_HOST, "inspect": kind_of_sites == "inspected"})


@dataclass(frozen=True, slots=True)
class Edge:
    """A listener and the plane behind it."""

    port: int
    plane: DataPlane
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    """The test's connections; those that are still open at the end are dropped."""

    async def send(self, data: bytes, *, end: bool = False, server_name: str | None = None) -> bytes:
        """Send on a new connection; return everything until the edge closes it."""
        reader, writer = await self.connect(server_name)
        writer.write(data)
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 60)

    async def connect(self, server_name: str | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect in clear text, or by TLS with this server name; an empty name sends none."""
        context = None
        if server_name is not None:
            context = ssl.create_default_context(cadata=CA.root_pem.decode())
            context.check_hostname = False
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=server_name, limit=1 << 20
        )
        self.writers.append(writer)
        return reader, writer

    async def counted(self, cause: str, times: int = 1) -> None:
        """Wait until the cause has been counted this many times."""
        await wait_for_in_loop(
            lambda: self.plane.counters[cause] >= times, f"{cause} counted {times} times: {self.plane.counters}"
        )


@contextlib.asynccontextmanager
async def relay_edge(
    folder: Path,
    upstream: str | Sequence[str | dict[str, Any]],
    *,
    sites: Sequence[SiteEntry] = (),
    kind: str = "http",
    **settings: Any,
) -> AsyncIterator[Edge]:
    """Run one listener that relays; `settings` are top-level keys of edge.yaml."""
    settings.setdefault("http", PLAIN_RELAY)
    whole = Settings.model_validate({"upstream": upstream, "store": folder / "store", **settings})
    layout = Layout(folder / "store")
    if kind == "https":
        for each in [entry("main", MAIN_HOST), *sites]:
            CA.issue(*each.names).write_to(layout.version(each.site, 1))
    layout.snapshot_journal.parent.mkdir(parents=True, exist_ok=True)
    entries = [replace(each, inspect=kind_of_sites == "inspected") for each in (entry("main", MAIN_HOST), *sites)]
    layout.snapshot_journal.write_text("".join(json.dumps(encode_entry(each)) + "\n" for each in entries))
    journal = JournalReader(layout)
    plane = DataPlane(whole, folder, journal)
    with listening_socket() as bound:
        port = bound.getsockname()[1]
        listener = ListenerSettings.model_validate({"kind": kind, "listen": f"127.0.0.1:{port}"})
        server = await plane.loop.create_server(connection_factory(plane, listener), sock=bound)
        edge = Edge(port, plane)
        inspector = inspect_all(plane, listener) if kind_of_sites == "inspected" else None
        try:
            yield edge
        finally:
            server.close()
            for writer in edge.writers:
                writer.transport.abort()
            for connection in list(plane.connections):
                connection.abort()
            plane.stop()
            journal.close()
            await wait_for_in_loop(lambda: not plane.connections, "the end of every connection")
            if inspector is not None:
                await wait_for_in_loop(lambda: not inspector.hooks.running, "the end of every hook")
                inspector.stop()


def inspect_all(plane: DataPlane, listener: ListenerSettings) -> Inspector:
    """Show the requests of this listener to a mitmproxy without other addons."""
    master = LeanMaster(options.Options())
    master.addons.add(core.Core(), proxyserver.Proxyserver())
    plane.inspector = inspector = Inspector(master, plane, keeps_messages=False)
    make_known(inspector, listener)
    return inspector


def make_known(inspector: Inspector, listener: ListenerSettings) -> None:
    inspector.know_mode(listener, ProxyMode.parse(mode_spec(0, "127.0.0.1", listener.listen.port)))


async def assert_slow_reader_slows_upstream(folder: Path, request: bytes, head: bytes) -> None:
    """Let an upstream answer with `head` and 100 MB, and show that it waits for a client that does not read."""
    written = 0

    async def handle(connection: Connection) -> None:
        nonlocal written
        await connection.read_head()
        await connection.write(head)
        for _ in range(100):
            await connection.write(b"x" * 1_000_000)
            written += 1_000_000

    with Recorder(handle) as recorder:
        async with relay_edge(folder, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
            await stands_still(lambda: written)
            assert written < 40_000_000
            size = 0
            while size < 100_000_000:
                size += len(await reader.read(1 << 20))
            assert size == 100_000_000


async def stands_still(value: Callable[[], int], seconds: float = 0.4) -> None:
    """Wait until the value has not changed for this long."""
    last, since = value(), time.monotonic()

    def is_still() -> bool:
        nonlocal last, since
        if value() != last:
            last, since = value(), time.monotonic()
        return time.monotonic() - since > seconds

    await wait_for_in_loop(is_still, "a value that stands still", seconds=60)
