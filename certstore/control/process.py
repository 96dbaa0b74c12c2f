"""The control process: the one writer of its store.

One asyncio loop serves the control socket; commands on the store run one after the other on one writer thread. SIGTERM
lets running commands finish. Contents of files are never logged, nor are the messages of unforeseen exceptions, which
could quote them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from certstore.control import protocol
from certstore.control.audit_trail import AuditTrail, entries_of_command, settings_applied
from certstore.control.cluster import Part, taking_part
from certstore.control.commands.on_people import People
from certstore.control.commands.on_revocation import exposed_keys
from certstore.control.commands.requests import CommandRequest
from certstore.control.commands.results import CommandResult
from certstore.control.commands.table import Runs, parse, perform, runs
from certstore.control.console import Console, ConsoleContext
from certstore.control.dispatch import acquire_writer
from certstore.control.fault import describe
from certstore.control.local_socket import bind_private, peer_pid_and_uid
from certstore.control.origin import unix_user
from certstore.control.protocol import Answer, Fault, Progress, Request, RequestFailed, Result
from certstore.files.clock import utc_now
from certstore.model.layout import Layout
from certstore.model.progress import Tell, tell_nobody
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreWriter
from certstore.watch.watcher import DropWatcher

if TYPE_CHECKING:
    from certstore.control.upkeep import Upkeep
    from certstore.people.access import Access
    from certstore.people.audit import Audit

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
"""How long a client may take to send a request or to receive an answer."""

HEARTBEAT_SECONDS = 10.0
"""How often a waiting client is sent a sign of life; client.SILENCE_SECONDS is longer."""

FIRST_CHECK_SECONDS = 5.0
"""How long the very first start waits until existing drops are imported."""

SOCKET_SECONDS = 5.0
"""How soon a removed socket is created again."""

CONNECTIONS = 32


class CannotServe(Exception):
    """Control can't start; the message says why and, if known, which process prevents it."""


def run_control(
    settings: Settings,
    base: Path,
    *,
    console: Console | None = None,
    ready: Callable[[], None] = lambda: None,
    applied: str = "",
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once the store is open and the socket listens.

    `applied` names edge.yaml for the audit log if this start applies a change of it.

    Raises CannotServe. Must run on the main thread, because it handles these signals.
    """
    if not logging.getLogger().handlers:
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    with ThreadPoolExecutor(1, thread_name_prefix="writer") as writer_thread:
        asyncio.run(_serve_until_stopped(settings, base, console, ready, writer_thread, applied))


async def _serve_until_stopped(
    settings: Settings,
    base: Path,
    console: Console | None,
    ready: Callable[[], None],
    writer_thread: ThreadPoolExecutor,
    applied: str,
) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # SIGHUP is for the supervisor, which replaces this process when the settings have changed.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    # Checked before the store is opened, which creates it. On later starts workers serve what was live before.
    is_first_start = not Layout(base / settings.store).snapshot_journal.exists()
    writer = await loop.run_in_executor(writer_thread, _acquire, settings, base)
    trail = AuditTrail()
    if applied:
        trail.note([settings_applied(applied)])
    try:
        control = _Control(writer, writer_thread, trail)
        async with control.listening(), control.watching(settings.sweep_seconds) as watcher:
            if is_first_start:
                await _first_check(watcher)
            logger.info("control is ready on %s", writer.layout.root)
            ready()
            async with (
                taking_part(writer, settings, base) as part,
                control.caring(settings, base, part),
                control.receiving(settings, base, console),
            ):
                await stopping.wait()
                logger.info("control is stopping")
    finally:
        await asyncio.to_thread(trail.close)
        await loop.run_in_executor(writer_thread, writer.close)


async def _first_check(watcher: DropWatcher) -> None:
    """Import waiting drops before the first client comes, so that none gets the main certificate instead.

    The wait is bounded: thousands of drops, and those that have not settled, are imported in the background.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_CHECK_SECONDS):
            while not watcher.is_idle:  # noqa: ASYNC110  the watcher works in threads and knows no loop
                await asyncio.sleep(0.01)


def _acquire(settings: Settings, base: Path) -> StoreWriter:
    try:
        return acquire_writer(settings, base)
    except RequestFailed as failure:
        raise CannotServe(str(failure)) from None


class _Control:
    """All that uses the one writer: the requests of the socket, the drops of the watcher, upkeep and console."""

    def __init__(self, writer: StoreWriter, writer_thread: ThreadPoolExecutor, trail: AuditTrail) -> None:
        self._writer = writer
        self._thread = writer_thread
        # Apart from the loop's own threads: commands that wait for somebody's servers must not delay all others.
        self._network = ThreadPoolExecutor(CONNECTIONS, "network")
        self._loop = asyncio.get_running_loop()
        self._owner = writer.layout.root.stat().st_uid
        self._connections: set[asyncio.Task[None]] = set()
        self._performing: set[asyncio.Task[None]] = set()
        self._upkeep: asyncio.Future[Upkeep | None] = self._loop.create_future()
        self._people: asyncio.Future[People | None] = self._loop.create_future()
        self._trail = trail
        writer.on_record(trail.note_record)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """The socket and its connections. At the end idle ones are closed, and working ones finish."""
        layout = self._writer.layout
        await self._listen()
        keeping = asyncio.create_task(self._keep_listening(), name="control-socket")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            # From now on a client finds no control and waits for the lock.
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
            raise CannotServe(f"{layout.control_socket} can't be created: {error.strerror}") from error
        self._server = await asyncio.start_unix_server(self._converse, sock=listener, limit=protocol.REQUEST_LIMIT)
        self._socket_file = _file_at(layout.control_socket)

    async def _keep_listening(self) -> None:
        """Create the socket again if it was removed or replaced, by a clean-up or a restored copy: without it no
        command would reach control until the next restart. The lock decides who the one writer is, not this file.
        """
        path, is_logged = self._writer.layout.control_socket, False
        while True:
            await asyncio.sleep(SOCKET_SECONDS)
            if _file_at(path) == self._socket_file:
                continue
            before = self._server
            try:
                await self._listen()
            except CannotServe as error:
                if not is_logged:
                    logger.error("commands can't reach control: %s", error)
                is_logged = True
                continue
            before.close()
            is_logged = False
            logger.warning("%s was removed or replaced: it has been created again", path)

    @contextlib.asynccontextmanager
    async def watching(self, sweep_seconds: float) -> AsyncIterator[DropWatcher]:
        """Imports drops on the watcher's thread; at the end the current one is finished."""
        watcher = DropWatcher(self._writer, scan_seconds=sweep_seconds)
        watcher.start()
        try:
            yield watcher
        finally:
            await asyncio.to_thread(watcher.stop)

    @contextlib.asynccontextmanager
    async def caring(self, settings: Settings, base: Path, part: Part) -> AsyncIterator[None]:
        """Orders, renewal and warnings. Started last, because their imports take as long as all else.

        If they can't start, certificates are still imported and served.
        """
        try:
            upkeep = await asyncio.to_thread(_start_upkeep, self._writer, settings, base, part)
        except Exception as error:  # noqa: BLE001  drops must be imported in any case
            logger.error("certificates are not ordered or renewed: %s", describe(error))
            self._upkeep.set_result(None)
            yield
            return
        self._upkeep.set_result(upkeep)
        exposed = exposed_keys(upkeep, part.duty) if settings.cluster is not None else None
        if exposed is not None:
            exposed.start()
        try:
            yield
        finally:
            if exposed is not None:
                await asyncio.to_thread(exposed.stop)
            await asyncio.to_thread(upkeep.stop)

    @contextlib.asynccontextmanager
    async def receiving(self, settings: Settings, base: Path, console: Console | None) -> AsyncIterator[None]:
        """Users and tokens, and the console: started last and stopped first. Everything else works without them."""
        async with contextlib.AsyncExitStack() as stack:
            access: Access | None = None
            try:
                access = stack.enter_context(await asyncio.to_thread(_open_access, self._writer))
            except Exception as error:  # noqa: BLE001  certificates are imported, renewed and served without users
                logger.error("there is no console, as users and tokens can't be read: %s", describe(error))
            self._trail.attach(access.audit if access is not None else _audit_alone(self._writer))
            self._people.set_result(People(access, self._writer) if access is not None else None)
            if access is not None and console is not None:
                perform, upkeep = self._perform_from_thread, self._upkeep.result
                context = ConsoleContext(self._writer, settings, base, perform, upkeep)
                await stack.enter_async_context(console(context, access))
            yield

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and one answer, within bounded time."""
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
            pass  # the client is gone; the change stays
        except asyncio.CancelledError:
            # Cancelled by `listening`, while waiting for a request: nothing has been done.
            writer.write(
                protocol.encode_answer(RequestFailed(Fault.BUSY, "the control process is stopping", "try again"))
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
            return RequestFailed(Fault.BUSY, f"{CONNECTIONS} requests are running already", "try again in a moment")
        try:
            request = protocol.decode_request(await _read_line(reader))
        except RequestFailed as failure:
            logger.warning("control socket: process %d sent no usable request: %s", pid, failure.found)
            return failure
        task = _this_task()
        self._performing.add(task)
        try:
            return await self._perform(request, writer, unix_user(uid, request.signed_in))
        except RequestFailed as failure:
            return failure
        finally:
            self._performing.discard(task)

    async def _perform(self, request: Request, writer: asyncio.StreamWriter, who: str) -> Answer:
        def tell(message: str) -> None:
            self._loop.call_soon_threadsafe(_tell, writer, Progress(message))

        work = asyncio.ensure_future(self._audited(who, parse(request), tell))
        while True:
            done, _ = await asyncio.wait([work], timeout=HEARTBEAT_SECONDS)
            if done:
                return Result(work.result().to_json())
            _tell(writer, Progress("still working"))

    async def _audited[R: CommandResult](self, who: str, request: CommandRequest[R], tell: Tell) -> R:
        """A command of the command line, which the console's actions are not."""
        try:
            result = await self._performed(request, tell)
        except RequestFailed as failure:
            self._trail.note(entries_of_command(who, request, failure))
            raise
        self._trail.note(entries_of_command(who, request, result))
        return result

    async def _performed[R: CommandResult](self, request: CommandRequest[R], tell: Tell) -> R:
        """Only commands that need no more than the writer run on its thread, which all of them share."""
        if runs(request) is Runs.WRITER:
            return await self._loop.run_in_executor(self._thread, perform, self._writer, request, tell)
        if runs(request) is Runs.FILES:
            return await asyncio.to_thread(perform, self._writer, request, tell)
        on: Upkeep | People | None
        threads: ThreadPoolExecutor | None
        if runs(request) is Runs.NETWORK:
            on, threads = await self._upkeep, self._network
            fault, found = Fault.INTERNAL, "orders and warnings could not start"
        else:
            on, threads = await self._people, None
            fault, found = Fault.STORAGE, "users and tokens can't be read or written"
        if on is None:
            raise RequestFailed(fault, found, "the log of control says why")
        return await self._loop.run_in_executor(threads, perform, on, request, tell)

    def _perform_from_thread[R: CommandResult](self, request: CommandRequest[R], tell: Tell = tell_nobody) -> R:
        """A `requests.Perform` for the console, whose pages and API wait on their own threads."""
        return asyncio.run_coroutine_threadsafe(self._performed(request, tell), self._loop).result()


def _open_access(writer: StoreWriter) -> contextlib.AbstractContextManager[Access]:
    from certstore.people.access import Access

    return Access.opened(writer.layout)


def _audit_alone(writer: StoreWriter) -> Audit:
    """Where users and tokens can't be read, what changes is still on record."""
    from certstore.people.audit import Audit

    return Audit(writer.layout, utc_now)


def _start_upkeep(writer: StoreWriter, settings: Settings, base: Path, part: Part) -> Upkeep:
    from certstore.control.upkeep import Upkeep

    upkeep = Upkeep(writer, settings, base, duty=part.duty, sharing=part.sharing, orders=part.orders, told=part.told)
    upkeep.start()
    return upkeep


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """One complete line in time; raises RequestFailed."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            line = await reader.readline()
    except ValueError:
        # This is how StreamReader reports a line beyond its limit. The rest is not read: the connection ends.
        raise protocol.too_large() from None
    except TimeoutError:
        raise RequestFailed(Fault.BAD_REQUEST, f"no complete line within {REQUEST_SECONDS:.0f} seconds") from None
    if not line:
        raise ConnectionResetError("the client only checked that control listens")
    if not line.endswith(b"\n"):
        raise RequestFailed(Fault.BAD_REQUEST, "the connection ended before the line did")
    return line


def _tell(writer: asyncio.StreamWriter, progress: Progress) -> None:
    """Never waits: a client that does not read gets no more progress."""
    if not writer.is_closing() and writer.transport.get_write_buffer_size() == 0:
        writer.write(protocol.encode_answer(progress))


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None, "coroutines run in tasks"  # noqa: S101
    return task
