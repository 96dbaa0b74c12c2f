"""Runs tests against plain sites and against inspected ones: the same rules hold for both.

A `conftest` imports both names. Every test of a module that uses `relay_edge` or `main_site` then runs twice, but for
those in `ONLY_PLAIN`. A fixture of a module that makes sites asks for `site_kind`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge_addon.relay import edge

_RAW = "its bytes are no frames of a WebSocket, which an inspected one must be made of (inspection/test_websocket.py)"
ONLY_PLAIN = {
    "test_bytes_right_behind_the_upgrade_are_the_tunnels_on_both_sides": _RAW,
    "test_reset_by_the_upstream_ends_the_client": _RAW,
    "test_client_that_has_gone_is_dropped_behind_an_upstream_that_hangs": _RAW,
    "test_slow_reader_holds_the_upstream_back": _RAW,
    "test_a_websocket_opens_by_extended_connect_and_passes_bytes_both_ways": _RAW,
}
"""Tests that say nothing about an inspected site, each with the reason."""


@pytest.fixture(scope="module", autouse=True)
def site_kind(request: pytest.FixtureRequest) -> Iterator[None]:
    before, edge.kind_of_sites = edge.kind_of_sites, request.param
    yield
    edge.kind_of_sites = before


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    makes_sites = any(hasattr(metafunc.module, name) for name in ("relay_edge", "main_site"))
    is_about_sites = makes_sites and metafunc.function.__name__ not in ONLY_PLAIN
    metafunc.parametrize("site_kind", ["plain", "inspected"] if is_about_sites else ["plain"], indirect=True)
