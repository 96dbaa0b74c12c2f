"""How a process on this machine reaches the edge's own listeners, and which addresses this machine has."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
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
    """It expects a PROXY header if it trusts the address that we connect to, as this is also the one we come from."""
    address = reachable_address(listener.listen)
    return OwnListener(address, listener.accept_proxy_protocol and is_trusted_proxy(address.host, trusted_proxies))


def is_askable(listener: ListenerSettings, trusted_proxies: Iterable[Network]) -> bool:
    """Whether a process on this machine can connect as a client does. Not where only other addresses may send the
    PROXY header, nor to a port that the system chooses."""
    if not listener.listen.port:
        return False
    host = reachable_address(listener.listen).host
    return not listener.accept_proxy_protocol or is_trusted_proxy(host, trusted_proxies)


def reachable_address(listen: HostPort) -> HostPort:
    """Where a client on this machine connects to reach `listen`: a wildcard address is not a destination."""
    try:
        address = ipaddress.ip_address(listen.host)
    except ValueError:
        return listen
    if not address.is_unspecified:
        return listen
    return HostPort("127.0.0.1" if address.version == 4 else "::1", listen.port)


def is_local(address: str) -> bool:
    """Whether this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.bind((address, 0))
    except OSError:
        return False
    return True
