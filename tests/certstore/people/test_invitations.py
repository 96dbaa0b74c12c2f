from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.people.invitations import FIRST, LASTS, Invitations
from tests.certstore.acme.workshop import make_layout

TICK = timedelta(seconds=1)


class Time:
    now = datetime(2026, 11, 1, tzinfo=UTC)

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
def invitations(layout: Layout, time: Time) -> Iterator[Invitations]:
    invitations = Invitations(layout, time)
    yield invitations
    invitations.close()


@pytest.mark.parametrize(
    ("act", "found"),
    [
        pytest.param(lambda kept, secret: None, "anna", id="nothing"),
        pytest.param(lambda kept, secret: kept.find(secret), "anna", id="it is looked at"),
        pytest.param(lambda kept, secret: kept.use(secret), None, id="it is used"),
        pytest.param(lambda kept, secret: kept.make("anna"), None, id="a newer one for the same person"),
        pytest.param(lambda kept, secret: kept.make("otto"), "anna", id="one for somebody else"),
        pytest.param(lambda kept, secret: kept.make(FIRST), "anna", id="one for the first administrator"),
        pytest.param(lambda kept, secret: kept.withdraw("anna"), None, id="it is withdrawn"),
        pytest.param(lambda kept, secret: kept.withdraw("otto"), "anna", id="another is withdrawn"),
        pytest.param(lambda kept, secret: kept.use("guess"), "anna", id="somebody guesses"),
    ],
)
def test_what_invalidates_a_link(
    invitations: Invitations, layout: Layout, time: Time, act: Callable[[Invitations, str], object], found: str | None
) -> None:
    secret = invitations.make("anna")
    act(invitations, secret)
    after_restart = Invitations(layout, time)
    for each in (invitations, after_restart):
        assert each.find(secret) == found
    assert after_restart.use(secret) == found
    assert after_restart.use(secret) is None
    after_restart.close()


@pytest.mark.parametrize(
    ("later", "found"), [pytest.param(LASTS - TICK, "anna", id="in time"), pytest.param(LASTS, None, id="too late")]
)
def test_link_expires(invitations: Invitations, time: Time, later: timedelta, found: str | None) -> None:
    secret = invitations.make("anna")
    time.now += later
    assert invitations.find(secret) == invitations.use(secret) == found


def test_first_administrator_has_no_name_yet(invitations: Invitations) -> None:
    assert invitations.use(invitations.make(FIRST)) == FIRST


def test_disk_holds_no_secret(invitations: Invitations, layout: Layout) -> None:
    secret = invitations.make("anna")
    assert secret not in layout.invitations.read_text()
