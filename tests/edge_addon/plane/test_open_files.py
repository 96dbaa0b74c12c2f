"""How many open files a worker may use for connections."""

import resource

import pytest

from edge_addon.plane.open_files import files_for_connections, share


@pytest.mark.parametrize(("files", "connections"), [(65536, 65024), (1024, 512), (256, 128)])
def test_some_files_are_left_for_everything_else(files: int, connections: int) -> None:
    assert share(files) == connections


def test_the_limit_of_the_process_counts() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < files_for_connections() < (soft if soft != resource.RLIM_INFINITY else 1 << 21)
