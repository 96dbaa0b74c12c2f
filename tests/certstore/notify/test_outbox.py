"""When notices are sent, repeated and given up, on a channel that does as it is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.files.keyed_state import KeyedState
from certstore.model.notify.due_notices import Notice
from certstore.model.notify.warnings import stalled
from certstore.notify import outbox as outbox_module
from certstore.notify.channel import ChannelFailed, Refused
from certstore.notify.outbox import NOTICES_A_ROUND, Outbox

BEGIN = datetime(2027, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MATTER = stalled(BEGIN - timedelta(hours=1))


class FakeChannel:
    name = "fake"

    def __init__(self) -> None:
        self.offered: list[list[str]] = []
        self.delivered: list[str] = []
        self.refuses: set[str] = set()
        self.breaks: set[str] = set()
        self.own: list[str] = []

    def recipients(self, contacts: Collection[str]) -> Collection[str]:
        return [*self.own, *contacts]

    def serves(self, recipient: str) -> bool:
        return recipient != "somebody else's"

    def deliver(
        self, notices: Sequence[Notice], now: datetime, delivered: Callable[[Notice], None]
    ) -> Sequence[Refused]:
        self.offered.append([each.recipient for each in notices])
        for notice in notices:
            if notice.recipient in self.breaks:
                failed = ChannelFailed("the connection broke")
                failed.lost = (notice.recipient,)
                raise failed
            if notice.recipient not in self.refuses:
                delivered(notice)
                self.delivered.append(notice.recipient)
        return [Refused(each.recipient, "no such person") for each in notices if each.recipient in self.refuses]

    def test(self, recipients: Sequence[str], now: datetime) -> Sequence[Refused]:
        return ()


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def kept(tmp_path: Path) -> KeyedState:
    return KeyedState(tmp_path / "mails.jsonl", tmp_path)


def send(outbox: Outbox, now: datetime, *recipients: str) -> None:
    outbox.round([(MATTER, recipients)], now)


def test_notice_is_sent_once_and_not_again_after_a_restart(channel: FakeChannel, kept: KeyedState) -> None:
    for _ in range(2):
        outbox = Outbox(channel, kept)
        for minutes in range(3):
            send(outbox, BEGIN + minutes * MINUTE, "a", "b")
        assert outbox.problem is None
    assert channel.delivered == ["a", "b"]


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(1, 1), (2, 5), (3, 15), (4, 30), (5, 30)],
    ids=["first", "second", "third", "fourth", "and so on"],
)
def test_wait_after_failures_in_a_row(channel: FakeChannel, kept: KeyedState, failures: int, wait: int) -> None:
    channel.breaks = {"a"}
    outbox, now = Outbox(channel, kept), BEGIN
    for _ in range(failures):
        send(outbox, now, "a")
        now += 31 * MINUTE
    assert outbox.problem == "the connection broke"
    failed_at = now - 31 * MINUTE
    channel.breaks = set()
    send(outbox, failed_at + wait * MINUTE - timedelta(seconds=1), "a")
    assert channel.delivered == []
    send(outbox, failed_at + wait * MINUTE, "a")
    assert channel.delivered == ["a"]
    assert outbox.problem is None


def test_clock_that_was_set_back_holds_up_nothing(channel: FakeChannel, kept: KeyedState) -> None:
    channel.breaks = {"a"}
    outbox = Outbox(channel, kept)
    send(outbox, BEGIN + timedelta(days=300), "a")
    channel.breaks = set()
    send(outbox, BEGIN, "a")
    assert channel.delivered == ["a"]


def test_refused_recipient_is_tried_again_after_hours_and_holds_up_nobody(
    channel: FakeChannel, kept: KeyedState
) -> None:
    channel.refuses = {"a"}
    outbox = Outbox(channel, kept)
    send(outbox, BEGIN, "a", "b")
    send(outbox, BEGIN + timedelta(hours=6) - timedelta(seconds=1), "a", "b")
    assert channel.offered == [["a", "b"]]
    assert outbox.problem == "a warning to a was refused: no such person"
    channel.refuses = set()
    send(outbox, BEGIN + timedelta(hours=6), "a", "b")
    assert channel.delivered == ["b", "a"]


def test_recipient_that_broke_the_connection_goes_last(channel: FakeChannel, kept: KeyedState) -> None:
    channel.breaks = {"a"}
    outbox = Outbox(channel, kept)
    send(outbox, BEGIN, "a", "b")
    send(outbox, BEGIN + MINUTE, "a", "b")
    assert channel.offered == [["a", "b"], ["b", "a"]]
    assert channel.delivered == ["b"]


def test_full_disk_repeats_no_notice(channel: FakeChannel, kept: KeyedState, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "put", broken)
    outbox = Outbox(channel, kept)
    for minutes in range(3):
        send(outbox, BEGIN + minutes * MINUTE, "a")
    assert channel.delivered == ["a"]


def test_what_another_channel_told_is_left_to_it(channel: FakeChannel, kept: KeyedState) -> None:
    send(Outbox(channel, kept), BEGIN, "a")
    kept.put("somebody else's", kept["a"])
    Outbox(channel, kept).round([], BEGIN + timedelta(days=1))
    assert channel.delivered == ["a", "a"], "the second is told that it is resolved"


def test_a_round_is_bounded_and_the_administrators_come_first(channel: FakeChannel, kept: KeyedState) -> None:
    channel.own = ["the administrator"]
    outbox, everybody = Outbox(channel, kept), [f"r{number}" for number in range(250)]
    for minutes in range(4):
        send(outbox, BEGIN + minutes * MINUTE, *everybody)
    assert [len(each) for each in channel.offered] == [NOTICES_A_ROUND, NOTICES_A_ROUND, 251 - 2 * NOTICES_A_ROUND]
    assert channel.delivered[0] == "the administrator"
    assert sorted(channel.delivered) == sorted([*everybody, "the administrator"])


def test_strangers_whom_sites_name_are_bounded_by_day(
    channel: FakeChannel, kept: KeyedState, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "NEWCOMERS_A_DAY", 5)
    channel.own = ["the administrator"]
    outbox = Outbox(channel, kept)
    channel.breaks = {"r0"}
    send(outbox, BEGIN, "r0")
    channel.breaks = set()
    for minutes in range(10, 20):
        send(outbox, BEGIN + minutes * MINUTE, *[f"r{minutes}.{number}" for number in range(10)])
    assert len(set(channel.delivered)) == 5 + 1, "what was not delivered does not count"
    assert sum("have to wait" in record.message for record in caplog.records) == 1
    send(outbox, BEGIN + timedelta(days=1), "next day")
    assert "next day" in channel.delivered
