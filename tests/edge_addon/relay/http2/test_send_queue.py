"""Bytes leave a queue in order, and the connection knows how many wait."""

import time

from hypothesis import given
from hypothesis import strategies as st

from edge_addon.relay.http2.send_queue import SendQueue


@given(st.lists(st.binary(max_size=20) | st.integers(0, 20)))
def test_what_is_added_leaves_in_order_and_the_connection_knows_the_rest(steps: list[bytes | int]) -> None:
    reported: list[int] = []
    queue, added, sent = SendQueue(reported.append), b"", b""
    for step in steps:
        if isinstance(step, bytes):
            queue.add(step)
            added += step
        else:
            size = min(step, len(queue.data))
            sent += bytes(queue.data[:size])
            queue.cut(size)
        assert sent + bytes(queue.data) == added
        queue.report()
        assert sum(reported) == len(queue.data)
    assert 0 not in reported


def test_a_queue_that_is_dropped_counts_no_longer() -> None:
    reported: list[int] = []
    queue = SendQueue(reported.append)
    queue.add(b"four")
    queue.report()
    queue.drop()
    queue.drop()
    assert reported == [4, -4]


def test_windows_that_open_byte_by_byte_cost_no_copies_of_all_that_waits() -> None:
    queue = SendQueue(lambda _: None)
    queue.add(bytes(8 << 20))
    begun = time.process_time()
    for _ in range(10_000):  # with copies: 80 GB
        queue.cut(1)
    assert time.process_time() - begun < 1
    assert len(queue.data) == (8 << 20) - 10_000
