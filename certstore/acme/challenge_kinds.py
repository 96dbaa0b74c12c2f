"""All challenge types of this edge, made from its settings: the one place that lists them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from certstore.acme.challenge_kind import ChallengeKinds
from certstore.acme.dns.bounds import never
from certstore.acme.dns01 import dns01
from certstore.acme.http01 import http01, http_listeners, probe_targets
from certstore.acme.tls_alpn01 import https_listeners, tls_alpn01
from certstore.model.layout import Layout
from certstore.model.settings.models import Settings


def challenge_kinds(
    layout: Layout, settings: Settings, base: Path, wait: Callable[[float], bool] = never
) -> ChallengeKinds:
    """`base` is the folder that relative paths of the settings start from, and `wait` returns True when the process is
    to stop. Only the store's writer may use them."""
    targets = probe_targets(settings)
    return ChallengeKinds(
        http01(layout, http_listeners(settings), targets=targets),
        tls_alpn01(layout, https_listeners(settings), targets=targets),
        dns01(layout, settings.acme, base, wait),
    )
