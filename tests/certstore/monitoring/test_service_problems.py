"""The facts behind the service's problems, from a real store and a real file system."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.service_problems import ServiceProblem
from certstore.monitoring.service_problems import current_service_problems, disk_space
from tests.peers import do_without

NOW = datetime.now(UTC)


def test_a_store_with_room_has_no_problem_and_one_that_is_not_there_has_none_either(tmp_path: Path) -> None:
    assert current_service_problems(Layout(tmp_path), NOW) == ()
    assert current_service_problems(Layout(tmp_path / "none"), NOW) == ()
    assert disk_space(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("options", "code"),
    [("size=4m", ServiceProblem.DISK_FULL), ("size=64m,nr_inodes=20", ServiceProblem.DISK_FULL),
     ("size=64m,ro", ServiceProblem.STORE_READ_ONLY), ("size=64m", None)],
)  # fmt: skip
def test_a_file_system_without_room_is_a_problem(tmp_path: Path, options: str, code: ServiceProblem | None) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        do_without("a small file system (run the tests as root)")
    try:
        assert [each.code for each in current_service_problems(Layout(tmp_path), NOW)] == ([code] if code else [])
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
