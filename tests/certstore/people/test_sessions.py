from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.files.keyed_state import KeyedState
from certstore.model.layout import Layout
from certstore.people.sessions import IDLE, LONGEST, Session, Sessions, digest_of
from tests.certstore.acme.workshop import make_layout

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
TICK = timedelta(seconds=1)


class Time:
    now = BEGIN

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = make_layout(tmp_path / "store")
    layout.admin.mkdir()
    return layout


@pytest.fixture
def sessions(layout: Layout, time: Time) -> Iterator[Sessions]:
    sessions = Sessions(layout, time)
    yield sessions
    sessions.close()


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        pytest.param(timedelta(), IDLE - TICK, False, id="idle for almost too long"),
        pytest.param(timedelta(), IDLE, True, id="idle for too long"),
        pytest.param(LONGEST - 2 * TICK, LONGEST - TICK, False, id="almost too old"),
        pytest.param(LONGEST - TICK, LONGEST, True, id="too old, though in use"),
    ],
)
def test_session_is_over(seen: timedelta, now: timedelta, expected: bool) -> None:
    assert Session("anna", BEGIN, BEGIN + seen, "192.0.2.1", "digest").is_over(BEGIN + now) is expected


def test_session_comes_back_from_json_without_its_secret() -> None:
    session = Session("anna", BEGIN, BEGIN + TICK, "192.0.2.1", "digest")
    assert Session.from_json("digest", session.to_json()) == session
    secret = Session("anna", BEGIN, BEGIN, "192.0.2.1", digest_of("secret"), "secret")
    assert "secret" not in repr(secret) + repr(secret.to_json()) + secret.csrf_token


@pytest.mark.parametrize(
    ("act", "found"),
    [
        pytest.param(lambda sessions, one: None, True, id="nothing"),
        pytest.param(lambda sessions, one: sessions.end(one.digest), False, id="it is ended"),
        pytest.param(lambda sessions, one: sessions.end_all("anna"), False, id="all of the user are ended"),
        pytest.param(lambda sessions, one: sessions.end_all("anna", but=one.digest), True, id="all but this one"),
        pytest.param(lambda sessions, one: sessions.end_all("otto"), True, id="all of another user"),
    ],
)
def test_what_ends_a_session(
    sessions: Sessions, layout: Layout, time: Time, act: Callable[[Sessions, Session], object], found: bool
) -> None:
    one = sessions.begin("anna", "192.0.2.1")
    act(sessions, one)
    after_restart = Sessions(layout, time)
    for each in (sessions, after_restart):
        assert each.find(one.secret) == (one if found else None)
    after_restart.close()


@pytest.mark.parametrize("secret", ["", "wrong"])
def test_wrong_secret_finds_nothing(sessions: Sessions, secret: str) -> None:
    one = sessions.begin("anna", "192.0.2.1")
    assert sessions.find(secret) is None
    assert sessions.find(one.digest) is None, "a copy of the store lets nobody in"


def test_use_extends_a_session_up_to_its_longest(sessions: Sessions, time: Time) -> None:
    one = sessions.begin("anna", "192.0.2.1")
    while time.now + IDLE - TICK < BEGIN + LONGEST:
        time.now += IDLE - TICK
        assert sessions.find(one.secret) is not None
    time.now = BEGIN + LONGEST
    assert sessions.find(one.secret) is None
    assert sessions.of("anna") == []


def test_user_has_only_so_many_and_the_least_used_go(sessions: Sessions, time: Time) -> None:
    first, *_ = made = [sessions.begin("anna", "192.0.2.1") for _ in range(20)]
    time.now += timedelta(minutes=10)
    assert sessions.find(first.secret) is not None
    sessions.begin("otto", "192.0.2.1")
    sessions.begin("anna", "192.0.2.1")
    assert len(sessions.of("anna")) == 20
    assert sessions.find(first.secret) is not None, "it was used since"
    assert sum(sessions.find(each.secret) is None for each in made) == 1
    assert sessions.end_all("anna", but=first.digest) == 19


def test_sign_in_works_while_the_disk_refuses_to_write(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(KeyedState, "put", broken)
    monkeypatch.setattr(KeyedState, "drop", broken)
    one = sessions.begin("anna", "192.0.2.1")
    assert sessions.find(one.secret) == one
    sessions.end(one.digest)
    assert sessions.find(one.secret) is None
