"""What a forked child says to its parent."""

import os
import signal
from collections.abc import Callable

from edge_addon.processes.forking import Lifeline, ParentLink, fork


def says(main: Callable[[ParentLink], int]) -> bytes:
    """All that a child with this life says, to the end."""
    lifeline = Lifeline()
    child = fork("test", main, lifeline, lambda: None)
    try:
        with os.fdopen(child.status_fd, "rb") as news:
            said = news.read()
        _, status = os.waitpid(child.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        lifeline.close()
    return said


def test_child_says_that_it_is_ready_and_by_the_end_that_it_has_closed() -> None:
    def main(parent: ParentLink) -> int:
        parent.announce_ready()
        parent.announce_closed()
        return 0

    assert says(main) == b"R"


def test_child_that_is_ready_after_it_has_closed_writes_to_nobody_else() -> None:
    def main(parent: ParentLink) -> int:
        parent.announce_closed()
        read_fd, write_fd = os.pipe()
        others = [write_fd, *(os.dup(write_fd) for _ in range(10))]  # one has the number of what was closed
        parent.announce_ready()
        for each in others:
            os.close(each)
        return len(os.read(read_fd, 10))

    assert says(main) == b""


def test_log_rotation_does_not_end_a_child_that_starts() -> None:
    def main(parent: ParentLink) -> int:
        os.kill(os.getpid(), signal.SIGUSR1)
        parent.announce_ready()
        return 0

    assert says(main) == b"R"
