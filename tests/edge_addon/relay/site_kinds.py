"""Runs tests against plain sites and against inspected ones: the same rules hold for both.

A `conftest` imports both names. Every test of a module that uses `relay_edge` then runs twice, but for those in
`ONLY_PLAIN`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge_addon.relay import edge

ONLY_PLAIN: dict[str, str] = {}
"""Tests that say nothing about an inspected site, each with the reason. With brackets: one row of a table."""


@pytest.fixture(scope="module", autouse=True)
def site_kind(request: pytest.FixtureRequest) -> Iterator[None]:
    before, edge.kind_of_sites = edge.kind_of_sites, request.param
    yield
    edge.kind_of_sites = before


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    is_about_sites = hasattr(metafunc.module, "relay_edge") and metafunc.function.__name__ not in ONLY_PLAIN
    metafunc.parametrize("site_kind", ["plain", "inspected"] if is_about_sites else ["plain"], indirect=True)
