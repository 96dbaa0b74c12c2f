"""Open files and core dumps, each in a new process: a limit that was lowered can't be raised again."""

import resource
import subprocess
import sys
from pathlib import Path

from edge_addon.plane.open_files import SPARE_FILES
from edge_addon.processes.resource_limits import FILES_PER_CONNECTION
from tests.running import running_edge

_PROGRAM = """
import logging, resource, sys
from edge_addon.processes.resource_limits import raise_limits
soft, hard, connections = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
logging.basicConfig(format="%(message)s")
raise_limits(connections)
print(*resource.getrlimit(resource.RLIMIT_NOFILE), *resource.getrlimit(resource.RLIMIT_CORE))
"""


def limits_after(soft: int, hard: int, connections: int) -> tuple[list[int], str]:
    """The limits afterwards, of files and of core dumps, and the log."""
    command = [sys.executable, "-c", _PROGRAM, str(soft), str(hard), str(connections)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [int(each) for each in ended.stdout.split()], ended.stderr


def test_open_files_are_raised_to_the_hard_limit() -> None:
    assert limits_after(256, 4096, 1000) == ([4096, 4096, 0, 0], "")


def test_too_few_files_for_the_settings_are_reported_with_a_remedy() -> None:
    limits, said = limits_after(256, 4096, 20_000)
    assert limits[:2] == [4096, 4096]
    served, needed = (4096 - SPARE_FILES) // FILES_PER_CONNECTION, 20_000 * FILES_PER_CONNECTION + SPARE_FILES
    assert f"limits.connections is 20000, but with 4096 open files a worker serves {served} at most" in said
    assert f"to {needed}" in said


def test_worker_and_control_inherit_the_limits(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowered = len(list(Path("/proc/self/fd").iterdir())) + 256  # what is open already, and room
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowered, hard))
    try:
        with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}) as edge:
            for pid in (*edge.worker_pids(), edge.control_pid()):
                assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] > lowered
                assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
