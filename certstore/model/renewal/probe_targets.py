"""Which addresses this server may ask on behalf of a name: those that a CA could reach, and the edge's own. Pure.

A name's owner chooses its addresses and redirects. Without this rule the owner of any name could have this server look
around in its operator's network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from certstore.model.settings.addresses import HostPort

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128"))
)
"""What `acme.probe_private` allows: RFC 1918, RFC 4193 and this machine. Never link-local addresses, where clouds keep
their machines' credentials."""
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""NAT64 (RFC 6052): the last 32 bits are an IPv4 address."""


@dataclass(frozen=True, slots=True)
class ProbeTargets:
    """`own` are the addresses of the edge's http and https listeners, as edge.yaml has them. `is_local` says whether
    this machine has an address. With `allows_private`, names may have private addresses."""

    own: Sequence[HostPort] = ()
    is_local: Callable[[str], bool] = lambda address: False
    allows_private: bool = False

    def allow(self, text: str, port: int) -> bool:
        """Whether to connect to this address, which must not be a name."""
        try:
            address = _inner(ipaddress.ip_address(text))
        except ValueError:
            return False
        return is_public(text) or self._is_own(address, port) or (self.allows_private and _is_in(address, _PRIVATE))

    def _is_own(self, address: Address, port: int) -> bool:
        for listener in self.own:
            if listener.port != port:
                continue
            try:
                listening = ipaddress.ip_address(listener.host)
            except ValueError:
                continue
            if listening == address:
                return True
            # A listener on `::` accepts IPv4 as well.
            is_every = listening.is_unspecified and listening.version >= address.version
            if is_every and self.is_local(str(address)):
                return True
        return False


def is_public(text: str) -> bool:
    """Whether a CA could reach the address: global unicast, whatever form it is written in."""
    try:
        address = _inner(ipaddress.ip_address(text))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: Address) -> Address:
    """The IPv4 address that a form of IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_in(address: Address, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
