"""The other edges have a token before the CA is told, and are told when nobody needs it any longer."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from certstore.acme.challenge_kind import ChallengeKind, ProbeContext, Proof, Publishing
from certstore.acme.dns_facts import Resolver
from certstore.acme.http01 import http01
from certstore.acme.network import OrderFailed
from certstore.acme.token_sharing import OneEdge
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause, Failure

PROOF = Proof("a.test", "t" * 43, "t" * 43 + ".print")
PUBLISHING = Publishing(lambda seconds: False)


class Others:
    """The other edges, in memory; deaf ones take no token."""

    def __init__(self, layout: Layout, *, are_deaf: bool = False) -> None:
        self.layout, self.are_deaf = layout, are_deaf
        self.known: dict[str, str] = {}
        self.seen: list[bool] = []

    def share(self, proofs: Sequence[Proof]) -> None:
        self.seen += [(self.layout.challenges / proof.token).exists() for proof in proofs]
        if self.are_deaf:
            raise OrderFailed(Failure(Cause.OWN_LISTENER, "edge-b is deaf"))
        self.known.update({proof.token: proof.key_authorization for proof in proofs})

    def recall(self, proofs: Iterable[Proof]) -> Sequence[Proof]:
        proofs = tuple(proofs)
        for proof in proofs:
            self.known.pop(proof.token, None)
        return proofs


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for each in (layout.challenges, layout.temporary):
        each.mkdir()
    return layout


def kind_with(others: Others) -> ChallengeKind:
    return http01(others.layout, (), sharing=others)


def test_this_edge_has_it_first_and_the_others_as_long_as_it_is_shown(layout: Layout) -> None:
    others = Others(layout)
    kind = kind_with(others)
    kind.publish([PROOF], PUBLISHING)
    assert others.seen == [True]
    assert others.known == {PROOF.token: PROOF.key_authorization}
    kind.withdraw(iter([PROOF]))
    assert others.known == {}
    assert not list(layout.challenges.iterdir())


def test_an_edge_that_does_not_take_it_stops_the_order(layout: Layout) -> None:
    kind = kind_with(Others(layout, are_deaf=True))
    with pytest.raises(OrderFailed, match="deaf"):
        kind.publish([PROOF], PUBLISHING)
    kind.withdraw([PROOF])
    assert not list(layout.challenges.iterdir())


@pytest.mark.parametrize("are_deaf", [False, True])
def test_the_token_of_a_preflight_is_shared_too(are_deaf: bool, layout: Layout) -> None:
    """Where an edge does not take it, the probe of its address says so."""
    others = Others(layout, are_deaf=are_deaf)
    with kind_with(others).probing(ProbeContext(Resolver(None))):
        (shown,) = layout.challenges.iterdir()
        assert list(others.known) == ([] if are_deaf else [shown.name])
    assert others.known == {}
    assert not list(layout.challenges.iterdir())


def test_one_edge_waits_for_nobody(layout: Layout) -> None:
    kind = http01(layout, (), sharing=OneEdge())
    kind.publish([PROOF], PUBLISHING)
    assert (layout.challenges / PROOF.token).read_text() == PROOF.key_authorization
    kind.withdraw([PROOF])
    assert not list(layout.challenges.iterdir())
