"""mitmproxy's hooks: how one worker fires them, and the tasks that wait for their answers.

The documented events of mitmproxy's addons, with flows whose bodies, connections and ends are the relay's. mitmweb's
pause button works because a flow that an addon intercepts is waited for.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from mitmproxy import http
from mitmproxy.proxy import events
from mitmproxy.proxy.commands import StartHook
from mitmproxy.utils import human

if TYPE_CHECKING:
    from mitmproxy.master import Master


class Hooks:
    """Of one worker. `keeps_messages`: a WebSocket's messages stay with their flow, for those who look at flows."""

    def __init__(self, master: Master, *, keeps_messages: bool) -> None:
        self.options = master.options
        self.keeps_messages = keeps_messages
        self.injectable: dict[str, Callable[[events.Event], None]] = {}
        """By the flow's id, the open WebSockets: mitmproxy's command `inject.websocket` sends messages there."""
        self._addons = master.addons
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Tasks that have not ended."""
        return len(self._tasks)

    @property
    def stores_bodies(self) -> bool:
        """The user wants to see bodies that stream, too."""
        return bool(self.options.store_streamed_bodies)

    @property
    def body_limit(self) -> float:
        """The most bytes of a body that an addon asked to have whole."""
        limit = human.parse_size(self.options.body_size_limit)
        return math.inf if limit is None else limit

    def run(self, work: Coroutine[None, None, None], *, at_once: bool = True) -> asyncio.Task[None]:
        """Own a task until it ends. `at_once`: it runs up to its first wait before this returns."""
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=at_once)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    async def fire(self, hook: StartHook) -> None:
        """Call the hook in every addon. A fault of an addon is logged by mitmproxy and stops nothing."""
        await self._addons.handle_lifecycle(hook)

    async def tell(self, hook: StartHook, flow: http.HTTPFlow) -> None:
        """Fire a flow's hook, and wait until the user lets the flow go on where it was intercepted."""
        await self._addons.handle_lifecycle(hook)
        if flow.intercepted:
            await flow.wait_for_resume()

    async def server_event(self, event: events.Event) -> None:
        """What mitmproxy calls for a connection: a message that the user injects."""
        if isinstance(event, events.MessageInjected) and (feed := self.injectable.get(event.flow.id)) is not None:
            feed(event)

    def stop(self) -> None:
        """Cancel what still runs."""
        for task in self._tasks:
            task.cancel()
