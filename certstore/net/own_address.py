"""How a process on this machine reaches the edge's own listeners, and which addresses this machine has."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerSettings
from certstore.model.trusted_proxies import Network, is_trusted_proxy

PROXY_V2_LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
"""PROXY protocol v2 with the command LOCAL: the connection is the sender's own, as for a health check."""


@dataclass(frozen=True, slots=True)
class OwnListener:
    """One of the edge's listeners as this machine reaches it."""

    address: HostPort
    wants_proxy_header: bool = False

    def connect(self, timeout: float) -> socket.socket:
        """A connection that is ready for the client's first bytes. Raises OSError."""
        connection = socket.create_connection(self.address, timeout)
        if self.wants_proxy_header:
            connection.sendall(PROXY_V2_LOCAL)
        return connection


def own_listener(listener: ListenerSettings, trusted_proxies: Iterable[Network]) -> OwnListener:
    """As the first of its addresses reaches it."""
    return own_listeners(listener, trusted_proxies)[0]


def is_askable(listener: ListenerSettings, trusted_proxies: Iterable[Network]) -> bool:
    """Whether a process on this machine can connect as a client does. Not where only other addresses may send the
    PROXY header, nor to a port that the system chooses."""
    if not listener.listen.port:
        return False
    host = reachable_addresses(listener.listen)[0].host
    return not listener.accept_proxy_protocol or is_trusted_proxy(host, trusted_proxies)


def own_listeners(
    listener: ListenerSettings, trusted_proxies: Iterable[Network], others: Collection[HostPort] = ()
) -> tuple[OwnListener, ...]:
    """By IPv6 and by IPv4, if it takes both; `others` are the addresses of all listeners.

    It expects a PROXY header if it trusts the address that we connect to, as this is also the one we come from.
    """
    trusted = tuple(trusted_proxies)
    return tuple(
        OwnListener(address, listener.accept_proxy_protocol and is_trusted_proxy(address.host, trusted))
        for address in reachable_addresses(listener.listen, others)
    )


def reachable_addresses(listen: HostPort, others: Collection[HostPort] = ()) -> tuple[HostPort, ...]:
    """Where a client on this machine connects to reach `listen`: a wildcard address is not a destination.

    `[::]` takes IPv4 too, unless the port's 0.0.0.0 is another listener's, and IPv4 alone on a machine without IPv6.
    """
    try:
        address = ipaddress.ip_address(listen.host)
    except ValueError:
        return (listen,)
    if not address.is_unspecified:
        return (listen,)
    v4, v6 = HostPort("127.0.0.1", listen.port), HostPort("::1", listen.port)
    if address.version == 4:
        return (v4,)
    if not is_local(v6.host):
        return (v4,)
    return (v6,) if HostPort("0.0.0.0", listen.port) in others else (v6, v4)


def is_local(address: str) -> bool:
    """Whether this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.bind((address, 0))
    except OSError:
        return False
    return True
