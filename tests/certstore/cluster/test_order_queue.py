"""A version waits for the thread that publishes, and hears what became of it."""

import threading
from pathlib import Path

import pytest

from certstore.cluster.engine import CreatedAt, EngineFull, EngineLost
from certstore.cluster.order_queue import OrderQueue
from certstore.model.version import Version
from certstore.store.versions import read_live
from tests.certstore.stores import writing

FENCE = CreatedAt("/lock", 7)


@pytest.fixture
def version(tmp_path: Path) -> Version:
    with writing(tmp_path) as writer:
        live = read_live(writer.layout, "main")
        assert live is not None
        return live


def answered(version: Version, answer: object) -> OrderQueue:
    """A queue whose other thread answers so as soon as it is woken."""
    woken = threading.Event()
    queue = OrderQueue(woken.set, wait_seconds=10)

    def publish(asked: Version, fence: CreatedAt) -> str | None:
        assert (asked, fence) == (version, FENCE)
        if isinstance(answer, Exception):
            raise answer
        assert answer is None or isinstance(answer, str)
        return answer

    def run() -> None:
        assert woken.wait(10)
        assert queue.run(publish)

    threading.Thread(target=run, daemon=True).start()
    return queue


@pytest.mark.parametrize("answer", [None, "edge-b orders"])
def test_the_answer_comes_back(answer: str | None, version: Version) -> None:
    assert answered(version, answer).publish(version, FENCE) == answer


def test_so_does_what_went_wrong(version: Version) -> None:
    with pytest.raises(EngineFull, match="full"):
        answered(version, EngineFull("full")).publish(version, FENCE)


def test_nobody_waits_for_ever_and_what_was_given_up_is_not_published(version: Version) -> None:
    queue = OrderQueue(lambda: None, wait_seconds=0.01)
    with pytest.raises(EngineLost, match="did not take"):
        queue.publish(version, FENCE)

    def publish(asked: Version, fence: CreatedAt) -> str | None:
        raise AssertionError("nobody waits for this any longer")

    assert not queue.run(publish)
