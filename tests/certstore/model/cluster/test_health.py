from dataclasses import replace
from datetime import timedelta

import pytest

from certstore.model.cluster.health import (
    LEASE,
    ClusterProblem,
    NodeState,
    Presence,
    clock_skew,
    last_changes,
    node_standings,
    presence,
    problem_of,
    sites_behind,
    summary,
)
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Live
from certstore.model.cluster.wire import Refusal, Refused
from tests.certstore.model.cluster.examples import AT, CLUSTER, member

PATHS = ClusterPaths(CLUSTER)
MEMBERS = [member(name) for name in ("edge-c", "edge-a", "edge-b")]
LIVE = Live("0f" * 8, 100, "same", 3, "0.2", AT)
LIVES = dict.fromkeys(("edge-a", "edge-b", "edge-c"), LIVE)
CHANGED = {"main": 90, "a.test": 100, "b.test": 12}


def states(lives: dict[str, Live], changed: dict[str, int] = CHANGED) -> list[tuple[str, NodeState]]:
    return [(each.name[-1], each.state) for each in node_standings(MEMBERS, lives, changed, AT)]


STEP, BEHIND, DIFFERS, GONE = NodeState.IN_STEP, NodeState.BEHIND, NodeState.DIFFERS, NodeState.GONE


@pytest.mark.parametrize(
    ("lives", "expected", "line"),
    [
        pytest.param(LIVES, (STEP, STEP, STEP), "3 nodes, in step", id="all in step"),
        pytest.param(
            LIVES | {"edge-c": replace(LIVE, applied=99)}, (STEP, STEP, BEHIND), "3 nodes, edge-c 1 behind", id="behind"
        ),
        pytest.param(
            LIVES | {"edge-c": replace(LIVE, applied=0, heads="")},
            (STEP, STEP, BEHIND),
            "3 nodes, edge-c 3 behind",
            id="nothing yet",
        ),
        pytest.param({"edge-a": LIVE}, (STEP, GONE, GONE), "3 nodes, edge-b, edge-c gone", id="two are gone"),
        pytest.param(
            LIVES | {"edge-b": replace(LIVE, heads="other")},
            (STEP, DIFFERS, STEP),
            "3 nodes, edge-b serves something else",
            id="one serves something else",
        ),
        pytest.param(
            LIVES | {"edge-b": replace(LIVE, heads="part", sites=1, is_partial=True)},
            (STEP, STEP, STEP),
            "3 nodes, in step",
            id="one keeps some of the sites",
        ),
        pytest.param(
            LIVES | {"edge-b": replace(LIVE, heads="old", applied=10)},
            (STEP, BEHIND, STEP),
            "3 nodes, edge-b 3 behind",
            id="what is behind does not differ yet",
        ),
        pytest.param({}, (GONE, GONE, GONE), "3 nodes, edge-a, edge-b, edge-c gone", id="nobody is heard"),
    ],
)
def test_nodes_stand_as_what_they_say_shows(lives: dict[str, Live], expected: tuple[NodeState, ...], line: str) -> None:
    assert states(lives) == list(zip("abc", expected, strict=True))
    assert summary(node_standings(MEMBERS, lives, CHANGED, AT)) == line


def test_every_node_that_is_not_in_step_says_why() -> None:
    lives = {"edge-a": LIVE, "edge-b": replace(LIVE, applied=95)}
    found = node_standings(MEMBERS, lives, CHANGED, AT)
    assert [[code for code, _ in each.problems] for each in found] == [
        [], [ClusterProblem.NODE_BEHIND], [ClusterProblem.NODE_GONE]
    ]  # fmt: skip


def test_the_problems_that_a_node_tells_are_shown_with_it() -> None:
    told = (("file_missing", "a.test: ca.pem is missing"),)
    found = node_standings(MEMBERS, LIVES | {"edge-b": replace(LIVE, problems=told)}, CHANGED, AT)
    assert found[1].problems == told


def test_a_member_that_has_left_is_not_missed() -> None:
    members = [*MEMBERS[:2], member("edge-b", has_left=True)]
    found = node_standings(members, LIVES, CHANGED, AT)
    assert [each.name for each in found] == ["edge-a", "edge-c"]
    assert summary(found[:1]) == "1 node, in step"
    assert summary([]) == "no members"


@pytest.mark.parametrize(
    ("seconds", "is_wrong"),
    [
        pytest.param(0, False, id="equal"),
        pytest.param(10, False, id="10 s ahead"),
        pytest.param(11, True, id="11 s ahead"),
        pytest.param(-20, False, id="10 s behind, said at the lease's begin"),
        pytest.param(-21, True, id="surely behind"),
        pytest.param(7200, True, id="hours ahead"),
        pytest.param(-7200, True, id="hours behind"),
    ],
)
def test_a_clock_that_is_off_is_reported_once_it_can_be_nothing_else(seconds: int, is_wrong: bool) -> None:
    assert (clock_skew(AT + timedelta(seconds=seconds), AT) is not None) is is_wrong


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        (timedelta(hours=3), "the clock of edge-b is 3 hours ahead of ours"),
        (timedelta(hours=-3), "the clock of edge-b is 3 hours behind ours"),
        (timedelta(seconds=40), "the clock of edge-b is 40 seconds ahead of ours"),
        (timedelta(minutes=40), "the clock of edge-b is 40 minutes ahead of ours"),
    ],
)
def test_a_clock_that_is_off_is_named_with_its_node(skew: timedelta, words: str) -> None:
    found = node_standings(MEMBERS, LIVES | {"edge-b": replace(LIVE, clock=AT + skew)}, CHANGED, AT)
    assert found[1].problems == ((ClusterProblem.CLOCK_SKEW, words),)
    assert (found[0].skew, found[1].skew) == (None, skew)


def test_the_last_change_of_a_site_is_that_of_any_of_its_records() -> None:
    modified = [
        (PATHS.site("a.test"), 4), (PATHS.head("a.test"), 9), (PATHS.prev("a.test"), 9), (PATHS.site("b.test"), 11),
        (PATHS.live("edge-a"), 50), (PATHS.said("edge-a", "a.test"), 51), (PATHS.seq, 52), ("/elsewhere", 53),
    ]  # fmt: skip
    assert last_changes(PATHS, modified) == {"a.test": 9, "b.test": 11}


@pytest.mark.parametrize("why", Refusal)
def test_every_refusal_has_a_name_for_people(why: Refusal) -> None:
    code, message = problem_of(Refused(why, "x is sealed with key 0badcafe", key_id="0badcafe"))
    expected = {
        Refusal.NEWER_RELEASE: ClusterProblem.NEWER_RELEASE,
        Refusal.UNKNOWN_KEY: ClusterProblem.KEY_MISSING,
        Refusal.RETIRED_KEY: ClusterProblem.KEY_MISSING,
    }
    assert code is expected.get(why, ClusterProblem.RECORD_REFUSED)
    assert "0badcafe; " in message


@pytest.mark.parametrize(
    ("there", "waited", "expected"),
    [
        pytest.param(None, 0, Presence.TAKE, id="nobody is there"),
        pytest.param("mine", 0, Presence.TAKE, id="this start was there already"),
        pytest.param("other", 0, Presence.WAIT, id="an earlier start, whose lease has not ended"),
        pytest.param("other", 20, Presence.WAIT, id="two leases"),
        pytest.param("other", 21, Presence.CLONED, id="another machine keeps it alive"),
    ],
)
def test_a_cloned_machine_is_told_from_an_earlier_start(there: str | None, waited: int, expected: Presence) -> None:
    assert timedelta(seconds=20) == 2 * LEASE
    assert presence(there, "mine", timedelta(seconds=waited)) is expected


def test_one_site_is_one() -> None:
    assert sites_behind(1) == "1 site behind"
    assert sites_behind(14) == "14 sites behind"
