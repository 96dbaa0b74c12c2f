"""What the console may know of the cluster, and from when."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.certstore.admin.clusters import SECTION, standing_of, write_standing
from tests.certstore.admin.console import RunningConsole, running_console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store", {"cluster": SECTION}) as running:
        yield running


@pytest.mark.parametrize(("age", "is_known"), [(0, True), (20, True), (40, False)])
def test_what_control_has_not_said_again_does_not_count(console: RunningConsole, age: int, is_known: bool) -> None:
    write_standing(console, standing_of(console, written_at=console.clock() - timedelta(seconds=age)))
    assert (console.api().get("/api/v1/cluster").json["cluster"] is not None) is is_known


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"node": 1}'])
def test_an_odd_file_is_as_none(console: RunningConsole, content: bytes) -> None:
    path = console.writer.layout.cluster_standing
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert console.api().get("/api/v1/cluster").json == {"cluster": None}
