"""All fuzzers by name."""

from __future__ import annotations

from tests.fuzz import http2_targets, http_targets, mail_targets, store_targets, tls_targets
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    **http_targets.TARGETS,
    **http2_targets.TARGETS,
    **mail_targets.TARGETS,
    **tls_targets.TARGETS,
    **store_targets.TARGETS,
}
