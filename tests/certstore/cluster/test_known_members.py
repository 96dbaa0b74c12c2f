"""An older record of a member counts for nothing, whoever shows it."""

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.cluster.keys import KeyRing
from certstore.cluster.known_members import KnownMembers, read_known
from certstore.files.line_log import LineLog
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Member, Role
from certstore.model.cluster.wire import Refusal, Refused
from certstore.model.layout import Layout

PATHS = ClusterPaths(KeyRing.draw("edge-a").cluster)
MEMBER = Member("edge-b", Role.EDGE, "00" * 32, "11" * 32, "edge-a", datetime(2026, 11, 1, tzinfo=UTC))
LEFT = replace(MEMBER, has_left=True)
ELSEWHERE = replace(MEMBER, addresses=("192.0.2.7",))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    layout.temporary.mkdir()
    return layout


@pytest.fixture
def known(layout: Layout) -> KnownMembers:
    return KnownMembers(layout, PATHS)


@pytest.mark.parametrize(
    ("first", "then", "counts"),
    [
        ((1, MEMBER), (2, LEFT), True),
        ((2, MEMBER), (2, MEMBER), True),
        ((2, LEFT), (1, MEMBER), False),
        ((2, LEFT), (2, MEMBER), False),
        ((2, MEMBER), (2, LEFT), True),
        ((2, MEMBER), (2, ELSEWHERE), False),
        ((2, LEFT), (3, MEMBER), True),
    ],
    ids=["removal", "same", "replayed", "written twice", "removed and written", "moved twice", "invited again"],
)
def test_what_counts(known: KnownMembers, first: tuple[int, Member], then: tuple[int, Member], counts: bool) -> None:
    known.take(*first)
    if counts:
        known.take(*then)
    else:
        with pytest.raises(Refused, match="an old record of the member edge-b") as refused:
            known.take(*then)
        assert refused.value.why is Refusal.STALE
    newest = known["edge-b"]
    assert (newest.generation, newest.member) == (then if counts else first)


def test_it_outlives_a_restart_and_commands_read_it(layout: Layout, known: KnownMembers) -> None:
    known.take(4, LEFT)
    assert read_known(layout, PATHS) == dict(known)
    known.close()
    again = KnownMembers(layout, PATHS)
    assert again["edge-b"].generation == 4
    with pytest.raises(Refused):
        again.take(3, MEMBER)


def test_another_cluster_has_members_of_its_own(layout: Layout, known: KnownMembers) -> None:
    known.take(4, LEFT)
    known.close()
    other = ClusterPaths(KeyRing.draw("edge-a").cluster)
    assert read_known(layout, other) == {}
    assert dict(KnownMembers(layout, other)) == {}


def test_nothing_is_known_without_a_file(layout: Layout) -> None:
    assert read_known(layout, PATHS) == {}


def test_a_line_that_can_not_be_read_hides_no_other(layout: Layout, known: KnownMembers) -> None:
    known.take(4, LEFT)
    known.close()
    with layout.known_members.open("a") as file:
        file.write(f'["{PATHS.member("edge-c")}", [1, {{}}]]\n["{PATHS.member("edge-d")}", 7]\n["')
    assert set(read_known(layout, PATHS)) == {"edge-b"}
    assert set(KnownMembers(layout, PATHS)) == {"edge-b"}


def test_a_disk_that_takes_nothing_takes_nobody_out(
    known: KnownMembers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    known.take(1, MEMBER)
    monkeypatch.setattr(LineLog, "append", full)
    known.take(2, LEFT)
    assert known["edge-b"].generation == 1
    assert "members.jsonl: No space left on device" in caplog.text
