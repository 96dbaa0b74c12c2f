"""A running etcd that the tests of a run share: every test has a prefix to itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.etcd import Etcd


@pytest.fixture(scope="session")
def etcd() -> Iterator[Etcd]:
    """Three members with TLS. Tests that stop members or restore snapshots start one of their own."""
    with Etcd() as running:
        yield running
