"""No two programs get the same port from `tests.ports`."""

import subprocess
import sys
from pathlib import Path

from tests.ports import free_port, listening_socket

ROOT = Path(__file__).parents[1]
SOME = "from tests.ports import free_port; print(*(free_port() for _ in range(200)), flush=True); input()"


def test_two_processes_never_get_the_same_port() -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", SOME], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    given: list[bytes] = []
    for child in children:
        assert child.stdout is not None
        given += child.stdout.readline().split()
    for child in children:
        child.communicate(b"\n")
    assert len(set(given)) == len(given) == 600


def test_the_system_gives_such_a_port_to_nobody() -> None:
    range_ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    with listening_socket() as listener:
        assert listener.getsockname()[1] >= int(range_[0]) > free_port()
