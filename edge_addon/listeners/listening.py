"""The supervisor's listening sockets: matched to the settings at the start and at each reload, closed at the stop.

A socket that the settings no longer name stays open as a spare while a worker may still accept on it. A listener that
you add back soon gets the same socket, with the clients that wait in it, instead of "address in use". After that it is
closed, or clients would wait in it for nobody. Knows generations of workers only as numbers.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Iterator, Sequence

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerSettings
from edge_addon.listeners.sockets import OpenSocket, open_sockets, socket_facts
from edge_addon.transport.tcp import enable_keepalive

log = logging.getLogger(__name__)


class ListeningSockets:
    """`listening` holds one socket per listener of the current settings, in their order."""

    def __init__(self, inherited: Sequence[socket.socket] = ()) -> None:
        """`inherited` are sockets of the service manager, which are used first.

        They always stay open: the manager has copies of them, so their addresses can't be bound again.
        """
        self.listening: tuple[socket.socket, ...] = ()
        self._configured: dict[socket.socket, HostPort] = {}
        """The address in edge.yaml that each socket was bound for."""
        self._spares: dict[socket.socket, float] = dict.fromkeys(inherited, math.inf)
        """Each spare with the last generation of workers that may accept on it."""
        self._inherited = frozenset(inherited)
        for each in inherited:
            enable_keepalive(each)
        self._has_adopted = False

    def adopt(self, listeners: Sequence[ListenerSettings], generation: int = 0) -> None:
        """Listen as these settings say: matching sockets stay open, missing ones are bound, others become spares.

        `generation` is that of the newest workers so far. Raises CannotListen, and then changes nothing.
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
        """Close the spares that no worker accepts on. `oldest_listening`: the oldest generation that still accepts."""
        for each in [each for each, last in self._spares.items() if last < oldest_listening and last < math.inf]:
            del self._spares[each]
            self._configured.pop(each, None)
            each.close()

    def close_spares(self) -> None:
        """Close the spares in this process; a worker must not keep sockets open that it does not accept on."""
        for each in self._spares:
            each.close()
        self._spares = {}

    def close(self) -> None:
        """Close this process's copies; workers continue to serve on theirs."""
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
                log.warning("a socket of the service manager does not listen for TCP connections and is not used")
                del self._spares[each]
                each.close()
