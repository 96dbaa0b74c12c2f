"""Tests of sites run against plain and inspected ones."""

from tests.edge_addon.relay.site_kinds import pytest_generate_tests, site_kind

__all__ = ["pytest_generate_tests", "site_kind"]
