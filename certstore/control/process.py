"""The control process: the one writer of its store.

One asyncio loop serves the control socket; verbs run on one writer thread, in turn. What is under way when SIGTERM
comes is finished. Contents of files are never logged, nor are messages of unforeseen exceptions, which could hold some.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from certstore.control import protocol
from certstore.control.commands.on_people import People
from certstore.control.commands.requests import CommandRequest, Perform
from certstore.control.commands.results import CommandResult
from certstore.control.commands.table import Runs, parse, perform, runs
from certstore.control.dispatch import acquire_writer
from certstore.control.local_socket import bind_private, peer_pid_and_uid
from certstore.control.protocol import Answer, Fault, Progress, Request, RequestFailed, Result
from certstore.model.layout import Layout
from certstore.model.progress import Tell, tell_nobody
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreWriter
from certstore.watch.watcher import DropWatcher

if TYPE_CHECKING:
    from certstore.control.upkeep import Upkeep
    from certstore.people.access import Access

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
"""A request has to be complete, and an answer taken, within this time."""

HEARTBEAT_SECONDS = 10.0
"""While a verb waits or works, its client hears at least so often that it does (client.SILENCE_SECONDS is longer)."""

FIRST_CHECK_SECONDS = 5.0
"""How long the very first start waits for the drops that are there already."""

SOCKET_SECONDS = 5.0
"""How soon a socket that was taken away is there again."""

CONNECTIONS = 32


class CannotServe(Exception):
    """Control can't begin; the message says why and, where it is known, who is in the way."""


class Console(Protocol):
    """The console, served for as long as the context lasts. What it can't have it logs, and raises nothing for it.

    `perform` may be called from any thread but the loop's; `upkeep` gives None where orders and warnings could not
    begin.
    """

    def __call__(
        self,
        writer: StoreWriter,
        settings: Settings,
        base: Path,
        access: Access,
        perform: Perform,
        upkeep: Callable[[], Upkeep | None],
    ) -> AbstractAsyncContextManager[None]: ...


def run_control(
    settings: Settings, base: Path, *, console: Console | None = None, ready: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once the store is whole and the socket listens.

    Raises CannotServe. Runs on the main thread, as it takes over these signals.
    """
    if not logging.getLogger().handlers:
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    with ThreadPoolExecutor(1, thread_name_prefix="writer") as writer_thread:
        asyncio.run(_serve_until_stopped(settings, base, console, ready, writer_thread))


async def _serve_until_stopped(
    settings: Settings,
    base: Path,
    console: Console | None,
    ready: Callable[[], None],
    writer_thread: ThreadPoolExecutor,
) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # Meant for the supervisor, which replaces this process when settings have changed.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    # Read before the store is opened, which makes it. Later on workers serve what was live before, from the start.
    is_first_start = not Layout(base / settings.store).snapshot_journal.exists()
    writer = await loop.run_in_executor(writer_thread, _acquire, settings, base)
    try:
        control = _Control(writer, writer_thread)
        async with control.listening(), control.watching(settings.sweep_seconds) as watcher:
            if is_first_start:
                await _first_check(watcher)
            logger.info("control is ready on %s", writer.layout.root)
            ready()
            async with control.caring(settings, base), control.receiving(settings, base, console):
                await stopping.wait()
                logger.info("control is stopping")
    finally:
        await loop.run_in_executor(writer_thread, writer.close)


async def _first_check(watcher: DropWatcher) -> None:
    """Let the drops that wait be taken in before the first client comes, so that none gets main in their place.

    Bounded: thousands of them go on in the background, as do those that have not settled.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_CHECK_SECONDS):
            while not watcher.is_idle:  # noqa: ASYNC110  it works in threads and knows of no loop
                await asyncio.sleep(0.01)


def _acquire(settings: Settings, base: Path) -> StoreWriter:
    try:
        return acquire_writer(settings, base)
    except RequestFailed as failure:
        raise CannotServe(str(failure)) from None


class _Control:
    """The faces of one writer, which takes one at a time: the requests of the socket, the drops of the watcher."""

    def __init__(self, writer: StoreWriter, writer_thread: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._thread = writer_thread
        self._loop = asyncio.get_running_loop()
        self._owner = writer.layout.root.stat().st_uid
        self._connections: set[asyncio.Task[None]] = set()
        self._performing: set[asyncio.Task[None]] = set()
        self._upkeep: asyncio.Future[Upkeep | None] = self._loop.create_future()
        self._access: asyncio.Future[Access | None] = self._loop.create_future()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """The socket, its connections, and their orderly end: idle ones are closed, working ones finish."""
        layout = self._writer.layout
        await self._listen()
        keeping = asyncio.create_task(self._keep_listening(), name="control-socket")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            # A client that comes from now on finds no control and waits for the lock.
            with contextlib.suppress(OSError):
                layout.control_socket.unlink(missing_ok=True)
            self._server.close()
            for task in self._connections - self._performing:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _listen(self) -> None:
        """Raises CannotServe."""
        layout = self._writer.layout
        try:
            listener = bind_private(layout.control_socket, layout.temporary / layout.control_socket.name)
        except OSError as error:
            raise CannotServe(f"{layout.control_socket} can't be made: {error.strerror}") from error
        self._server = await asyncio.start_unix_server(self._converse, sock=listener, limit=protocol.REQUEST_LIMIT)
        self._socket_file = _file_at(layout.control_socket)

    async def _keep_listening(self) -> None:
        """A socket that somebody removed or replaced, cleaning up or restoring a copy, is made anew: without it no
        command would reach control until the next restart. The lock says who the one writer is, not this file.
        """
        path, is_said = self._writer.layout.control_socket, False
        while True:
            await asyncio.sleep(SOCKET_SECONDS)
            if _file_at(path) == self._socket_file:
                continue
            before = self._server
            try:
                await self._listen()
            except CannotServe as error:
                if not is_said:
                    logger.error("no command reaches control: %s", error)
                is_said = True
                continue
            before.close()
            is_said = False
            logger.warning("%s was gone or replaced: it is made anew", path)

    @contextlib.asynccontextmanager
    async def watching(self, sweep_seconds: float) -> AsyncIterator[DropWatcher]:
        """Drops are taken in, on the watcher's own thread; at the end the one under way is finished."""
        watcher = DropWatcher(self._writer, scan_seconds=sweep_seconds)
        watcher.start()
        try:
            yield watcher
        finally:
            await asyncio.to_thread(watcher.stop)

    @contextlib.asynccontextmanager
    async def caring(self, settings: Settings, base: Path) -> AsyncIterator[None]:
        """Orders, renewal and warnings. Begun when all else is ready: its imports take as long as a start may.

        Where they can't begin, certificates are taken in and served all the same.
        """
        try:
            upkeep = await asyncio.to_thread(_start_upkeep, self._writer, settings, base)
        except Exception as error:  # noqa: BLE001  whatever it is, drops have to be taken in
            where = "".join(traceback.format_tb(error.__traceback__))
            # The message of another exception could hold what must not be logged.
            found = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else type(error).__name__
            logger.error("no certificate is ordered or renewed: %s at\n%s", found, where)
            self._upkeep.set_result(None)
            yield
            return
        self._upkeep.set_result(upkeep)
        try:
            yield
        finally:
            await asyncio.to_thread(upkeep.stop)

    @contextlib.asynccontextmanager
    async def receiving(self, settings: Settings, base: Path, console: Console | None) -> AsyncIterator[None]:
        """Users and tokens, and the console: begun last and ended first. Without them everything else goes on."""
        async with contextlib.AsyncExitStack() as stack:
            access: Access | None = None
            try:
                access = stack.enter_context(await asyncio.to_thread(_open_access, self._writer))
            except OSError as error:
                found = f"{error.filename}: {error.strerror}" if error.filename else str(error)
                logger.error("there is no console, as users and tokens can't be read: %s", found)
            self._access.set_result(access)
            if access is not None and console is not None:
                beside = console(self._writer, settings, base, access, self._perform_from_thread, self._upkeep.result)
                await stack.enter_async_context(beside)
            yield

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer; whatever the other side does, this ends."""
        task = _this_task()
        self._connections.add(task)
        try:
            answer = await self._answer(reader, writer)
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(protocol.encode_answer(answer))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except OSError:
            pass  # it went away, or takes no answer: what was done stays done
        except asyncio.CancelledError:
            # By `listening`, its only owner, while it waits for a request: nothing has been done.
            writer.write(
                protocol.encode_answer(RequestFailed(Fault.BUSY, "the control process is ending", "try again"))
            )
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        pid, uid = peer_pid_and_uid(writer.get_extra_info("socket"))
        if uid not in (0, self._owner):
            logger.warning("control socket: refused process %d of uid %d", pid, uid)
            return RequestFailed(
                Fault.FORBIDDEN, f"uid {uid} is neither root nor the store's owner (uid {self._owner})"
            )
        if len(self._connections) > CONNECTIONS:
            return RequestFailed(Fault.BUSY, f"{CONNECTIONS} requests are under way", "try again in a moment")
        try:
            request = protocol.decode_request(await _read_line(reader))
        except RequestFailed as failure:
            logger.warning("control socket: process %d sent no usable request: %s", pid, failure.found)
            return failure
        task = _this_task()
        self._performing.add(task)
        try:
            return await self._perform(request, writer)
        except RequestFailed as failure:
            return failure
        finally:
            self._performing.discard(task)

    async def _perform(self, request: Request, writer: asyncio.StreamWriter) -> Answer:
        def tell(message: str) -> None:
            self._loop.call_soon_threadsafe(_tell, writer, Progress(message))

        work = asyncio.ensure_future(self._performed(parse(request), tell))
        while True:
            done, _ = await asyncio.wait([work], timeout=HEARTBEAT_SECONDS)
            if done:
                return Result(work.result().to_json())
            _tell(writer, Progress("still at work"))

    async def _performed[R: CommandResult](self, request: CommandRequest[R], tell: Tell) -> R:
        """On the writer's thread, which is for everybody, only what needs no more than the writer."""
        match runs(request):
            case Runs.WRITER:
                return await self._loop.run_in_executor(self._thread, perform, self._writer, request, tell)
            case Runs.NETWORK:
                upkeep = await self._upkeep
                if upkeep is None:
                    found = "orders and warnings could not begin"
                    raise RequestFailed(Fault.INTERNAL, found, "the log of control says why")
                return await asyncio.to_thread(perform, upkeep, request, tell)
            case Runs.PEOPLE:
                access = await self._access
                if access is None:
                    found = "users and tokens can't be read or written"
                    raise RequestFailed(Fault.STORAGE, found, "the log of control says why")
                return await asyncio.to_thread(perform, People(access, self._writer), request, tell)

    def _perform_from_thread[R: CommandResult](self, request: CommandRequest[R], tell: Tell = tell_nobody) -> R:
        """`requests.Perform` for the console, whose pages and API wait on threads of their own."""
        return asyncio.run_coroutine_threadsafe(self._performed(request, tell), self._loop).result()


def _open_access(writer: StoreWriter) -> contextlib.AbstractContextManager[Access]:
    from certstore.people.access import Access

    return Access.opened(writer.layout)


def _start_upkeep(writer: StoreWriter, settings: Settings, base: Path) -> Upkeep:
    from certstore.control.upkeep import Upkeep

    upkeep = Upkeep(writer, settings, base)
    upkeep.start()
    return upkeep


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """One whole line in time; raises VerbFailed."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            line = await reader.readline()
    except ValueError:
        # StreamReader's word for a line beyond its limit. What follows is left unread: the connection ends.
        raise protocol.too_large() from None
    except TimeoutError:
        raise RequestFailed(Fault.BAD_REQUEST, f"no complete line within {REQUEST_SECONDS:.0f} seconds") from None
    if not line:
        raise ConnectionResetError("somebody only looked whether we are there")
    if not line.endswith(b"\n"):
        raise RequestFailed(Fault.BAD_REQUEST, "the connection ended before the line did")
    return line


def _tell(writer: asyncio.StreamWriter, progress: Progress) -> None:
    """Progress is a courtesy: it is not waited for, and a client that does not read gets no more of it."""
    if not writer.is_closing() and writer.transport.get_write_buffer_size() == 0:
        writer.write(protocol.encode_answer(progress))


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file is there, whatever it is called."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None, "coroutines run in tasks"  # noqa: S101
    return task
