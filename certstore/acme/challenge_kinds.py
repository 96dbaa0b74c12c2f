"""All challenge types of this edge, made from its settings: the one place that lists them."""

from __future__ import annotations

from pathlib import Path

from certstore.acme.challenge_kind import ChallengeKinds
from certstore.acme.http01 import http01, http_listeners, probe_targets
from certstore.acme.name_probe import USUAL_PORTS, Ports
from certstore.acme.tls_alpn01 import tls_alpn01
from certstore.model.layout import Layout
from certstore.model.renewal.probe_targets import ProbeTargets
from certstore.model.settings.models import Settings


def challenge_kinds(
    layout: Layout, settings: Settings, base: Path, ports: Ports = USUAL_PORTS, targets: ProbeTargets | None = None
) -> ChallengeKinds:
    """`base` is the folder that relative paths of the settings start from. Only the store's writer may use them.

    `targets` are what a preflight may connect to, by default what the settings allow.
    """
    targets = targets or probe_targets(settings)
    return ChallengeKinds(
        http01(layout, http_listeners(settings), ports, targets), tls_alpn01(layout, settings, ports, targets)
    )
