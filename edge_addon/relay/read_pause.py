"""Why a client is not read from at the moment: any reason stops it, the last one that goes lets it go on."""

from __future__ import annotations

from enum import IntFlag

from edge_addon.transport.channel import Channel


class Reason(IntFlag):
    UPSTREAM = 1
    """The upstream takes no more of the body, or there is no connection to it yet."""
    PIPELINE = 2
    """The client has sent too far ahead."""


class ReadPause:
    """The held state of one channel's reading side."""

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
