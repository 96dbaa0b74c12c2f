"""Every decision about a drop, on both sides of each border."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certstore.model.certificate.bundle import CertificateBundle, Refused
from certstore.model.certificate.findings import Problem, Refusal, refusal
from certstore.model.drop_decision import (
    SETTLE,
    Decided,
    DropDecision,
    DropFacts,
    HeldBack,
    LastDrop,
    Missing,
    Unchanged,
    Wait,
    decide_drop,
    is_last_drop,
    is_news,
)
from certstore.model.settings.models import Source
from certstore.model.version import Version, chain_length
from tests.certstore.model.bundles import CA, DAY, NOW, ONE, accepted

TICK = timedelta(microseconds=1)
SOON = timedelta(milliseconds=50)
"""How soon a drop is checked again at the earliest."""

WHOLE = accepted(ONE.combined_pem)
RSA = CA.issue("a.test", "b.test", key_type="rsa2048")
BOTH = accepted(ONE.combined_pem, RSA.combined_pem)
NO_CHAIN = accepted(ONE.privkey_pem, ONE.cert_pem)
OLDER = accepted(CA.issue("a.test", "b.test", not_before=ONE.not_before - DAY, not_after=ONE.not_after).combined_pem)
FRAGMENT = b"-----BEGIN CERTIFICATE-----\nMIIB"
WITH_FRAGMENT = accepted(ONE.combined_pem, FRAGMENT)
OLDER_WITH_FRAGMENT = replace(OLDER, problems=WITH_FRAGMENT.problems)
REFUSED = Refused((refusal(Refusal.NO_KEY, "there is no key"),))


def live(bundle: CertificateBundle, **changes: object) -> Version:
    pair = bundle.primary
    version = Version(
        site="a.test",
        number=1,
        made_at=NOW,
        source="drop",
        digest="digest",
        fingerprint=pair.fingerprint,
        dns_names=pair.dns_names,
        not_before=pair.not_before,
        not_after=pair.not_after,
        issuer=pair.issuer,
        serial=pair.serial,
        key_kind=pair.key_kind,
        key_bits=pair.key_bits,
        is_self_signed=pair.is_self_signed,
        chain_length=chain_length(pair),
        has_rsa_pair=bundle.rsa is not None,
        problems=bundle.problems,
    )
    return replace(version, **changes)  # type: ignore[arg-type]


def facts(unchanged_for: timedelta = SETTLE, *, is_absent: bool = False, is_steady: bool = True) -> DropFacts:
    return DropFacts("new", is_absent=is_absent, is_steady=is_steady, unchanged_for=unchanged_for)


GONE, GONE_UNSTEADY = facts(is_absent=True), facts(is_absent=True, is_steady=False)
DECIDED, HELD = LastDrop("old", is_held=False), LastDrop("old", is_held=True)


@pytest.mark.parametrize(
    ("facts", "last", "decision"),
    [
        pytest.param(GONE, None, Unchanged(), id="there never was one"),
        pytest.param(
            facts(timedelta(), is_absent=True), None, Unchanged(), id="there never was one, and no wait for it"
        ),
        pytest.param(GONE, DECIDED, Missing(), id="gone for the settle time"),
        pytest.param(GONE, HELD, Missing(), id="a held one is gone"),
        pytest.param(facts(SETTLE + DAY, is_absent=True), DECIDED, Missing(), id="gone for long"),
        pytest.param(facts(SETTLE - SOON * 2, is_absent=True), DECIDED, Wait(SOON * 2), id="gone a moment ago"),
        pytest.param(facts(SETTLE - TICK, is_absent=True), DECIDED, Wait(SOON), id="gone almost long enough"),
        pytest.param(GONE_UNSTEADY, DECIDED, Wait(SOON), id="it changed while it was read"),
        pytest.param(facts(timedelta(), is_absent=True), DECIDED, Wait(SETTLE), id="gone just now"),
    ],
)
@pytest.mark.parametrize("source", Source)
def test_absent_drop(facts: DropFacts, last: LastDrop | None, decision: DropDecision, source: Source) -> None:
    assert decide_drop(facts, None, last=last, source=source, live=None) == decision


@pytest.mark.parametrize("source", [Source.ACME, Source.MAIN])
@pytest.mark.parametrize(
    ("last", "is_new"),
    [
        pytest.param(None, True, id="the first drop"),
        pytest.param(LastDrop("other", is_held=True), True, id="another was held back"),
        pytest.param(LastDrop("new", is_held=False), True, id="the same was decided before"),
        pytest.param(LastDrop("new", is_held=True), False, id="the same is held back already"),
    ],
)
@pytest.mark.parametrize("facts", [facts(), facts(timedelta(), is_steady=False)], ids=["settled", "being written"])
def test_drop_beside_another_source_is_held_back_once(
    facts: DropFacts, last: LastDrop | None, is_new: bool, source: Source
) -> None:
    expected = HeldBack(source) if is_new else Unchanged()
    assert decide_drop(facts, None, last=last, source=source, live=live(WHOLE)) == expected


def test_drop_without_news_is_unchanged() -> None:
    assert decide_drop(facts(), None, last=DECIDED, source=Source.FILE, live=None) == Unchanged()


FRESH = facts(timedelta())
UNFINISHED = [
    pytest.param(REFUSED, None, id="refused"),
    pytest.param(REFUSED, live(WHOLE), id="refused beside a live one"),
    pytest.param(NO_CHAIN, None, id="no intermediate, and nothing is served"),
    pytest.param(NO_CHAIN, live(NO_CHAIN), id="no intermediate, as in what is served"),
    pytest.param(WHOLE, live(WHOLE, chain_length=2), id="a shorter chain than what is served"),
    pytest.param(WHOLE, live(BOTH), id="no RSA pair beside the EC pair"),
    pytest.param(OLDER, live(WHOLE), id="an older certificate"),
]
FINISHED = [
    pytest.param(WHOLE, None, id="whole, and nothing is served"),
    pytest.param(WHOLE, live(WHOLE), id="as long and as old as what is served"),
    pytest.param(WHOLE, live(NO_CHAIN), id="a longer chain than what is served"),
    pytest.param(WHOLE, live(OLDER), id="a newer certificate"),
    pytest.param(BOTH, live(BOTH), id="both pairs again"),
    pytest.param(BOTH, live(WHOLE), id="an RSA pair is added"),
    pytest.param(OLDER, live(WHOLE, is_self_signed=True), id="older than the self-signed one of the first start"),
]


@pytest.mark.parametrize(("verdict", "live"), UNFINISHED)
def test_drop_that_may_be_unfinished_is_decided_when_settled(
    verdict: CertificateBundle | Refused, live: Version | None
) -> None:
    def decide(facts: DropFacts) -> DropDecision:
        return decide_drop(facts, verdict, last=DECIDED, source=Source.FILE, live=live)

    assert decide(FRESH) == Wait(SETTLE)
    assert decide(facts(SETTLE - SOON * 2)) == Wait(SOON * 2)
    assert decide(facts(SETTLE - TICK)) == Wait(SOON)
    assert decide(facts(SETTLE)) == Decided(verdict)
    assert decide(facts(SETTLE, is_steady=False)) == Wait(SOON)


@pytest.mark.parametrize(("verdict", "live"), FINISHED)
def test_finished_drop_is_decided_at_once_unless_it_changed_while_it_was_read(
    verdict: CertificateBundle, live: Version | None
) -> None:
    def decide(facts: DropFacts) -> DropDecision:
        return decide_drop(facts, verdict, last=HELD, source=Source.FILE, live=live)

    assert decide(FRESH) == decide(facts(SETTLE)) == Decided(verdict)
    assert decide(facts(timedelta(), is_steady=False)) == Wait(SETTLE)
    assert decide(facts(SETTLE + DAY, is_steady=False)) == Wait(SOON)


def test_tables_hold_what_they_name() -> None:
    assert [each.code for each in NO_CHAIN.problems] == [Problem.MISSING_INTERMEDIATE]
    assert (WHOLE.rsa, WHOLE.problems, chain_length(WHOLE.primary)) == (None, (), 1)
    assert BOTH.rsa is not None
    assert OLDER.primary.not_before < WHOLE.primary.not_before


def test_settle_time_is_the_callers() -> None:
    decision = decide_drop(facts(DAY), REFUSED, last=None, source=Source.FILE, live=None, settle=2 * DAY)
    assert decision == Wait(DAY)


@pytest.mark.parametrize(
    ("last", "source", "expected"),
    [
        pytest.param(None, Source.FILE, True, id="the first drop"),
        pytest.param(LastDrop("other", is_held=False), Source.FILE, True, id="another drop"),
        pytest.param(LastDrop("new", is_held=True), Source.FILE, True, id="the same, held back until now"),
        pytest.param(LastDrop("new", is_held=False), Source.FILE, False, id="the same, decided"),
        pytest.param(None, Source.ACME, False, id="the certificate is ordered"),
        pytest.param(None, Source.MAIN, False, id="the main certificate is used"),
    ],
)
def test_only_news_for_a_site_with_files_is_read(last: LastDrop | None, source: Source, expected: bool) -> None:
    assert is_news("new", last, source) is expected


@pytest.mark.parametrize("last", [DECIDED, HELD])
def test_last_drop_comes_back_from_json(last: LastDrop) -> None:
    assert is_last_drop(last.to_json())
    assert LastDrop.from_json(last.to_json()) == last


@pytest.mark.parametrize("value", [None, "old", [], ["old"], ["old", 1], [1, True], ["old", True, 1], {"old": True}])
def test_anything_else_is_no_last_drop(value: object) -> None:
    assert not is_last_drop(value)


def test_fragment_beside_a_whole_pair_only_costs_the_settle_time() -> None:
    for served in (None, live(WHOLE), live(OLDER)):
        waiting = decide_drop(facts(SETTLE - TICK), WITH_FRAGMENT, last=None, source=Source.FILE, live=served)
        assert isinstance(waiting, Wait)
        decision = decide_drop(facts(), WITH_FRAGMENT, last=None, source=Source.FILE, live=served)
        assert decision == Decided(WITH_FRAGMENT)


def test_what_remains_of_a_drop_that_cannot_be_read_never_replaces_something_newer() -> None:
    """The new key became unreadable, and an old pair still lies beside it."""
    decision = decide_drop(facts(), OLDER_WITH_FRAGMENT, last=None, source=Source.FILE, live=live(WHOLE))
    assert isinstance(decision, Decided)
    assert isinstance(decision.verdict, Refused)
    assert [each.code for each in decision.verdict.findings] == [Refusal.UNREADABLE]
    assert "file1.bin" in decision.verdict.message
    decision = decide_drop(facts(), OLDER, last=None, source=Source.FILE, live=live(WHOLE))
    assert decision == Decided(OLDER), "a whole drop may be older: somebody goes back"
