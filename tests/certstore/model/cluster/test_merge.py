from dataclasses import replace
from typing import Any

import pytest

from certstore.model.cluster.merge import (
    EXPLANATIONS,
    Because,
    Freshness,
    Winner,
    decide_head,
    decide_site,
    freshness,
    may_put_back,
)
from certstore.model.cluster.records import HeadRecord, Removal, SiteRecord
from tests.certstore.model.cluster.examples import AT, DAY, head_record, site_record

BASE = head_record()
THERE = site_record()
GONE = site_record(removal=Removal(AT, "edge-b", 3))


def head(digest: str, *, doing: str = "intake", source: str = "drop", **facts: Any) -> HeadRecord:
    version = replace(BASE.version, digest=digest, not_before=AT, not_after=AT + 90 * DAY)
    return replace(BASE, version=replace(version, **facts), doing=doing, source=source)


DROP = head("a")
LATER_DROP = head("b", not_before=AT + DAY, not_after=AT + 91 * DAY)
ORDER = head("c", doing="renewal", source="acme:letsencrypt")
ROLLBACK = head("d", doing="rollback", source="command")
UPLOAD = head("e", source="upload")
SELF_SIGNED = head("f", doing="self_signed", is_self_signed=True)
OTHER_NAME = head("g", dns_names=("other.test",))
WILDCARD = head("h", dns_names=("*.client-a.test",))
ENDED = head("i", not_before=AT - 90 * DAY, not_after=AT - DAY)
ENDED_UPLOAD = head("j", source="upload", not_before=AT - 90 * DAY, not_after=AT - DAY)


@pytest.mark.parametrize(
    ("theirs", "ours", "winner", "because"),
    [
        pytest.param(None, DROP, Winner.OURS, Because.IS_FIRST, id="the cluster has none yet"),
        pytest.param(DROP, replace(DROP, by="edge-b"), Winner.SAME, Because.IS_SAME, id="the same file on two nodes"),
        pytest.param(SELF_SIGNED, DROP, Winner.OURS, Because.FITS_BETTER, id="ours against a self-signed one"),
        pytest.param(DROP, SELF_SIGNED, Winner.THEIRS, Because.FITS_BETTER, id="ours is self-signed"),
        pytest.param(OTHER_NAME, DROP, Winner.OURS, Because.FITS_BETTER, id="theirs is for another name"),
        pytest.param(DROP, OTHER_NAME, Winner.THEIRS, Because.FITS_BETTER, id="ours is for another name"),
        pytest.param(OTHER_NAME, WILDCARD, Winner.OURS, Because.FITS_BETTER, id="a wildcard covers the host"),
        pytest.param(OTHER_NAME, SELF_SIGNED, Winner.THEIRS, Because.WAS_COMMITTED_FIRST, id="neither fits"),
        pytest.param(ENDED, DROP, Winner.OURS, Because.IS_LATER, id="theirs ended before ours began"),
        pytest.param(DROP, ENDED, Winner.THEIRS, Because.IS_LATER, id="ours ended before theirs began"),
        pytest.param(DROP, ENDED_UPLOAD, Winner.THEIRS, Because.IS_LATER, id="an upload that ended before"),
        pytest.param(ORDER, ROLLBACK, Winner.OURS, Because.BY_A_PERSON, id="our rollback, their order"),
        pytest.param(LATER_DROP, ROLLBACK, Winner.OURS, Because.BY_A_PERSON, id="our rollback, their newer drop"),
        pytest.param(UPLOAD, LATER_DROP, Winner.THEIRS, Because.BY_A_PERSON, id="their upload, our newer drop"),
        pytest.param(UPLOAD, ROLLBACK, Winner.THEIRS, Because.WAS_COMMITTED_FIRST, id="two people"),
        pytest.param(DROP, LATER_DROP, Winner.OURS, Because.NEWER_DROP, id="our drop is the newer one"),
        pytest.param(LATER_DROP, DROP, Winner.THEIRS, Because.NEWER_DROP, id="their drop is the newer one"),
        pytest.param(DROP, WILDCARD, Winner.THEIRS, Because.WAS_COMMITTED_FIRST, id="two drops of one moment"),
        pytest.param(ORDER, LATER_DROP, Winner.THEIRS, Because.WAS_COMMITTED_FIRST, id="their order, our newer drop"),
        pytest.param(DROP, ORDER, Winner.THEIRS, Because.WAS_COMMITTED_FIRST, id="their drop, our order"),
    ],
)
def test_the_records_alone_decide_which_version_is_live(
    theirs: HeadRecord | None, ours: HeadRecord, winner: Winner, because: Because
) -> None:
    verdict = decide_head(theirs, ours, THERE)
    assert (verdict.winner, verdict.because) == (winner, because)


@pytest.mark.parametrize("theirs", [None, DROP, SELF_SIGNED], ids=["none", "a drop", "self-signed"])
@pytest.mark.parametrize("ours", [ORDER, ROLLBACK, UPLOAD], ids=["an order", "a rollback", "an upload"])
def test_no_version_of_a_removed_site_goes_live(theirs: HeadRecord | None, ours: HeadRecord) -> None:
    verdict = decide_head(theirs, ours, GONE)
    assert (verdict.winner, verdict.because) == (Winner.THEIRS, Because.SITE_REMOVED)


HEADS = [DROP, LATER_DROP, ORDER, ROLLBACK, UPLOAD, SELF_SIGNED, OTHER_NAME, WILDCARD, ENDED, ENDED_UPLOAD]


@pytest.mark.parametrize("one", HEADS, ids=lambda head: head.digest)
@pytest.mark.parametrize("other", HEADS, ids=lambda head: head.digest)
def test_two_nodes_never_replace_each_other_for_ever(one: HeadRecord, other: HeadRecord) -> None:
    """After one decision both have the winner, and the loser, offered again, loses again."""
    verdict = decide_head(one, other, THERE)
    winner, loser = (other, one) if verdict.winner is Winner.OURS else (one, other)
    assert decide_head(winner, loser, THERE).winner is not Winner.OURS
    assert decide_head(winner, winner, THERE).winner is Winner.SAME


def test_the_clocks_of_nodes_play_no_part() -> None:
    for theirs in HEADS:
        for ours in HEADS:
            shifted = replace(ours, at=AT + 1000 * DAY, version=replace(ours.version, made_at=AT - 1000 * DAY))
            assert decide_head(theirs, shifted, THERE) == decide_head(theirs, ours, THERE)


OTHER_SETTINGS = site_record("mail.client-a.test")


@pytest.mark.parametrize(
    ("theirs", "ours", "winner", "because"),
    [
        pytest.param(None, THERE, Winner.OURS, Because.IS_FIRST, id="a new site"),
        pytest.param(None, GONE, Winner.OURS, Because.IS_FIRST, id="a removal that the engine has lost"),
        pytest.param(THERE, site_record(by="edge-b"), Winner.SAME, Because.IS_SAME, id="the same on two nodes"),
        pytest.param(THERE, OTHER_SETTINGS, Winner.THEIRS, Because.WAS_COMMITTED_FIRST, id="two site.yaml"),
        pytest.param(GONE, OTHER_SETTINGS, Winner.THEIRS, Because.SITE_REMOVED, id="removed there, changed here"),
        pytest.param(OTHER_SETTINGS, GONE, Winner.OURS, Because.SITE_REMOVED, id="changed there, removed here"),
        pytest.param(
            GONE, replace(GONE, removal=Removal(AT + DAY, "edge-c")), Winner.SAME, Because.IS_SAME, id="removed twice"
        ),
    ],
)
def test_the_records_alone_decide_which_settings_count(
    theirs: SiteRecord | None, ours: SiteRecord, winner: Winner, because: Because
) -> None:
    verdict = decide_site(theirs, ours)
    assert (verdict.winner, verdict.because) == (winner, because)


def test_every_rule_has_words() -> None:
    assert EXPLANATIONS.keys() == set(Because)


@pytest.mark.parametrize(
    ("generation", "digest", "expected"),
    [
        pytest.param(6, "x", Freshness.NEWER, id="a higher generation"),
        pytest.param(6, "d", Freshness.NEWER, id="a higher generation with the same content"),
        pytest.param(5, "d", Freshness.KNOWN, id="what is known"),
        pytest.param(5, "x", Freshness.FORKED, id="the same generation, another content"),
        pytest.param(4, "d", Freshness.OLDER, id="a lower generation with the same content"),
    ],
)
def test_a_record_is_compared_with_the_newest_ever_seen(generation: int, digest: str, expected: Freshness) -> None:
    assert freshness(generation, digest, 5, "d") is expected


def test_the_first_record_of_a_path_is_newer_than_none() -> None:
    assert freshness(1, "x", 0, "") is Freshness.NEWER


@pytest.mark.parametrize(
    ("missing", "known", "may"),
    [(0, 10, True), (1, 11, True), (1, 10, False), (999, 10_000, True), (1000, 10_000, False), (10, 10, False)],
)
def test_only_a_few_lost_records_are_put_back_by_themselves(missing: int, known: int, may: bool) -> None:
    assert may_put_back(missing, known) is may
