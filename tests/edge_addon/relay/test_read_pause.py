from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from edge_addon.relay.read_pause import ReadPause, Reason
from edge_addon.transport.channel import Channel

UPSTREAM, PIPELINE = Reason.UPSTREAM, Reason.PIPELINE
Act = Callable[[ReadPause], None]


class Recorder:
    """The part of a channel that a pause uses."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


def add(reason: Reason) -> Act:
    return lambda pause: pause.add(reason)


def remove(reason: Reason) -> Act:
    return lambda pause: pause.remove(reason)


def clear(pause: ReadPause) -> None:
    pause.clear()


@pytest.mark.parametrize(
    ("acts", "calls"),
    [
        pytest.param([], [], id="no reason"),
        pytest.param([add(UPSTREAM)], ["pause"], id="the first reason pauses"),
        pytest.param([add(UPSTREAM), add(UPSTREAM)], ["pause"], id="the same reason twice pauses once"),
        pytest.param([add(UPSTREAM), add(PIPELINE)], ["pause"], id="a second reason changes nothing"),
        pytest.param([add(UPSTREAM), remove(UPSTREAM)], ["pause", "resume"], id="the last to go resumes"),
        pytest.param([add(UPSTREAM), add(PIPELINE), remove(UPSTREAM)], ["pause"], id="one reason is left"),
        pytest.param(
            [add(UPSTREAM), add(PIPELINE), remove(UPSTREAM), remove(PIPELINE)], ["pause", "resume"], id="both are gone"
        ),
        pytest.param([remove(UPSTREAM)], [], id="one that was not there"),
        pytest.param([add(UPSTREAM), remove(PIPELINE)], ["pause"], id="another one goes"),
        pytest.param([add(UPSTREAM), remove(UPSTREAM), remove(UPSTREAM)], ["pause", "resume"], id="it goes twice"),
        pytest.param([add(UPSTREAM), add(PIPELINE), clear], ["pause", "resume"], id="all go at once"),
        pytest.param([clear], [], id="none goes"),
        pytest.param([add(UPSTREAM), clear, add(PIPELINE)], ["pause", "resume", "pause"], id="a new one after all"),
    ],
)
def test_reading(acts: list[Act], calls: list[str]) -> None:
    channel = Recorder()
    pause = ReadPause(cast(Channel, channel))
    for act in acts:
        act(pause)
    assert channel.calls == calls
    assert pause.is_paused is (calls[-1:] == ["pause"])
