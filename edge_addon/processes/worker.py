"""A worker: one process of the data plane, a mitmproxy with the edge addon and little else, on inherited sockets.

It serves until a signal tells it to drain (`SIGTERM`: the service ends, `SIGUSR2`: its replacement serves) or to stop
immediately (`SIGQUIT`), or until its supervisor ends. Reads the store, never writes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal

import uvloop
from mitmproxy import master, options
from mitmproxy.addons import core, proxyserver
from mitmproxy.utils import asyncio_utils

from certstore.store.journal import JournalUnreadable
from edge_addon.addon.edge import Edge, Inherited
from edge_addon.inspection.scripts import load_scripts
from edge_addon.processes.drain import drain
from edge_addon.processes.forking import ParentLink
from edge_addon.processes.metrics_file import MetricsFile

log = logging.getLogger(__name__)

GC_THRESHOLDS = (20_000, 20, 100)
"""Connections are freed by reference counting; the collector only finds exceptions, so it can run rarely."""


class NoLayers:
    """Stands where mitmproxy looks for the addon that chooses its connections' layers, and warns if there is none. Ours
    reach no layer."""

    name = "nextlayer"


class LeanMaster(master.Master):
    """A mitmproxy without the addons that cost a third of each connection, and without its task factory.

    uvloop passes the factory an argument that Python 3.13.0 does not accept; nothing here needs eager tasks.
    """

    async def run(self) -> None:
        with asyncio_utils.install_exception_handler(self._asyncio_exception_handler):
            try:
                await self.running()
                await self.should_exit.wait()
            finally:
                await self.done()

    def end(self) -> None:
        """Stop, for callers on the loop; mitmproxy's `shutdown` is for other threads."""
        self.should_exit.set()


def run(parent: ParentLink, inherited: Inherited) -> int:
    """Serve until stopped; returns the exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(parent, inherited))


async def _serve(parent: ParentLink, inherited: Inherited) -> int:
    return await _Worker(parent, inherited).run()


class _Worker:
    def __init__(self, parent: ParentLink, inherited: Inherited) -> None:
        self._code = 0
        self._parent = parent
        self._drain_seconds = inherited.settings.limits.drain_seconds
        self._master = LeanMaster(options.Options())
        self._master.addons.add(core.Core(), NoLayers(), proxyserver.Proxyserver())
        self._master.options.update(mode=[])
        scripts = inherited.settings.inspection.scripts
        is_whole = not scripts or load_scripts(self._master, inherited.base, scripts)
        self._edge = Edge(inherited, may_inspect=is_whole)
        self._edge.on_serving(self._on_serving)
        self._master.addons.add(self._edge)
        self._drain: asyncio.Task[None] | None = None
        self._metrics_file: MetricsFile | None = None

    async def run(self) -> int:
        """The exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._begin_drain, True)
        loop.add_signal_handler(signal.SIGUSR2, self._begin_drain, False)
        loop.add_signal_handler(signal.SIGQUIT, self._master.end)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
        loop.add_reader(self._parent.lifeline, self._on_supervisor_gone)
        await self._master.run()
        if self._metrics_file is not None:
            self._metrics_file.stop()
        if self._drain is not None:
            self._drain.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._drain
        return self._code

    def _on_serving(self, fault: Exception | None) -> None:
        if fault is not None:
            if isinstance(fault, JournalUnreadable):
                log.error("can't read what to serve: %s", fault)
            else:
                log.error("can't serve", exc_info=fault)
            self._code = 1
            self._master.end()
            return
        # The snapshot and all imports stay: the collector need not traverse 10,000 sites again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        assert self._edge.plane is not None  # noqa: S101
        self._metrics_file = MetricsFile(self._edge.plane)
        self._metrics_file.start()
        self._parent.announce_ready()

    def _begin_drain(self, service_ends: bool) -> None:
        if self._drain is not None:
            return
        if self._edge.plane is None:
            self._master.end()
            return
        stop, announce = self._edge.stop_accepting, self._parent.announce_closed
        draining = drain(self._edge.plane, self._drain_seconds, stop, announce, keeps_health=service_ends)
        self._drain = asyncio.get_running_loop().create_task(draining)
        self._drain.add_done_callback(lambda _: self._master.end())

    def _on_supervisor_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._parent.lifeline)
        log.warning("the supervisor has ended: draining")
        self._begin_drain(True)

    def _reopen_logs(self) -> None:
        if self._edge.plane is not None:
            self._edge.plane.access_log.close()
