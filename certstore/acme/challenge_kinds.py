"""All challenge types of this edge, made from its settings: the one place that lists them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from certstore.acme.challenge_kind import ChallengeKinds
from certstore.acme.dns.bounds import never
from certstore.acme.dns01 import dns01, zones_of
from certstore.acme.dns_persist01 import dns_persist01
from certstore.acme.http01 import http01, http_listeners, probe_targets
from certstore.acme.name_probe import USUAL_PORTS, Ports
from certstore.acme.tls_alpn01 import tls_alpn01
from certstore.acme.token_sharing import TokenSharing
from certstore.model.layout import Layout
from certstore.model.renewal.probe_targets import ProbeTargets
from certstore.model.settings.models import Settings


def challenge_kinds(
    layout: Layout,
    settings: Settings,
    base: Path,
    ports: Ports = USUAL_PORTS,
    targets: ProbeTargets | None = None,
    *,
    wait: Callable[[float], bool] = never,
    sharing: TokenSharing | None = None,
) -> ChallengeKinds:
    """`base` is the folder that relative paths of the settings start from. Only the store's writer may use them.

    `targets` are what a preflight may connect to, by default what the settings allow. `wait` takes seconds and returns
    True when the process is to stop. `sharing` gives proofs to the other edges of a cluster.
    """
    targets = targets or probe_targets(settings)
    return ChallengeKinds(
        http01(layout, http_listeners(settings), ports, targets, sharing),
        tls_alpn01(layout, settings, ports, targets, sharing),
        dns01(layout, settings.acme, base, wait, ports.dns),
        dns_persist01(zones_of(settings.acme, ports.dns), wait),
    )
