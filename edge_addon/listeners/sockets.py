"""Listening sockets: matches open sockets to listeners and binds those that are missing.

Open sockets may come from systemd or from earlier settings. `plan_sockets` is pure and decides; the rest of the module
carries the plan out. A socket is bound once and stays open when workers are replaced.

`[::]:443` alone takes IPv4 and IPv6. We bind one socket for it; where one of IPv4 or of IPv6 alone is open there
already, that one stays, and a second takes the other family.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerSettings
from edge_addon.listeners.port_owner import find_port_owner
from edge_addon.transport.tcp import enable_keepalive

BACKLOG = 4096
"""The kernel limits it to net.core.somaxconn, which has this value since Linux 5.4."""

ANY_V4, ANY_V6 = "0.0.0.0", "::"


class CannotListen(Exception):
    """A listener's address could not be bound; the message says which one, why, and which process has the port."""


class _NoSuchFamily(CannotListen):
    """The machine has no IPv6."""


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A socket that already listens. `takes_v4`: an IPv6 wildcard that also accepts IPv4."""

    fd: int
    host: str
    port: int
    takes_v4: bool = False
    configured: HostPort | None = None
    """The address in edge.yaml that it was bound for; identifies listeners with a host name or port 0."""
    is_inherited: bool = False
    """Whether the service manager bound it."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A socket to bind. An IPv6 wildcard also takes IPv4 if the port has no IPv4 wildcard."""

    host: str
    port: int
    takes_v4: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """For each listener, in order, its open socket or the one to bind; and the open sockets without a listener.

    `seconds` has the sockets of the other family, by the index of the listener.
    """

    sources: tuple[OpenSocket | Bind, ...]
    unused: tuple[OpenSocket, ...]
    seconds: Mapping[int, OpenSocket | Bind] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opened:
    """A listening socket for each listener, second ones by the listener's index, and the sockets that none uses.

    `problems` says of which listeners the service manager's socket serves only a part, and why.
    """

    sockets: tuple[socket.socket, ...]
    seconds: Mapping[int, socket.socket]
    unused: tuple[socket.socket, ...]
    problems: tuple[str, ...]


_MATCHES: tuple[Callable[[OpenSocket, HostPort, HostPort], bool], ...] = (
    lambda each, configured, _: each.configured == configured,
    # Port 0 asks for any free port: a socket that was opened for something else does not match.
    lambda each, _, address: bool(address.port) and (each.host, each.port) == address,
    lambda each, _, address: each.takes_v4 and bool(address.port) and address == (ANY_V4, each.port),
)
"""Whether a socket suits a listener with this address in edge.yaml and this IP address, the best match first."""


def plan_sockets(
    listens: Sequence[HostPort], available: Sequence[OpenSocket], resolved: Mapping[str, str] | None = None
) -> Plan:
    """Match listeners to open sockets by address; `resolved` gives the IP address of each host that is a name.

    The same address comes first; then, for an IPv4 wildcard, an IPv6 one that takes IPv4: systemd's `ListenStream=443`.
    """
    wanted = [HostPort((resolved or {}).get(listen.host, listen.host), listen.port) for listen in listens]
    both_families = {
        index
        for index, (host, port) in enumerate(wanted)
        if host == ANY_V6 and port and HostPort(ANY_V4, port) not in wanted
    }
    free = list(available)
    sources: dict[int, OpenSocket | Bind] = {}
    for suits in _MATCHES:
        for index, (configured, address) in enumerate(zip(listens, wanted, strict=True)):
            if index in sources:
                continue
            found = next((each for each in free if suits(each, configured, address)), None)
            if found is not None:
                sources[index] = found
                free.remove(found)
    seconds: dict[int, OpenSocket | Bind] = {}
    for index in both_families:
        port, first = wanted[index].port, sources.get(index)
        if isinstance(first, OpenSocket) and first.takes_v4:
            continue
        of_v4 = next((each for each in free if (each.host, each.port) == (ANY_V4, port)), None)
        if of_v4 is not None:
            free.remove(of_v4)
        if first is None and of_v4 is not None:
            sources[index], seconds[index] = of_v4, Bind(ANY_V6, port)
        elif first is not None:
            seconds[index] = of_v4 or Bind(ANY_V4, port)
    for index, address in enumerate(wanted):
        takes_v4 = address.host == ANY_V6 and HostPort(ANY_V4, address.port) not in wanted
        sources.setdefault(index, Bind(address.host, address.port, takes_v4))
    return Plan(tuple(sources[index] for index in range(len(wanted))), tuple(free), seconds)


def socket_facts(
    listener: socket.socket, configured: HostPort | None = None, *, is_inherited: bool = False
) -> OpenSocket | None:
    """The facts of a socket, or None when it does not listen for TCP connections."""
    is_tcp = listener.family in (socket.AF_INET, socket.AF_INET6) and listener.type == socket.SOCK_STREAM
    if not is_tcp or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return None
    host, port = listener.getsockname()[:2]
    takes_v4 = host == ANY_V6 and not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return OpenSocket(listener.fileno(), host, port, takes_v4, configured, is_inherited)


def resolve_hosts(listeners: Collection[ListenerSettings]) -> dict[str, str]:
    """The first address of each host; raises CannotListen for a name without an address."""
    found: dict[str, str] = {}
    for host in {listener.listen.host for listener in listeners}:
        try:
            first = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        except OSError as error:
            raise CannotListen(f"can't listen on {host}: the name has no address ({error})") from error
        found[host] = str(first[4][0])
    return found


def open_sockets(
    listeners: Sequence[ListenerSettings], available: Mapping[int, tuple[socket.socket, OpenSocket]]
) -> Opened:
    """Open what the listeners need.

    `available` holds open sockets by descriptor. When an address can't be bound, the sockets bound here are closed
    and CannotListen is raised; the available ones are not touched. Where only the second half of a listener is missing,
    and the service manager has bound the first, the service can still serve: that is a problem.
    """
    plan = plan_sockets(
        [listener.listen for listener in listeners],
        [facts for _, facts in available.values()],
        resolve_hosts(listeners),
    )
    bound: list[socket.socket] = []

    def opened(listener: ListenerSettings, source: OpenSocket | Bind) -> socket.socket:
        if isinstance(source, OpenSocket):
            return available[source.fd][0]
        bound.append(_bind(listener, source))
        return bound[-1]

    seconds: dict[int, socket.socket] = {}
    problems: list[str] = []
    try:
        sockets = tuple(map(opened, listeners, plan.sources))
        for index, source in plan.seconds.items():
            try:
                seconds[index] = opened(listeners[index], source)
            except _NoSuchFamily:
                continue
            except CannotListen as error:
                first = plan.sources[index]
                if not isinstance(first, OpenSocket) or not first.is_inherited:
                    raise
                problems.append(_half_served(listeners[index], first, error))
    except CannotListen:
        for each in bound:
            each.close()
        raise
    return Opened(sockets, seconds, tuple(available[each.fd][0] for each in plan.unused), tuple(problems))


def _half_served(listener: ListenerSettings, first: OpenSocket, error: CannotListen) -> str:
    served, missing = ("IPv4", "IPv6") if first.host == ANY_V4 else ("IPv6", "IPv4")
    port = listener.listen.port
    return (
        f"the listener {listener.listen} ({listener.kind}) serves {served} only: the service manager's socket takes no"
        f" {missing}, and {error}. In certedge.socket, write ListenStream={port} and BindIPv6Only=both"
    )


def _bind(listener: ListenerSettings, source: Bind) -> socket.socket:
    try:
        return _bind_one(source)
    except OSError as error:
        if source.takes_v4 and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            # A machine or container without IPv6: listen on all IPv4 addresses.
            return _bind(listener, Bind(ANY_V4, source.port))
        if source == Bind(ANY_V6, source.port) and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise _NoSuchFamily(_explain(listener, error)) from error
        raise CannotListen(_explain(listener, error)) from error


def _bind_one(source: Bind) -> socket.socket:
    family = socket.AF_INET6 if ":" in source.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Allows binding a port with connections in TIME_WAIT, but not one that another socket listens on.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not source.takes_v4)
        enable_keepalive(listener)
        listener.bind((source.host, source.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _explain(listener: ListenerSettings, error: OSError) -> str:
    what = f"can't listen on {listener.listen} ({listener.kind})"
    if error.errno == errno.EADDRINUSE:
        owner = find_port_owner(listener.listen.port) or "a process that only root can see"
        return f"{what}: the port is in use by {owner}; stop it or change `listen`"
    if error.errno == errno.EACCES:
        return (
            f"{what}: ports below 1024 need CAP_NET_BIND_SERVICE; use the systemd unit or its socket activation,"
            f" or choose a higher port"
        )
    return f"{what}: {os.strerror(error.errno or 0)}"
