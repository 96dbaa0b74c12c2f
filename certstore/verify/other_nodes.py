"""Which listeners of another node can be checked from here, and at which addresses. Pure.

Real handshakes with all nodes show what no engine can fake: a node that is kept from a change serves the old one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from certstore.model.cluster.records import NodeListener
from certstore.model.settings.models import ListenerKind, ListenerSettings

_NOBODY = "127.0.0.1:1"
"""Mail listeners have an upstream; the checks here never get so far."""


@dataclass(frozen=True, slots=True)
class Reachable:
    """`listeners` as this machine connects to them; `unchecked` says in words which are left out, and why."""

    listeners: tuple[ListenerSettings, ...]
    unchecked: tuple[str, ...]


def reachable_listeners(addresses: Sequence[str], listeners: Iterable[NodeListener]) -> Reachable:
    """`addresses` are where clients reach the node; where there are none, each listener's own counts. A listener for
    its own machine alone is nobody else's business.
    """
    found: list[ListenerSettings] = []
    unchecked: list[str] = []
    for listener in listeners:
        what = f"{listener.kind} on port {listener.port}"
        if _is_loopback(listener.host) and listener.host not in addresses:
            continue
        if listener.kind not in ListenerKind:
            unchecked.append(f"{what}: this release does not know that kind")
        elif listener.has_proxy_protocol:
            unchecked.append(f"{what}: it takes connections from its balancers alone")
        elif listener.port == 0:
            unchecked.append(f"{what}: the system chooses its port at each start")
        elif not (hosts := _hosts(addresses, listener.host)):
            unchecked.append(f"{what}: its addresses are not known; set `cluster.addresses` there, and reload")
        else:
            found += [_at(listener, host) for host in hosts]
    return Reachable(tuple(found), tuple(unchecked))


def _hosts(addresses: Sequence[str], own: str) -> list[str]:
    """A listener on one address is not reached at those of the other family."""
    if addresses:
        is_only_v4 = ":" not in own
        return [host for host in addresses if not (is_only_v4 and ":" in host)]
    return [] if _is_wildcard(own) else [own]


def _at(listener: NodeListener, host: str) -> ListenerSettings:
    kind = ListenerKind(listener.kind)
    address = f"[{host}]:{listener.port}" if ":" in host else f"{host}:{listener.port}"
    facts = {"kind": kind, "listen": address}
    return ListenerSettings.model_validate(facts | ({"upstream": _NOBODY} if kind.is_mail else {}))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
