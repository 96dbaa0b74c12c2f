"""A writer for the tests of watching."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.store.writer import StoreWriter
from tests.certstore.stores import acquire


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with acquire(tmp_path / "store") as writer:
        yield writer
