"""Whether an address belongs to one of the `trusted_proxies` of edge.yaml. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_trusted_proxy(host: str, networks: Iterable[Network]) -> bool:
    """A host that is not an IP address is never trusted."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)
