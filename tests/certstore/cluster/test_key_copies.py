"""A new key on its way to one member: for that member alone, and only from who has the key before it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from certstore.cluster.key_copies import open_copy, seal_copy
from certstore.cluster.keys import ClusterKey, KeyRing, NodeKeys
from certstore.model.cluster.records import Member, Role
from certstore.model.cluster.wire import Refusal, Refused

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FIRST = KeyRing.draw("edge-a")
OLD = FIRST.sealing_key
EDGE = FIRST.for_member("edge-b", Role.EDGE, NodeKeys.draw())
FRONT = FIRST.for_member("edge-f", Role.FRONT, NodeKeys.draw())
NEW = ClusterKey.draw()


def member(ring: KeyRing) -> Member:
    return Member(ring.node, ring.role, ring.own.exchange_public, ring.own.sign_public, "edge-a", NOW)


def copy_for(ring: KeyRing, signer: ClusterKey = OLD) -> bytes:
    return seal_copy(FIRST.cluster, member(ring), NEW, signer)


def refusal(ring: KeyRing, value: bytes, key_id: str = NEW.key_id) -> Refusal:
    with pytest.raises(Refused) as refused:
        open_copy(ring, key_id, value)
    return refused.value.why


def test_a_member_opens_its_own() -> None:
    assert open_copy(EDGE, NEW.key_id, copy_for(EDGE)) == NEW


def test_a_front_gets_what_a_front_may_have() -> None:
    assert open_copy(FRONT, NEW.key_id, copy_for(FRONT)) == NEW.for_front()


def test_nobody_opens_that_of_another_member() -> None:
    assert refusal(EDGE, copy_for(FRONT)) is Refusal.BAD_SIGNATURE, "the path is signed"
    thief = replace(EDGE, own=NodeKeys.draw())
    assert refusal(thief, copy_for(EDGE)) is Refusal.BAD_SEAL


def test_it_brings_no_key_under_another_id() -> None:
    assert refusal(EDGE, copy_for(EDGE), "00000000") is Refusal.BAD_SIGNATURE


def test_a_front_makes_none() -> None:
    with pytest.raises(Refused):
        copy_for(EDGE, OLD.for_front())
    forged = replace(OLD, sign=NodeKeys.draw().sign)
    assert refusal(EDGE, copy_for(EDGE, forged)) is Refusal.BAD_SIGNATURE


def test_who_has_a_retired_key_makes_none() -> None:
    later = replace(EDGE, current=NEW.key_id, keys={NEW.key_id: NEW}, retired=(OLD.key_id,))
    third = ClusterKey.draw()
    value = seal_copy(FIRST.cluster, member(EDGE), third, OLD)
    assert refusal(later, value, third.key_id) is Refusal.RETIRED_KEY


def test_every_byte_counts() -> None:
    value = copy_for(EDGE)
    for at in range(len(value)):
        damaged = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        assert refusal(EDGE, damaged) in {
            Refusal.MALFORMED, Refusal.UNKNOWN_KEY, Refusal.BAD_SIGNATURE
        }  # fmt: skip


@pytest.mark.parametrize("value", [b"", b"CK1", b"CK1" + bytes(40), b"x" * 5000])
def test_anything_else_is_none(value: bytes) -> None:
    assert refusal(EDGE, value) in {Refusal.MALFORMED, Refusal.UNKNOWN_KEY}
