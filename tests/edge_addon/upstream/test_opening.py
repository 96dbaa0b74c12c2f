"""The place of a request in a line: how it gets there, and every way out of it."""

import asyncio

import pytest

from edge_addon.upstream import opening as opening_module
from edge_addon.upstream.bounds import LINE_LENGTH, AddressUsage, Exceeded, Line, serve
from edge_addon.upstream.connection import UpstreamConnection
from edge_addon.upstream.opening import Opening
from tests.deadlines import wait_for_in_loop
from tests.loops import in_loop


class Pool:
    """A pool with one bound that the test sets, and what an opening has asked of it."""

    def __init__(self) -> None:
        self.reached: Exceeded | None = Exceeded.POOL
        self.own_line: Line = {}
        self.begun: list[Opening] = []
        self.refused: list[str] = []

    def exceeded(self, _: AddressUsage) -> Exceeded | None:
        return self.reached

    def line(self, exceeded: Exceeded, usage: AddressUsage) -> Line:
        return usage.waiting if exceeded is Exceeded.ADDRESS else self.own_line

    def begin(self, opening: Opening) -> None:
        self.begun.append(opening)

    def connected(self, _: UpstreamConnection) -> None:
        raise AssertionError("no connection is made here")

    def not_connected(self, cause: str) -> None:
        self.refused.append(cause)

    def waits(self, usage: AddressUsage) -> Opening:
        opening = Opening(self, self, usage, 0.0, None)
        opening.wait(self.own_line, Exceeded.POOL)
        return opening


@in_loop
async def test_requests_go_on_in_the_order_of_arrival_once_there_is_room() -> None:
    pool = Pool()
    openings = [pool.waits(AddressUsage()) for _ in range(3)]
    serve(pool.own_line)
    assert pool.begun == []
    pool.reached = None
    serve(pool.own_line)
    assert (pool.begun, pool.own_line) == (openings, {})


@in_loop
async def test_a_request_that_another_bound_keeps_changes_the_line() -> None:
    pool, usage = Pool(), AddressUsage()
    opening = pool.waits(usage)
    pool.reached = Exceeded.ADDRESS
    serve(pool.own_line)
    assert (list(usage.waiting), pool.own_line, pool.begun) == ([opening], {}, [])


@in_loop
async def test_a_request_that_is_cancelled_leaves_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening_module, "LINE_SECONDS", 0)
    pool = Pool()
    cancelled, other = pool.waits(AddressUsage()), pool.waits(AddressUsage())
    cancelled.cancel()
    assert list(pool.own_line) == [other]
    await wait_for_in_loop(lambda: pool.refused, "the end of the other one's wait")
    assert (pool.refused, pool.own_line) == ([Exceeded.POOL], {})


@in_loop
async def test_a_request_is_refused_at_once_where_the_line_is_full() -> None:
    pool = Pool()
    waiting = [pool.waits(AddressUsage()) for _ in range(LINE_LENGTH)]
    pool.waits(AddressUsage())
    assert pool.refused == []  # its session is in the middle of its own work
    await asyncio.sleep(0)
    assert (pool.refused, list(pool.own_line)) == ([Exceeded.POOL], waiting)
    for each in waiting:
        each.cancel()
