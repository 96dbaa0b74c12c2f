"""The server mode `edge` inside mitmproxy: one instance per listener, on a socket that is already bound.

Defining the two mode classes registers them with mitmproxy, so this module must be imported before an option names the
mode: `edge:INDEX@HOST:PORT`, where INDEX counts the listeners in edge.yaml. The addon accepts the connections; they do
not reach mitmproxy's layers from here.
"""

from __future__ import annotations

import asyncio

from mitmproxy import ctx
from mitmproxy.proxy import mode_servers, mode_specs
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode

PREFIX = "edge:"


def mode_spec(index: int, host: str, port: int) -> str:
    """The mode of the listener with this index. IPv6 hosts have no brackets: mitmproxy would try to bind them."""
    return f"{PREFIX}{index}@{host}:{port}"


class EdgeMode(mode_specs.ProxyMode):
    """The mode of one listener. mitmproxy derives its name, `edge`, from that of the class."""

    description = "certificate edge"
    transport_protocol = mode_specs.TCP

    def __post_init__(self) -> None:
        if not self.data.isascii() or not self.data.isdigit():
            raise ValueError("expected edge:INDEX@HOST:PORT; the addon sets it from edge.yaml")

    @property
    def index(self) -> int:
        return int(self.data)


class EdgeServer(mode_servers.AsyncioServerInstance[EdgeMode]):
    """Serves one listener. mitmproxy starts and stops it like its own servers."""

    async def listen(self, host: str, port: int) -> list[asyncio.Server]:  # type: ignore[override]
        return list(await ctx.master.addons.get("edge").serve(self.mode))

    def make_top_layer(self, context: Context) -> Layer:
        """The layer for a connection of this mode: HTTP, already decrypted."""
        return HttpLayer(context, HTTPMode.transparent)
