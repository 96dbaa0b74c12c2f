"""The mitmproxy addon: starts the edge's listeners inside mitmproxy, or serves its certificates in a mode of your own.

One class for three uses. In a worker it gets settings and sockets (`Inherited`). In mitmdump or mitmweb it reads the
option `edge_config`: without a mode of yours it binds the listeners and processes drops itself (`standalone`); with one
it starts no listeners and only answers mitmproxy's hooks (`hooks`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitmproxy import connection, ctx, optmanager
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import mode_specs

from certstore.control.protocol import RequestFailed
from certstore.model.layout import Layout
from certstore.model.settings.models import ListenerKind, Settings
from certstore.store.journal import JournalReader, JournalUnreadable
from edge_addon.addon.mode import PREFIX, EdgeMode, mode_spec
from edge_addon.inspection.inspector import Inspector
from edge_addon.listeners.accept_balance import AcceptBalance
from edge_addon.listeners.listening import ListeningSockets
from edge_addon.listeners.sessions import connection_factory
from edge_addon.listeners.sockets import BACKLOG, CannotListen
from edge_addon.plane.connection_counts import Tally
from edge_addon.plane.data_plane import DataPlane
from edge_addon.settings_file import BadSettings, load_settings
from edge_addon.transport.served_contexts import ServedContexts

if TYPE_CHECKING:
    from edge_addon.addon.standalone import DropProcessor

log = logging.getLogger(__name__)

FORWARD_PROXY_WARNING = (
    "started without -n: mitmproxy opens its own forward proxy on port %s until the edge's listeners replace it."
    " The edge lets nobody through it; start with -n to avoid it"
)


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a worker has before mitmproxy starts; `sockets` are in the order of `settings.listeners`."""

    settings: Settings
    base: Path
    sockets: tuple[socket.socket, ...] = field(repr=False)
    contexts: ServedContexts | None = field(default=None, repr=False)
    """Built before the fork, so that all workers share ticket keys."""
    tally: Tally | None = field(default=None, repr=False)
    """This worker's part of the connection counts."""
    seconds: Mapping[int, socket.socket] = field(default_factory=dict, repr=False)
    """The second sockets of listeners that take IPv4 and IPv6 on one each, by the listener's index."""


class Edge:
    """mitmproxy calls it `edge`. The methods without a docstring handle mitmproxy's events."""

    def __init__(self, inherited: Inherited | None = None, *, may_inspect: bool = True) -> None:
        """`may_inspect`: False when an inspection script did not load."""
        self.addons: list[Any] = []
        self.plane: DataPlane | None = None
        self._inherited = inherited
        self._is_worker = inherited is not None
        self._may_inspect = may_inspect
        self._inspector: Inspector | None = None
        self._drop_processor: DropProcessor | None = None
        self._bound: ListeningSockets | None = None
        self._servers: dict[int, list[asyncio.Server]] = {}
        self._accept_balance: AcceptBalance | None = None
        """None when there is only one worker."""
        self._blocks_forward_proxy = False
        self._on_serving: Callable[[Exception | None], None] = lambda _: None

    def on_serving(self, callback: Callable[[Exception | None], None]) -> None:
        """Call back once every listener accepts connections, or with the error of the first one that can't."""
        self._on_serving = callback

    def load(self, loader: Loader) -> None:
        loader.add_option("edge_config", str, "", "The path of edge.yaml, the settings of the certificate edge.")
        if self._inherited is None and ctx.options.server and not _has_own_mode():
            self._blocks_forward_proxy = True
            log.warning(FORWARD_PROXY_WARNING, ctx.options.listen_port or 8080)

    def client_connected(self, client: connection.Client) -> None:
        if self._blocks_forward_proxy and isinstance(client.proxy_mode, mode_specs.RegularMode):
            client.error = "the certificate edge is not a forward proxy"

    def running(self) -> None:
        if self._inherited is not None:
            try:
                self._serve_with(self._inherited)
            except Exception as error:  # noqa: BLE001  mitmproxy would log it and run without listeners
                self._on_serving(error)
            return
        # mitmproxy exits when an error is logged during its start, so it never seems to serve when it does not.
        if not ctx.options.edge_config:
            log.error("the certificate edge needs its settings: --set edge_config=edge.yaml")
            return
        config = Path(ctx.options.edge_config).expanduser()
        try:
            settings = load_settings(config)
            if _has_own_mode():
                self._register_hooks(settings, config.parent)
            else:
                self._serve_standalone(settings, config.parent)
        except (BadSettings, CannotListen, JournalUnreadable, RequestFailed, OSError) as error:
            log.error("the certificate edge does not start: %s", error)

    def done(self) -> None:
        if self._bound is not None and not ctx.master.should_exit.is_set():
            # mitmproxy is reloading the script: it would keep servers with the same mode names, on closed sockets.
            ctx.options.update(mode=[])
        self.stop_accepting()
        if self.plane is not None:
            for each in list(self.plane.connections):
                each.abort()
            if self._inspector is not None:
                self._inspector.stop()
            self.plane.stop()
        if self._drop_processor is not None:
            self._drop_processor.stop()
        if self._bound is not None:
            self._bound.close()

    async def serve(self, mode: EdgeMode) -> list[asyncio.Server]:
        """Accept on the sockets of the mode's listener; called by its `EdgeServer`."""
        index = mode.index
        inherited, plane = self._inherited, self.plane
        assert inherited is not None and plane is not None, "modes are set after both"  # noqa: S101, PT018
        listener = inherited.settings.listeners[index]
        if self._inspector is not None:
            self._inspector.know_mode(listener, mode)
        sockets = [inherited.sockets[index]]
        if (second := inherited.seconds.get(index)) is not None:
            sockets.append(second)
        servers: list[asyncio.Server] = []
        try:
            for each in sockets:
                factory = connection_factory(plane, listener)
                servers.append(await plane.loop.create_server(factory, sock=each, backlog=BACKLOG))
        except Exception as error:
            self._on_serving(error)
            raise
        self._servers[index] = servers
        if self._accept_balance is not None:
            for each in sockets:
                self._accept_balance.watch(each)
        if len(self._servers) == len(inherited.settings.listeners):
            self._on_serving(None)
        return servers

    def stop_accepting(self, *, keeps_health: bool = False) -> None:
        """Close the listening sockets of this process; with `keeps_health` all but the health listeners."""
        settings = self._inherited.settings if self._inherited is not None else None
        if self._accept_balance is not None:
            self._accept_balance.stop()
        for index, servers in list(self._servers.items()):
            if keeps_health and settings is not None and settings.listeners[index].kind is ListenerKind.HEALTH:
                continue
            for server in servers:
                server.close()
            del self._servers[index]

    def _serve_standalone(self, settings: Settings, base: Path) -> None:
        from edge_addon.addon.standalone import DropProcessor  # workers do not need it

        self._bound = ListeningSockets()
        self._bound.adopt(settings.listeners)
        self._drop_processor = DropProcessor.start(settings, base)
        self._inherited = Inherited(settings, base, self._bound.listening, seconds=self._bound.seconds)
        self._serve_with(self._inherited)

    def _serve_with(self, inherited: Inherited) -> None:
        self.plane = DataPlane(
            inherited.settings,
            inherited.base,
            JournalReader(Layout(inherited.base / inherited.settings.store)),
            contexts=inherited.contexts,
            tally=inherited.tally,
        )
        self.plane.start()
        if inherited.tally is not None and inherited.settings.workers != 1:
            self._accept_balance = AcceptBalance(self.plane.loop, inherited.tally)
        if self._may_inspect:
            self.plane.inspector = self._inspector = Inspector(
                ctx.master, self.plane, keeps_messages=not self._is_worker
            )
            if not self._is_worker:
                # Clients connect from anywhere, which mitmproxy refuses by default.
                ctx.options.update(block_global=False)
        if not inherited.settings.listeners:
            self._on_serving(None)
        specs = [mode_spec(index, *each.getsockname()[:2]) for index, each in enumerate(inherited.sockets)]
        ctx.options.update(mode=specs, server=True)

    def _register_hooks(self, settings: Settings, base: Path) -> None:
        from edge_addon.addon.hooks import EdgeHooks
        from edge_addon.addon.standalone import DropProcessor

        self._drop_processor = DropProcessor.start(settings, base)
        self.plane = DataPlane(settings, base, JournalReader(Layout(base / settings.store)))
        self.plane.start()
        hooks = EdgeHooks(self.plane)
        ctx.master.addons.register(hooks)
        self.addons.append(hooks)
        log.info("the edge starts no listeners: it serves its certificates in mode %s", ", ".join(ctx.options.mode))
        if not ctx.options.keep_host_header and any(mode.startswith("reverse:") for mode in ctx.options.mode):
            log.warning(
                "mitmproxy overwrites the host of requests, so the edge can't refuse one that came over another site's"
                " certificate, and the upstream can't tell which site is meant: start with --set keep_host_header=true"
            )


def _has_own_mode() -> bool:
    """Whether you chose a mode, even the default one. Modes that we set before a reload of the script don't count."""
    if not ctx.options.mode or any(mode.startswith(PREFIX) for mode in ctx.options.mode):
        return False
    # Only the stored value distinguishes `--mode regular` from no mode at all.
    option = ctx.options._options["mode"]
    return option.value is not optmanager.unset
