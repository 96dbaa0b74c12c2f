"""Uploads over a simulated line: how fast they get, what they hold, what they leave behind."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge_addon.http.framing import CHUNKED
from edge_addon.relay.http2.upload import Upload
from edge_addon.relay.http2.windows import (
    CONNECTION_WINDOW,
    LARGEST_STREAM_WINDOW,
    STREAM_WINDOW,
    ConnectionWindow,
    Window,
)
from edge_addon.upstream.bounds import Share

MB = 2**20
RTT = 0.06


@dataclass
class Line:
    """One connection: the `Credit` of its uploads, with real windows, and a client that sends all that it may."""

    worker: Share = field(default_factory=lambda: Share(64 * MB, "worker"))
    time: float = 0.0
    windows: dict[int, Window] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbound = ConnectionWindow((self.worker,))

    def open(self, length: int) -> Upload:
        number = len(self.windows)
        self.windows[number] = Window(STREAM_WINDOW)
        upload = Upload(self, self.now, number, length)
        self.uploads.append(upload)
        if self.inbound.is_low:
            for each in self.uploads:
                each.borrow()
        return upload

    def send(self, upload: Upload, at_most: int = 1 << 40, *, padding: int = 0) -> int:
        """What the client sends on this upload now, as frames of 16 KB."""
        window = upload._window
        left = min(at_most, window.rest)
        sent = 0
        while left and (room := min(window.current_window_size, self.inbound.current_window_size) - padding) > 0:
            size = min(left, room, 16384)
            window.window_consumed(size + padding)
            self.inbound.window_consumed(size + padding)
            assert upload.received(size, size + padding)
            left, sent = left - size, sent + size
        return sent

    def now(self) -> float:
        return self.time

    def window(self, stream_id: int) -> Window:
        return self.windows[stream_id]

    def acknowledge(self, stream_id: int, size: int, borrowed: int = 0) -> None:
        self.windows[stream_id].process_bytes(size)
        if borrowed:
            self.inbound.shrink(borrowed)
        self.inbound.process_bytes(size)

    def lend(self, size: int) -> bool:
        cause = self.inbound.borrow(size)
        self.inbound.process_bytes(0)
        if cause:
            self.refusals.append(cause)
        return not cause

    def relieve(self, size: int) -> bool:
        return len(self.windows) > 1 and self.inbound.is_low and self.lend(size)

    def give_back(self, size: int) -> None:
        self.inbound.shrink(size)


def rounds(line: Line, upload: Upload, total: int, *, rtt: float = RTT) -> list[int]:
    """Send `total` bytes; returns what was sent in each round trip."""
    sent: list[int] = []
    while sum(sent) < total:
        sent.append(line.send(upload, total - sum(sent)))
        line.time += rtt
        upload.taken()
        assert len(sent) < 1000
    return sent


@pytest.mark.parametrize("length", [60 * MB, CHUNKED], ids=["with a length", "without"])
@pytest.mark.parametrize(("rtt", "most"), [(0.02, 20), (0.06, 20), (0.15, 20), (0.45, 20)])
def test_a_window_doubles_in_each_round_trip(length: int, rtt: float, most: int) -> None:
    """60 MB took 240 round trips through a window of 256 KB."""
    line = Line()
    upload = line.open(length)
    sent = rounds(line, upload, 60 * MB, rtt=rtt)
    assert sent[:5] == [STREAM_WINDOW, 2 * STREAM_WINDOW, 4 * STREAM_WINDOW, 8 * STREAM_WINDOW, LARGEST_STREAM_WINDOW]
    assert max(sent) == LARGEST_STREAM_WINDOW
    assert len(sent) <= most


def test_an_upload_with_a_length_leaves_nothing_lent() -> None:
    line = Line()
    upload = line.open(60 * MB)
    rounds(line, upload, 60 * MB)
    upload.complete()
    upload.close()
    assert (line.worker.lent, line.inbound.max_window_size) == (0, CONNECTION_WINDOW)


def test_after_one_without_a_length_the_rest_is_given_back_as_the_client_sends() -> None:
    line = Line()
    upload = line.open(CHUNKED)
    rounds(line, upload, 20 * MB)
    upload.complete()
    upload.close()
    assert 0 < line.worker.lent <= LARGEST_STREAM_WINDOW
    for _ in range(20):
        another = line.open(STREAM_WINDOW)
        rounds(line, another, STREAM_WINDOW)
        another.close()
    assert line.worker.lent == 0


@pytest.mark.parametrize("rate", [100_000, MB, 20 * MB], ids=["100 KB/s", "1 MB/s", "20 MB/s"])
def test_a_slow_upstream_does_not_fill_memory(rate: int) -> None:
    """The client could send at once what the windows allow; the upstream takes `rate` bytes a second."""
    line = Line()
    upload = line.open(100 * MB)
    while upload._window.rest > 90 * MB:
        upload.pause()
        sent = line.send(upload)
        line.time += sent / rate
        upload.resume()
        upload.taken()
    assert upload._window.max_window_size == STREAM_WINDOW
    assert line.worker.lent == 0


def test_a_slow_client_gets_no_large_window() -> None:
    line = Line()
    upload = line.open(100 * MB)
    for _ in range(600):
        line.send(upload, 100_000)  # 200 KB a second
        line.time += 0.5
        upload.taken()
    assert upload._window.max_window_size == STREAM_WINDOW


def test_a_window_that_is_no_longer_used_shrinks_back() -> None:
    line = Line()
    upload = line.open(CHUNKED)
    rounds(line, upload, 20 * MB)
    assert upload._window.max_window_size == LARGEST_STREAM_WINDOW
    for _ in range(1000):
        line.send(upload, 50_000)
        line.time += 1
        upload.taken()
    assert (upload._window.max_window_size, line.worker.lent) == (STREAM_WINDOW, 0)


def test_an_upstream_that_stops_holds_no_more_than_the_window() -> None:
    line = Line()
    upload = line.open(CHUNKED)
    rounds(line, upload, 20 * MB)
    upload.pause()
    held = line.send(upload)
    assert held <= LARGEST_STREAM_WINDOW
    assert line.send(upload) == 0
    upload.close()
    assert line.inbound.current_window_size >= CONNECTION_WINDOW // 2


def test_sixteen_uploads_that_stand_still_leave_room_for_another() -> None:
    line = Line()
    for _ in range(16):
        stuck = line.open(CHUNKED)
        stuck.pause()
        assert line.send(stuck) == STREAM_WINDOW
    other = line.open(CHUNKED)
    assert line.worker.lent <= 16 * STREAM_WINDOW
    assert len(rounds(line, other, MB)) < 12


def test_what_a_stalled_upload_has_borrowed_is_given_back_once_it_goes_on() -> None:
    line = Line()
    stuck, _ = line.open(CHUNKED), line.open(CHUNKED)
    stuck.pause()
    line.send(stuck)
    assert line.worker.lent > 0
    line.time += 1
    stuck.resume()
    stuck.taken()
    for upload in (stuck, _):
        rounds(line, upload, STREAM_WINDOW, rtt=1.0)
    assert line.worker.lent == 0


def test_a_worker_without_room_serves_uploads_with_the_windows_that_all_have() -> None:
    line = Line(Share(0, "worker"))
    upload = line.open(10 * MB)
    assert set(rounds(line, upload, 10 * MB)) == {STREAM_WINDOW}
    assert set(line.refusals) == {"worker"}


def test_padding_can_not_bring_an_upload_to_a_stop() -> None:
    """It uses up the window, so the rest of the body needs further announcements."""
    line = Line()
    upload = line.open(STREAM_WINDOW)
    sent = 0
    for _ in range(1100):
        sent += line.send(upload, 255, padding=255)
        upload.taken()
        if sent == STREAM_WINDOW:
            break
    assert sent == STREAM_WINDOW


def test_more_than_the_length_is_noticed() -> None:
    upload = Line().open(10)
    found = [(upload.received(size, size), upload.is_short) for size in (9, 1, 1)]
    assert found == [(True, True), (True, False), (False, False)]
