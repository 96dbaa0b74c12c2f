"""What a forked child reports to its parent."""

import os
import signal
from collections.abc import Callable

from edge_addon.processes.forking import Lifeline, ParentLink, fork


def says(main: Callable[[ParentLink], int]) -> bytes:
    """Everything that a child running `main` reports."""
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


def test_child_reports_ready_with_a_byte_and_closed_sockets_with_the_end() -> None:
    def main(parent: ParentLink) -> int:
        parent.announce_ready()
        parent.announce_closed()
        return 0

    assert says(main) == b"R"


def test_child_that_is_ready_after_it_has_closed_writes_to_no_other_descriptor() -> None:
    def main(parent: ParentLink) -> int:
        parent.announce_closed()
        read_fd, write_fd = os.pipe()
        others = [write_fd, *(os.dup(write_fd) for _ in range(10))]  # one has the descriptor of the closed pipe
        parent.announce_ready()
        for each in others:
            os.close(each)
        return len(os.read(read_fd, 10))

    assert says(main) == b""


def test_log_rotation_does_not_kill_a_starting_child() -> None:
    def main(parent: ParentLink) -> int:
        os.kill(os.getpid(), signal.SIGUSR1)
        parent.announce_ready()
        return 0

    assert says(main) == b"R"
