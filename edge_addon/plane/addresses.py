"""The clients of one worker by their address: their connections, and what they use of the upstream connections."""

from __future__ import annotations

from edge_addon.plane.connection_counts import client_key
from edge_addon.transport.channel import Connection
from edge_addon.upstream.bounds import AddressUsage


class Address:
    """The clients of one IPv4 address or IPv6 network."""

    __slots__ = ("connections", "looked_at", "usage")

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.usage = AddressUsage()
        self.looked_at = 0.0
        """When its idle connections last gave way."""


class Addresses:
    """Every address with a connection."""

    def __init__(self) -> None:
        self._by_key: dict[str | bytes, Address] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def enter(self, host: str, connection: Connection) -> Address:
        """Note a connection of this IP address."""
        address = self._by_key.setdefault(client_key(host), Address())
        address.connections.add(connection)
        return address

    def leave(self, host: str, connection: Connection) -> None:
        """Forget a connection, and the address with its last one."""
        key = client_key(host)
        if (address := self._by_key.get(key)) is not None:
            address.connections.discard(connection)
            if not address.connections:
                del self._by_key[key]

    def usage(self, host: str) -> AddressUsage:
        """What an address that has entered uses."""
        address = self._by_key.get(client_key(host))
        return AddressUsage() if address is None else address.usage
