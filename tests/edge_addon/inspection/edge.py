"""Inspected sites as a worker serves them: the product's lean master, addon and plane, in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mitmproxy import options
from mitmproxy.addons import core, proxyserver

from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.model.snapshot import SiteEntry, encode_entry
from edge_addon.addon.edge import Edge as EdgeAddon
from edge_addon.addon.edge import Inherited
from edge_addon.processes.worker import LeanMaster
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.planes import inspector_of
from tests.edge_addon.relay.edge import CA, MAIN_HOST, PLAIN_RELAY, Edge, entry
from tests.ports import listening_socket

SITE = "a.test"


def inspected(site: str, *names: str, upstream: str | None = None, has_certificate: bool = True) -> SiteEntry:
    plain = entry(site, *(names or (site,)), upstream=upstream, has_certificate=has_certificate)
    return replace(plain, inspect=True)


@contextlib.asynccontextmanager
async def inspecting_edge(
    folder: Path,
    upstream: str | Sequence[str | dict[str, Any]],
    *addons: object,
    sites: Sequence[SiteEntry] | None = None,
    kind: str = "https",
    may_inspect: bool = True,
    listener: dict[str, Any] | None = None,
    main_covers: Sequence[str] = (),
    **settings: Any,
) -> AsyncIterator[Edge]:
    """One listener; without `sites` there is `a.test`, inspected, beside main. `settings`: keys of edge.yaml.

    `main_covers`: more names in the main certificate, for sites that use it.
    """
    sites = [inspected(SITE)] if sites is None else sites
    settings.setdefault("http", PLAIN_RELAY)
    entries = [entry("main", MAIN_HOST), *sites]
    layout = Layout(folder / "store")
    for each in entries:
        CA.issue(*each.names, *(main_covers if each.site == "main" else ())).write_to(layout.version(each.site, 1))
    layout.snapshot_journal.parent.mkdir(parents=True, exist_ok=True)
    layout.snapshot_journal.write_text("".join(json.dumps(encode_entry(each)) + "\n" for each in entries))
    with listening_socket() as bound:
        port = bound.getsockname()[1]
        listeners = [{"kind": kind, "listen": f"127.0.0.1:{port}", **(listener or {})}]
        whole = Settings.model_validate({"upstream": upstream, "store": "store", "listeners": listeners, **settings})
        master = LeanMaster(options.Options())
        master.addons.add(core.Core(), proxyserver.Proxyserver(), *addons)
        master.options.update(mode=[])
        addon = EdgeAddon(Inherited(whole, folder, (bound,)), may_inspect=may_inspect)
        serving: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        addon.on_serving(lambda fault: serving.set_exception(fault) if fault else serving.set_result(None))
        master.addons.add(addon)
        running = asyncio.create_task(master.run())
        await asyncio.wait_for(serving, 60)
        assert addon.plane is not None
        plane = addon.plane
        edge = Edge(port, plane)
        try:
            yield edge
            for writer in edge.writers:
                writer.transport.abort()
            await wait_for_in_loop(lambda: not plane.connections, "the end of every connection")
            if plane.inspector is not None:
                inspector = inspector_of(plane)
                await wait_for_in_loop(lambda: not inspector.hooks.running, "the end of every hook")
                assert not inspector.connections
                assert not inspector.hooks.injectable
        finally:
            for connection in list(plane.connections):
                connection.abort()
            master.end()
            await running
