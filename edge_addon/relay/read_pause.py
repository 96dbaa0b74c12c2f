"""Why the edge does not read from a client: the first reason pauses the channel, the last one to go resumes it."""

from __future__ import annotations

from enum import IntFlag

from edge_addon.transport.channel import Channel


class Reason(IntFlag):
    UPSTREAM = 1
    """The upstream does not keep up with the body, or there is no connection to it yet."""
    PIPELINE = 2
    """The client has sent too far ahead."""


class ReadPause:
    """The reasons of one channel."""

    __slots__ = ("_channel", "_reasons")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._reasons = 0

    @property
    def is_paused(self) -> bool:
        return self._reasons != 0

    def add(self, reason: Reason) -> None:
        if not self._reasons:
            self._channel.pause_reading()
        self._reasons |= reason

    def remove(self, reason: Reason) -> None:
        if self._reasons and self._reasons & reason:
            self._reasons &= ~reason
            if not self._reasons:
                self._channel.resume_reading()

    def clear(self) -> None:
        if self._reasons:
            self._reasons = 0
            self._channel.resume_reading()
