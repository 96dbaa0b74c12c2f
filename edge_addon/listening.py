"""The supervisor's listening sockets over its whole life: adopted at the start, at each reload, closed at the stop."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

from certstore.model.settings import ListenerSettings
from edge_addon.sockets import OpenSocket, describe, open_sockets

log = logging.getLogger(__name__)


class ListeningSockets:
    """`listening` holds a socket per listener of the settings adopted last, in their order."""

    def __init__(self, handed_in: Sequence[socket.socket] = ()) -> None:
        """`handed_in` are sockets of the service manager, which the first `adopt` matches to listeners."""
        self.listening: tuple[socket.socket, ...] = ()
        self._handed_in = tuple(handed_in)
        self._listeners: tuple[ListenerSettings, ...] = ()

    def adopt(self, listeners: Sequence[ListenerSettings]) -> None:
        """Listen as these settings say: sockets that fit stay open, others are bound, those left over are closed.

        Raises CannotListen and leaves everything as it was.
        """
        available: dict[int, tuple[socket.socket, OpenSocket]] = {}
        for listener, each in zip(self._listeners, self.listening, strict=True):
            self._offer(available, each, describe(each, listener.listen))
        for each in self._handed_in:
            self._offer(available, each, describe(each))
        sockets, unclaimed = open_sockets(listeners, available)
        for each in unclaimed:
            if each in self._handed_in:
                name = each.getsockname()
                log.warning("no listener in edge.yaml for the socket of the service manager on %s port %d", *name[:2])
            each.close()
        self._handed_in = ()
        self._listeners, self.listening = tuple(listeners), tuple(sockets)

    def close(self) -> None:
        """Close this process's copies; a worker that has its own serves on."""
        for each in (*self.listening, *self._handed_in):
            each.close()
        self.listening, self._listeners, self._handed_in = (), (), ()

    @staticmethod
    def _offer(
        available: dict[int, tuple[socket.socket, OpenSocket]], each: socket.socket, facts: OpenSocket | None
    ) -> None:
        if facts is not None:
            available[facts.fd] = (each, facts)
        else:
            log.warning("a socket of the service manager is none that listens for TCP connections, and is not used")
            each.close()
