"""The supervisor's listening sockets: matched to the settings at the start and at each reload, closed at the stop.

A socket that the settings no longer name stays open as a spare while a worker may still accept on it. A listener that
you add back soon gets the same socket, with the clients that wait in it, instead of "address in use". After that it is
closed, or clients would wait in it for nobody. Knows generations of workers only as numbers.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from certstore.model.json_facts import Kept
from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerSettings
from edge_addon.listeners.sockets import OpenSocket, open_sockets, socket_facts
from edge_addon.transport.tcp import enable_keepalive

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeldSocket(Kept):
    """An open socket, for the program that takes this process over. `configured` as for `OpenSocket`."""

    fd: int
    configured: tuple[str, int] | None
    is_inherited: bool


class ListeningSockets:
    """`listening` holds one socket per listener of the current settings, in their order.

    `seconds` has, by the index of the listener, the sockets of those that take IPv4 and IPv6 on one socket each.
    `problems` says which listeners serve only a part of what the settings say.
    """

    def __init__(self, inherited: Sequence[socket.socket] = ()) -> None:
        """`inherited` are sockets of the service manager, which are used first.

        They always stay open: the manager has copies of them, so their addresses can't be bound again.
        """
        self.listening: tuple[socket.socket, ...] = ()
        self.seconds: Mapping[int, socket.socket] = {}
        self.problems: tuple[str, ...] = ()
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
        opened = open_sockets(listeners, available)
        spares = {}
        for each in opened.unused:
            is_new = each in self._used() or not self._has_adopted
            if is_new and each in self._inherited:
                name = each.getsockname()
                log.warning("no listener in edge.yaml for the socket of the service manager on %s port %d", *name[:2])
            spares[each] = math.inf if each in self._inherited else self._spares.get(each, generation)
        self._has_adopted = True
        self._spares = spares
        self._configured |= {each: listener.listen for each, listener in zip(opened.sockets, listeners, strict=True)}
        self.listening, self.seconds, self.problems = opened.sockets, opened.seconds, opened.problems
        for problem in self.problems:
            log.error("%s", problem)

    def held(self) -> tuple[HeldSocket, ...]:
        """Every socket that is open."""
        return tuple(
            HeldSocket(each.fileno(), self._configured.get(each), each in self._inherited)
            for each in (*self._used(), *self._spares)
        )

    @classmethod
    def taken_over(cls, held: Sequence[HeldSocket]) -> ListeningSockets:
        """Sockets that this process has open, and that workers of generation 0 may accept on; adopt them next."""
        opened = [(socket.socket(fileno=each.fd), each) for each in held]
        sockets = cls([each for each, facts in opened if facts.is_inherited])
        for each, facts in opened:
            sockets._spares.setdefault(each, 0)
            if facts.configured is not None:
                sockets._configured[each] = HostPort(*facts.configured)
        sockets._has_adopted = True
        return sockets

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
        for each in self._used():
            each.close()
        self.listening, self.seconds = (), {}

    def _used(self) -> tuple[socket.socket, ...]:
        return (*self.listening, *self.seconds.values())

    def _available(self) -> Iterator[tuple[int, tuple[socket.socket, OpenSocket]]]:
        for each in (*self._used(), *self._spares):
            facts = socket_facts(each, self._configured.get(each), is_inherited=each in self._inherited)
            if facts is not None:
                yield facts.fd, (each, facts)
            else:
                log.warning("a socket of the service manager does not listen for TCP connections and is not used")
                del self._spares[each]
                each.close()
