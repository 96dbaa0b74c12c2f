"""The control socket as a file: binding it for its owner only, connecting to it, and who the peer is.

Knows no commands and no framing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

# sun_path has 108 bytes on Linux, the last a NUL.
_PATH_LIMIT = 107
_BACKLOG = 64


def bind_private(path: Path, temporary: Path) -> socket.socket:
    """A listening socket at `path`, with mode 0600 from the start: it is created at `temporary` and renamed.

    The socket of a dead process is replaced. The caller holds the store's lock, so there is no live one.
    """
    temporary.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _reachable(temporary) as address:
            listener.bind(address)
        temporary.chmod(0o600)
        listener.listen(_BACKLOG)
        temporary.replace(path)
    except OSError:
        listener.close()
        raise
    return listener


def connect(path: Path, timeout: float) -> socket.socket | None:
    """A connection, or None if nobody listens (no socket, or one of a dead process); raises other OSErrors."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.settimeout(timeout)
    try:
        with _reachable(path) as address:
            connection.connect(address)
    except OSError as error:
        connection.close()
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return None
        raise
    return connection


def peer_pid_and_uid(connection: socket.socket) -> tuple[int, int]:
    """The peer, as the kernel knows it (SO_PEERCRED, unix(7)) from the time of the connection."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid, uid


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """An address for `path` that fits into sun_path, however deep the store is: through its folder's descriptor."""
    if len(os.fsencode(path)) <= _PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
