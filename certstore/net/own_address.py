"""How a process of this machine reaches one of the edge's own listeners."""

from __future__ import annotations

import ipaddress

from certstore.model.settings.models import HostPort


def reachable_address(listen: HostPort) -> HostPort:
    """Where a client on this machine reaches what listens on `listen`: a wildcard address is no destination."""
    try:
        address = ipaddress.ip_address(listen.host)
    except ValueError:
        return listen
    if not address.is_unspecified:
        return listen
    return HostPort("127.0.0.1" if address.version == 4 else "::1", listen.port)
