"""API tokens: their end, their last use, and files from before there was either."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from certstore.model.console.authorization import Scope
from certstore.model.console.people import InvalidPerson
from certstore.model.layout import Layout
from certstore.people.tokens import Tokens
from tests.certstore.renewal.scene import Clock


class Standing(Clock):
    """It stands still until a test moves it, so that no test depends on the machine's pace."""

    def __init__(self) -> None:
        super().__init__()
        self.began = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.began + self.offset


@pytest.fixture
def clock() -> Clock:
    return Standing()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.admin.mkdir(parents=True)
    layout.temporary.mkdir(parents=True)
    return layout


@pytest.fixture
def tokens(layout: Layout, clock: Clock) -> Iterator[Tokens]:
    with closing(Tokens(layout, clock)) as opened:
        yield opened


def add(tokens: Tokens, ends_at: datetime | None = None) -> str:
    return tokens.add("ci", Scope.READ, None, "user anna", ends_at)[1]


def test_token_is_valid_until_its_end_and_stays_listed(tokens: Tokens, clock: Clock) -> None:
    text = add(tokens, clock() + timedelta(hours=2))
    assert tokens.find(text) is not None
    clock.forward(hours=2)
    assert tokens.find(text) is None
    assert [each.has_ended(clock()) for each in tokens.all()] == [True]


def test_token_without_an_end_does_not_end(tokens: Tokens, clock: Clock) -> None:
    text = add(tokens)
    clock.forward(hours=24 * 3650)
    assert tokens.find(text) is not None


@pytest.mark.parametrize("end", [timedelta(), timedelta(days=-1)])
def test_end_in_the_past_is_refused(tokens: Tokens, clock: Clock, end: timedelta) -> None:
    with pytest.raises(InvalidPerson, match="in the future"):
        add(tokens, clock() + end)
    with pytest.raises(InvalidPerson, match="time zone"):
        add(tokens, datetime(2999, 1, 1))  # noqa: DTZ001  what a careless program may send
    with pytest.raises(InvalidPerson, match="never end"):
        add(tokens, datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12))))
    assert tokens.all() == []


def test_use_is_written_down_once_a_minute_however_often_it_is_used(
    tokens: Tokens, layout: Layout, clock: Clock
) -> None:
    text = add(tokens)
    assert tokens.all()[0].used_at is None
    before = len(layout.tokens.read_bytes().splitlines())
    for _ in range(100):
        assert tokens.find(text) is not None
    assert len(layout.tokens.read_bytes().splitlines()) == before + 1
    assert tokens.all()[0].used_at == clock()
    clock.forward(minutes=1)
    assert tokens.find(text) is not None
    assert tokens.all()[0].used_at == clock()


def test_wrong_secret_is_no_use(tokens: Tokens) -> None:
    text = add(tokens)
    assert tokens.find(text[:-1] + ("A" if text[-1] != "A" else "B")) is None
    assert tokens.all()[0].used_at is None


def test_use_and_end_outlive_a_restart(layout: Layout, clock: Clock) -> None:
    end = clock() + timedelta(days=1)
    with closing(Tokens(layout, clock)) as tokens:
        text = add(tokens, end)
        tokens.find(text)
    with closing(Tokens(layout, clock)) as tokens:
        assert [(each.used_at, each.ends_at) for each in tokens.all()] == [(clock(), end)]
        assert tokens.find(text) is not None


def test_full_disk_fails_no_request(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    text = add(tokens)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("certstore.files.line_log.LineLog.append", full)
    assert tokens.find(text) is not None


def test_token_of_an_earlier_release_still_works(layout: Layout, clock: Clock) -> None:
    with closing(Tokens(layout, clock)) as tokens:
        text = add(tokens)
    written = layout.tokens.read_text()
    assert "ends_at" not in written, "the form of the earlier release"
    assert "used_at" not in written
    with closing(Tokens(layout, clock)) as tokens:
        assert tokens.find(text) is not None
