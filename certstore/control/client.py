"""Has a command performed by the control process, or performs it here, under the lock, if no control runs.

The result is the same either way. No file of another owner ever appears in a store: root acts on another user's store
through a child process that has become that user. Knows nothing about what the commands do.
"""

from __future__ import annotations

import os
import pwd
import socket
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from certstore.control.commands.requests import CommandRequest, result_type
from certstore.control.commands.results import CommandResult
from certstore.control.local_socket import connect, peer_pid_and_uid
from certstore.control.origin import own_login, unix_user
from certstore.control.protocol import (
    ANSWER_LIMIT,
    Answer,
    Fault,
    Progress,
    Request,
    RequestFailed,
    Result,
    decode_answer,
    encode_answer,
    encode_request,
)
from certstore.model.layout import Layout
from certstore.model.progress import Tell, tell_nobody
from certstore.model.settings.models import Settings

SILENCE_SECONDS = 60.0
"""Control reports at least every `HEARTBEAT_SECONDS` (control.process) that it is still working."""

BUSY_SECONDS = 10.0
"""How long to wait for another writer: a second command, or a control that is just starting or ending."""

_BUSY_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int
    name: str

    @classmethod
    def of(cls, root: Path) -> Owner:
        """Raises RequestFailed if there is no store."""
        try:
            status = root.stat()
        except FileNotFoundError:
            found = f"{root}: there is no store"
            raise RequestFailed(
                Fault.NOT_FOUND, found, "create one with: certedge init --host YOUR.HOST.NAME"
            ) from None
        try:
            user = pwd.getpwuid(status.st_uid)
        except KeyError:
            return cls(status.st_uid, status.st_gid, f"uid {status.st_uid}")
        return cls(status.st_uid, user.pw_gid, user.pw_name)

    def become(self) -> None:
        """All ids, and irrevocably; only root can."""
        if self.name.startswith("uid "):
            os.setgroups([self.gid])
        else:
            os.initgroups(self.name, self.gid)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)


def call[R: CommandResult](
    settings: Settings, base: Path, request: CommandRequest[R], *, on_progress: Tell = tell_nobody
) -> R:
    """Perform a command on the store of `settings` (relative to `base`); raises RequestFailed."""
    layout = Layout(base / settings.store)
    owner = Owner.of(layout.root)
    if os.geteuid() not in (0, owner.uid):
        raise RequestFailed(
            Fault.FORBIDDEN,
            f"the store {layout.root} belongs to {owner.name}, and you are neither that user nor root",
            f"run the same command with sudo, or as {owner.name}",
        )
    wire = Request(request.command, request.to_args(), own_login())
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection = connect(layout.control_socket, SILENCE_SECONDS)
            if connection is None:
                return _perform_here(settings, base, owner, request, on_progress)
            with closing(connection):
                return result_type(request).from_json(ask(connection, wire, on_progress))
        except BlockingIOError:
            # The kernel's queue of waiting connections is full.
            if time.monotonic() > deadline:
                raise RequestFailed(Fault.BUSY, "the control process accepts no connection", "check its log") from None
        except RequestFailed as failure:
            if failure.fault is not Fault.BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_BUSY_PAUSE)


def control_pid(layout: Layout) -> int | None:
    """The pid of the listening control process, or None; raises OSError (PermissionError for other users)."""
    connection = connect(layout.control_socket, SILENCE_SECONDS)
    if connection is None:
        return None
    with closing(connection):
        return peer_pid_and_uid(connection)[0]


def ask(connection: socket.socket, request: Request, on_progress: Tell) -> dict[str, Any]:
    """One request over a fresh connection."""
    line = encode_request(request)
    try:
        connection.sendall(line)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it may have refused before it had read everything: the answer says why
    except TimeoutError:
        _silent(connection)
    try:
        # TimeoutError is an OSError too, and needs another message.
        if (facts := _read_facts(connection, on_progress)) is not None:
            return facts
    except TimeoutError:
        _silent(connection)
    except ConnectionError:
        pass
    raise RequestFailed(
        Fault.UNREACHABLE,
        "the control process closed the connection without an answer",
        "check its log; to see what is served now: certedge status",
    )


def _read_facts(connection: socket.socket, on_progress: Tell) -> dict[str, Any] | None:
    """The facts of the result; None if the connection ends before it."""
    with connection.makefile("rb") as lines:
        while line := lines.readline(ANSWER_LIMIT):
            match decode_answer(line):
                case Progress(message):
                    on_progress(message)
                case Result(facts):
                    return facts
                case RequestFailed() as failure:
                    raise failure
    return None


def _silent(connection: socket.socket) -> NoReturn:
    pid, _ = peer_pid_and_uid(connection)
    raise RequestFailed(
        Fault.UNREACHABLE,
        f"the control process (pid {pid}) has not answered for {SILENCE_SECONDS:.0f} seconds",
        "check its log; it may still complete the request. To see what is served now: certedge status",
    )


def _perform_here[R: CommandResult](
    settings: Settings, base: Path, owner: Owner, request: CommandRequest[R], on_progress: Tell
) -> R:
    if os.geteuid() == owner.uid:
        from certstore.control.dispatch import perform_under_lock

        return perform_under_lock(settings, base, request, on_progress, unix_user(os.getuid(), own_login()))
    return result_type(request).from_json(_perform_as(owner, settings, base, request, on_progress))


def _perform_as(
    owner: Owner, settings: Settings, base: Path, request: CommandRequest[Any], on_progress: Tell
) -> dict[str, Any]:
    """In a child that has become the store's owner: a command has no threads, so a fork is safe here."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            _child(owner, settings, base, request, theirs)
        finally:
            os._exit(0)  # nothing of the parent's, not even its buffered output, is finished here
    theirs.close()
    try:
        with closing(ours):
            if (facts := _read_facts(ours, on_progress)) is not None:
                return facts
    finally:
        os.waitpid(child, 0)
    raise RequestFailed(Fault.INTERNAL, f"the child that acted as {owner.name} ended without an answer")


def _child(owner: Owner, settings: Settings, base: Path, request: CommandRequest[Any], theirs: socket.socket) -> None:
    def tell(answer: Answer) -> None:
        theirs.sendall(encode_answer(answer))

    try:
        # Imported before the change of user, who may not be able to read the installation.
        from certstore.control.commands.table import load
        from certstore.control.dispatch import perform_under_lock

        load(request)
        who = unix_user(os.getuid(), own_login())
        owner.become()
        result = perform_under_lock(settings, base, request, lambda message: tell(Progress(message)), who)
        tell(Result(result.to_json()))
    except RequestFailed as failure:
        tell(failure)
    except Exception as error:  # noqa: BLE001  the parent needs an answer; a message could quote contents
        tell(RequestFailed(Fault.INTERNAL, f"{type(error).__name__} while acting as {owner.name}"))
