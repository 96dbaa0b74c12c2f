"""All challenge types of an edge: made from its settings, and asked together."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from certstore.acme.challenge_kind import ChallengeKinds, Proof, read_token
from certstore.acme.challenge_kinds import challenge_kinds
from certstore.acme.http01 import http01
from certstore.acme.tls_alpn01 import tls_alpn01
from certstore.model.challenge import USUAL_CHALLENGES
from certstore.model.settings.models import Settings
from tests.certstore.acme.workshop import make_layout


class Account:
    url = "https://ca.test/account"

    def key_authorization(self, token: str) -> str:
        return f"{token}.thumbprint"


def test_types_come_in_the_order_in_which_they_are_usually_tried(tmp_path: Path) -> None:
    kinds = challenge_kinds(make_layout(tmp_path), Settings(), tmp_path)
    known = [kind.type for kind in kinds]
    assert known[:2] == list(USUAL_CHALLENGES[:2])
    assert [kinds.find(each) is not None for each in (*known, "made-up-01")] == [True] * len(known) + [False]


def test_proofs_are_withdrawn_by_their_own_type_even_where_one_fails(tmp_path: Path) -> None:
    layout = make_layout(tmp_path)
    withdrawn: list[Proof] = []

    def fail(proofs: Iterable[Proof]) -> None:
        raise OSError("disk")

    def note(proofs: Iterable[Proof]) -> None:
        withdrawn.extend(proofs)

    kinds = ChallengeKinds(
        replace(http01(layout, ()), withdraw=fail), replace(tls_alpn01(layout, Settings()), withdraw=note)
    )
    over_tls = Proof("a.test", "t", "t.k", "tls-alpn-01")
    with pytest.raises(OSError, match="disk"):
        kinds.withdraw([Proof("a.test", "t", "t.k"), over_tls, Proof("a.test", "t", "t.k", "made-up-01")])
    assert withdrawn == [over_tls]
    kinds.withdraw([])


def test_proof_of_a_challenge_with_a_token_is_its_key_authorization() -> None:
    proof = read_token("*.a.test", {"type": "dns-01", "token": "t" * 43}, Account())
    assert proof == Proof("*.a.test", "t" * 43, f"{'t' * 43}.thumbprint", "dns-01")
    with pytest.raises(ValueError, match="token"):
        read_token("a.test", {"type": "dns-01", "token": "../.."}, Account())
