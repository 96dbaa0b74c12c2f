"""The supervisor's listening sockets over its whole life: adopted at the start, at each reload, closed at the stop.

A socket that the settings name no more is kept as a spare while a worker may still accept on it: only so can a listener
that is put back soon be the same socket, with the clients that wait in it, instead of an address in use. After that
nobody may hold it, or clients would wait in it for nobody. Knows generations of workers only as numbers.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Iterator, Sequence

from certstore.model.settings.models import HostPort, ListenerSettings
from edge_addon.listeners.sockets import OpenSocket, open_sockets, socket_facts
from edge_addon.transport.tcp import enable_keepalive

log = logging.getLogger(__name__)


class ListeningSockets:
    """`listening` holds a socket per listener of the settings adopted last, in their order."""

    def __init__(self, inherited: Sequence[socket.socket] = ()) -> None:
        """`inherited` are sockets of the service manager, which listeners are matched to first.

        They stay spares for good: the manager has copies of its own, so their addresses can't be bound anew.
        """
        self.listening: tuple[socket.socket, ...] = ()
        self._configured: dict[socket.socket, HostPort] = {}
        """For which address of edge.yaml a socket was bound."""
        self._spares: dict[socket.socket, float] = dict.fromkeys(inherited, math.inf)
        """With the last generation of workers that may accept on it."""
        self._inherited = frozenset(inherited)
        for each in inherited:
            enable_keepalive(each)
        self._has_adopted = False

    def adopt(self, listeners: Sequence[ListenerSettings], generation: int = 0) -> None:
        """Listen as these settings say: sockets that fit stay open, others are bound, those left over become spares.

        `generation` is that of the newest workers so far. Raises CannotListen and leaves everything as it was.
        """
        available = dict(self._available())
        sockets, unused = open_sockets(listeners, available)
        spares = {}
        for each in unused:
            is_new = each in self.listening or not self._has_adopted
            if is_new and each in self._inherited:
                name = each.getsockname()
                log.warning("no listener in edge.yaml for the socket of the service manager on %s port %d", *name[:2])
            spares[each] = math.inf if each in self._inherited else self._spares.get(each, generation)
        self._has_adopted = True
        self._spares = spares
        self._configured |= {each: listener.listen for each, listener in zip(sockets, listeners, strict=True)}
        self.listening = tuple(sockets)

    def close_unused(self, oldest_listening: float) -> None:
        """Close the spares that nobody accepts on; the number is the oldest generation of which a worker accepts."""
        for each in [each for each, last in self._spares.items() if last < oldest_listening and last < math.inf]:
            del self._spares[each]
            self._configured.pop(each, None)
            each.close()

    def close_spares(self) -> None:
        """Of this process; in a worker, which must not keep open what it does not accept on."""
        for each in self._spares:
            each.close()
        self._spares = {}

    def close(self) -> None:
        """Close this process's copies; a worker that has its own serves on."""
        self.close_spares()
        for each in self.listening:
            each.close()
        self.listening = ()

    def _available(self) -> Iterator[tuple[int, tuple[socket.socket, OpenSocket]]]:
        for each in (*self.listening, *self._spares):
            facts = socket_facts(each, self._configured.get(each))
            if facts is not None:
                yield facts.fd, (each, facts)
            else:
                log.warning("a socket of the service manager is none that listens for TCP connections, and is not used")
                del self._spares[each]
                each.close()
