"""All challenge types of this edge, made from its settings: the one place that lists them."""

from __future__ import annotations

from pathlib import Path

from certstore.acme.challenge_kind import ChallengeKinds
from certstore.acme.http01 import http01, http_listeners, probe_targets
from certstore.acme.tls_alpn01 import https_listeners, tls_alpn01
from certstore.model.layout import Layout
from certstore.model.settings.models import Settings


def challenge_kinds(layout: Layout, settings: Settings, base: Path) -> ChallengeKinds:
    """`base` is the folder that relative paths of the settings start from. Only the store's writer may use them."""
    targets = probe_targets(settings)
    return ChallengeKinds(
        http01(layout, http_listeners(settings), targets=targets),
        tls_alpn01(layout, https_listeners(settings), targets=targets),
    )
