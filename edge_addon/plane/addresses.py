"""The clients of one worker by their address: their connections, and what they use of the upstream connections."""

from __future__ import annotations

from edge_addon.plane.connection_counts import Buckets, buckets_of, client_key, network_key
from edge_addon.transport.channel import Connection
from edge_addon.upstream.bounds import AddressUsage


class Address:
    """The clients of one IPv4 address or IPv6 network."""

    __slots__ = ("buckets", "connections", "key", "looked_at", "network", "usage")

    def __init__(self, key: str | bytes, network: bytes | None) -> None:
        self.key = key
        self.buckets: Buckets = buckets_of(key)
        """Where the counts over all workers have its connections."""
        self.network: Buckets | None = None if network is None else buckets_of(network)
        """The same for the provider's customer that an IPv6 address belongs to."""
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
        key = client_key(host)
        address = self._by_key.get(key)
        if address is None:
            address = self._by_key[key] = Address(key, network_key(host))
        address.connections.add(connection)
        return address

    def leave(self, address: Address, connection: Connection) -> None:
        """Forget a connection, and the address with its last one."""
        address.connections.discard(connection)
        if not address.connections and self._by_key.get(address.key) is address:
            del self._by_key[address.key]

    def usage(self, host: str) -> AddressUsage:
        """What an address that has entered uses."""
        address = self._by_key.get(client_key(host))
        return AddressUsage() if address is None else address.usage
