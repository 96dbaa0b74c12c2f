"""A few work at once, one of each owner, in the order in which they came; too many of one owner are turned away."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from certstore.store.errors import TooBusy
from certstore.store.turns import Turns
from tests.deadlines import wait_for


class Callers:
    """Threads that ask for turns, and work until they are told to stop."""

    def __init__(self, turns: Turns, most: int) -> None:
        self.turns, self.most = turns, most
        self.working: list[str] = []
        self.ends: dict[str, threading.Event] = {}
        self.threads: list[threading.Thread] = []

    def call(self, name: str) -> None:
        """The owner is the name's first letter."""
        self.ends[name] = threading.Event()
        self.threads.append(threading.Thread(target=self._work, args=(name,)))
        self.threads[-1].start()
        wait_for(lambda: self.is_counted(len(self.ends)), f"{name} to be waiting")

    def is_counted(self, number: int) -> bool:
        return len(self.turns._owners) + sum(end.is_set() for end in self.ends.values()) >= number

    def _work(self, name: str) -> None:
        with self.turns.of(name[0], self.most):
            self.working.append(name)
            assert self.ends[name].wait(60)
            self.working.remove(name)

    def work(self, *names: str) -> None:
        wait_for(lambda: sorted(self.working) == sorted(names), f"{names} to work, and nobody else")

    def end(self, name: str) -> None:
        self.ends[name].set()


@contextmanager
def callers(at_once: int, most: int) -> Iterator[Callers]:
    found = Callers(Turns(at_once), most)
    try:
        yield found
    finally:
        for end in found.ends.values():
            end.set()
        for thread in found.threads:
            thread.join()


def test_one_of_each_owner_works_and_the_next_in_the_order_of_their_coming() -> None:
    with callers(2, 4) as found:
        for name in ("a1", "a2", "a3", "b1", "c1"):
            found.call(name)
        found.work("a1", "b1")
        found.end("a1")
        found.work("a2", "b1")
        found.end("b1")
        found.work("a2", "c1")
        found.end("c1")
        found.work("a2")
        found.end("a2")
        found.work("a3")


def test_too_many_of_one_owner_are_turned_away_and_no_other_is() -> None:
    with callers(1, 2) as found:
        for name in ("a1", "a2"):
            found.call(name)
        with pytest.raises(TooBusy, match="2 uploads"), found.turns.of("a", 2):
            pass
        assert found.turns.refused == 1
        found.call("b1")
        for ended, working in (("a1", "a2"), ("a2", "b1")):
            found.end(ended)
            found.work(working)


def test_whoever_fails_gives_the_turn_back() -> None:
    turns = Turns(1)
    with pytest.raises(ValueError, match="no"), turns.of("a", 1):
        raise ValueError("no")
    with turns.of("a", 1):
        pass
