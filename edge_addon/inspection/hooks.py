"""How one worker fires mitmproxy's hooks, and the tasks that wait for them.

Addons get the events that mitmproxy documents for HTTP, WebSockets and client connections. A flow that an addon or the
user of mitmweb intercepts waits until it is resumed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from mitmproxy import http
from mitmproxy.proxy import events
from mitmproxy.proxy.commands import StartHook
from mitmproxy.utils import human

if TYPE_CHECKING:
    from mitmproxy.master import Master

log = logging.getLogger(__name__)

WHOLE_BODY_BYTES = 64 << 20
"""The largest body that an addon gets as a whole, unless mitmproxy's option `body_size_limit` is set."""
LATE_SECONDS = 60.0
"""How long a hook may go on once nobody waits for it. Without an end, each request to it would leave a task behind."""


class Hooks:
    """The hooks of one worker. `keeps_messages`: flows keep all messages of WebSockets, for users who look at them."""

    def __init__(self, master: Master, *, keeps_messages: bool, count: Callable[[str], None]) -> None:
        """`count`: increments a counter of the worker."""
        self._count = count
        self.options = master.options
        self.keeps_messages = keeps_messages
        self.injectable: dict[str, Callable[[events.Event], None]] = {}
        """Open WebSockets by the id of their flow: mitmproxy's command `inject.websocket` sends messages to them."""
        self._addons = master.addons
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """The number of tasks that have not ended."""
        return len(self._tasks)

    @property
    def stores_bodies(self) -> bool:
        """Whether flows keep streamed bodies too."""
        return bool(self.options.store_streamed_bodies)

    @property
    def body_limit(self) -> int:
        """The largest body or WebSocket message, in bytes, that an addon may ask for as a whole."""
        limit = human.parse_size(self.options.body_size_limit)
        return WHOLE_BODY_BYTES if limit is None else limit

    def run(self, work: Coroutine[None, None, None], *, at_once: bool = True) -> asyncio.Task[None]:
        """Start a task and own it until it ends. `at_once`: run it up to its first wait before this returns."""
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=at_once)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    def give_up(self, task: asyncio.Task[None] | None) -> None:
        """Nobody waits for this task any longer: it gets a while to end by itself."""
        if task is not None and not task.done() and task is not asyncio.current_task():
            asyncio.get_running_loop().call_later(LATE_SECONDS, self._cancel, task)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            self._count("inspection_hook_cancelled")
            log.error("inspection: a hook of an addon has not returned for %g s; it was cancelled", LATE_SECONDS)
            task.cancel()

    async def fire(self, hook: StartHook) -> None:
        """Call the hook in every addon. mitmproxy logs the faults of addons; they stop nothing."""
        await self._addons.handle_lifecycle(hook)

    async def tell(self, hook: StartHook, flow: http.HTTPFlow) -> None:
        """Fire a flow's hook. If the flow is intercepted then, wait until the user resumes it."""
        await self._addons.handle_lifecycle(hook)
        if flow.intercepted:
            await flow.wait_for_resume()

    async def server_event(self, event: events.Event) -> None:
        """Called by mitmproxy with a message that the user injects into a connection."""
        if isinstance(event, events.MessageInjected) and (feed := self.injectable.get(event.flow.id)) is not None:
            feed(event)

    def stop(self) -> None:
        """Cancel the tasks that still run."""
        for task in self._tasks:
            task.cancel()
