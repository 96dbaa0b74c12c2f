"""What every test run shares: the Hypothesis profiles, and the list of missing peers at the end.

Helpers are in separate modules (`tests.deadlines`, `tests.ports`, `tests.peers`), so that a test imports what it uses.
"""

import os
import re

import pytest
from hypothesis import HealthCheck, settings

from tests.peers import MISSING_PEER

NAMED_PEER = re.compile(re.escape(MISSING_PEER) + r"(\S[^(\n]* \([^)\n]*\))")

# A deadline per example would measure the machine's load, not our code.
settings.register_profile("quick", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each missing peer once, with the number of tests skipped for it: nobody reads single skips."""
    cost: dict[str, int] = {}
    for outcome in ("skipped", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            if found := NAMED_PEER.search(report.longreprtext):
                cost[found[1]] = cost.get(found[1], 0) + 1
    if cost:
        terminalreporter.section("missing peers", red=True)
        for peer, tests in sorted(cost.items()):
            terminalreporter.line(f"{peer}: {tests} tests did not run")
