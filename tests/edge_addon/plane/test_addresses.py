"""The clients of one worker by their address."""

from typing import cast

from edge_addon.plane.addresses import Addresses
from edge_addon.transport.channel import Connection


def connection() -> Connection:
    return cast(Connection, object())


def test_clients_of_one_network_share_their_usage_until_the_last_one_leaves() -> None:
    addresses = Addresses()
    one, two, other = connection(), connection(), connection()
    first = addresses.enter("2001:db8::1", one)
    second = addresses.enter("2001:db8::2", two)
    addresses.enter("192.0.2.1", other)

    usage = addresses.usage("2001:db8::1")
    assert usage is addresses.usage("2001:db8::2")
    assert usage is not addresses.usage("192.0.2.1")
    addresses.leave(first, one)
    assert addresses.usage("2001:db8::1") is usage
    addresses.leave(second, two)
    addresses.leave(second, two)
    assert len(addresses) == 1
    assert addresses.usage("2001:db8::1") is not usage
