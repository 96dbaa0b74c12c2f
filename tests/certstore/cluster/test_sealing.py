import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from certstore.cluster.keys import ClusterKey, KeyRing, NodeKeys
from certstore.cluster.sealing import KeyRingSealer, Opened, Sealer
from certstore.model.cluster.paths import CLASSES, ClusterPaths, Shelf
from certstore.model.cluster.records import Role
from certstore.model.cluster.wire import (
    HEADER_SIZE,
    MAGIC,
    VALUE_LIMIT,
    Header,
    RecordClass,
    Refusal,
    Refused,
    SealedValue,
    associated_data,
    put_together,
    signed_bytes,
    take_apart,
)

RING = replace(KeyRing.draw("edge-a"), cluster="0123456789abcdef")  # paths are in the names of tests
PATHS = ClusterPaths(RING.cluster)
EDGE = KeyRingSealer(RING)
OTHER_EDGE = KeyRingSealer(RING.for_member("edge-b", Role.EDGE, NodeKeys.draw()))
FRONT_RING = RING.for_member("edge-c", Role.FRONT, NodeKeys.draw())
FRONT = KeyRingSealer(FRONT_RING)
PLAIN = b"-----BEGIN PRIVATE KEY----- of webmail.client-a.test"
HEAD = PATHS.head("webmail.client-a.test")
VALUE = EDGE.seal(HEAD, 7, RecordClass.SITES, PLAIN)
TOLD = PATHS.of(Shelf.TOLD, "5f3a09c1d2e4")
CONTROL_VALUE = EDGE.seal(TOLD, 7, RecordClass.CONTROL, PLAIN)
LIVE = PATHS.live("edge-a")
LIVE_VALUE = EDGE.seal_live(LIVE, 7, PLAIN)


def refused(open_it: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as refused:
        open_it()
    assert PLAIN.decode() not in str(refused.value)
    return refused.value


def why(sealer: Sealer, path: str, value: bytes) -> Refusal:
    return refused(lambda: sealer.open(path, value)).why


def why_live(path: str, value: bytes, key: str = RING.own.sign_public) -> Refusal:
    return refused(lambda: OTHER_EDGE.open_live(path, value, key)).why


@pytest.mark.parametrize(
    ("path", "record_class"), [(HEAD, RecordClass.SITES), (TOLD, RecordClass.CONTROL), (PATHS.meta, RecordClass.SITES)]
)
@pytest.mark.parametrize("plaintext", [b"", PLAIN, bytes(100_000)], ids=["nothing", "a record", "a long one"])
def test_what_one_node_seals_another_opens(path: str, record_class: RecordClass, plaintext: bytes) -> None:
    value = EDGE.seal(path, 12, record_class, plaintext)
    assert OTHER_EDGE.open(path, value) == Opened(12, plaintext)


def test_a_front_opens_what_it_serves() -> None:
    assert FRONT.open(HEAD, VALUE) == Opened(7, PLAIN)


@pytest.mark.parametrize("value", [VALUE, CONTROL_VALUE, LIVE_VALUE], ids=["sites", "control", "node"])
def test_the_value_shows_nothing_of_what_it_holds(value: bytes) -> None:
    assert not [at for at in range(len(PLAIN) - 4) if PLAIN[at : at + 4] in value]


def test_no_two_values_have_the_same_nonce() -> None:
    values = [take_apart(EDGE.seal(HEAD, 7, RecordClass.SITES, PLAIN)) for _ in range(100)]
    assert len({each.header.nonce for each in values}) == len({each.ciphertext for each in values}) == 100


# Every byte and every bit


@pytest.mark.parametrize(
    ("path", "value"), [(HEAD, VALUE), (TOLD, CONTROL_VALUE), (LIVE, LIVE_VALUE)], ids=["sites", "control", "node"]
)
def test_every_flipped_bit_is_refused(path: str, value: bytes) -> None:
    reasons = set()
    for at in range(len(value)):
        for bit in range(8):
            damaged = bytearray(value)
            damaged[at] ^= 1 << bit
            is_live = path == LIVE
            reasons.add(why_live(path, bytes(damaged)) if is_live else why(EDGE, path, bytes(damaged)))
    assert Refusal.BAD_SIGNATURE in reasons
    assert Refusal.BAD_SEAL not in reasons, "nothing unsigned is ever deciphered"


@given(st.integers(0, len(VALUE) - 1), st.integers(1, 255))
def test_every_other_byte_is_refused(at: int, change: int) -> None:
    damaged = bytearray(VALUE)
    damaged[at] ^= change
    why(EDGE, HEAD, bytes(damaged))


def test_every_cut_and_every_addition_is_refused() -> None:
    for length in range(len(VALUE)):
        why(EDGE, HEAD, VALUE[:length])
    for more in (b"\0", b"x" * 16, VALUE):
        assert why(EDGE, HEAD, VALUE + more) is Refusal.BAD_SIGNATURE


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    for value in (noise, MAGIC + noise, VALUE[:HEADER_SIZE] + noise):
        why(EDGE, HEAD, value)


# Every swap


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(PATHS.head("webmail.client-b.test"), id="another site"),
        pytest.param(PATHS.head("main"), id="the main site"),
        pytest.param(PATHS.prev("webmail.client-a.test"), id="the predecessor of the same site"),
        pytest.param(PATHS.site("webmail.client-a.test"), id="the declaration of the same site"),
        pytest.param(PATHS.of(Shelf.TOKEN, "a" * 43), id="a challenge token"),
        pytest.param(PATHS.meta, id="the cluster's own record"),
        pytest.param(PATHS.member("edge-x"), id="a member"),
    ],
)
def test_a_record_in_another_place_of_its_class_is_refused(path: str) -> None:
    assert why(EDGE, path, VALUE) is Refusal.BAD_SIGNATURE


def test_a_record_under_a_shelf_of_another_class_is_refused() -> None:
    assert why(EDGE, TOLD, VALUE) is Refusal.WRONG_CLASS
    assert why(EDGE, HEAD, CONTROL_VALUE) is Refusal.WRONG_CLASS
    assert why(EDGE, HEAD, LIVE_VALUE) is Refusal.WRONG_CLASS
    assert why(EDGE, LIVE, LIVE_VALUE) is Refusal.WRONG_CLASS, "it needs the key of its node"
    assert why_live(HEAD, VALUE) is Refusal.WRONG_CLASS
    assert why_live(LIVE, VALUE) is Refusal.WRONG_CLASS


@pytest.mark.parametrize("shelf", [Shelf.SEQ, Shelf.CARETAKER], ids=str)
def test_what_only_coordinates_holds_no_record(shelf: Shelf) -> None:
    assert why(EDGE, PATHS.of(shelf), VALUE) is Refusal.WRONG_CLASS


@pytest.mark.parametrize("generation", [1, 6, 8, 1 << 40])
def test_a_record_with_another_generation_is_refused(generation: int) -> None:
    value = VALUE[:8] + generation.to_bytes(8) + VALUE[16:]
    assert take_apart(value).header.generation == generation
    assert why(EDGE, HEAD, value) is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize("record_class", [RecordClass.CONTROL, RecordClass.NODE])
def test_a_record_with_another_class_is_refused(record_class: RecordClass) -> None:
    assert why(EDGE, HEAD, VALUE[:7] + bytes((record_class,)) + VALUE[8:]) is Refusal.WRONG_CLASS
    moved = CONTROL_VALUE[:7] + bytes((RecordClass.SITES,)) + CONTROL_VALUE[8:]
    assert why(EDGE, HEAD, moved) is Refusal.BAD_SIGNATURE


def test_a_part_of_another_record_of_the_same_place_is_refused() -> None:
    """An older record's signature, nonce or ciphertext does not make a newer one."""
    older = EDGE.seal(HEAD, 7, RecordClass.SITES, PLAIN[::-1])
    starts = (3, 7, 8, 16, 28, HEADER_SIZE, len(VALUE))
    for start, end in itertools.pairwise(starts):
        mixed = VALUE[:start] + older[start:end] + VALUE[end:]
        if mixed != VALUE:
            why(EDGE, HEAD, mixed)


def test_a_record_of_another_cluster_is_refused() -> None:
    other = KeyRing.draw("edge-a")
    there = ClusterPaths(other.cluster).head("webmail.client-a.test")
    value = KeyRingSealer(other).seal(there, 7, RecordClass.SITES, PLAIN)
    assert why(EDGE, there, value) is Refusal.MALFORMED
    assert why(EDGE, HEAD, value) is Refusal.UNKNOWN_KEY
    # Even with the same keys: the cluster's id is part of what is signed.
    same_keys = KeyRingSealer(replace(RING, cluster=other.cluster))
    assert why(EDGE, HEAD, same_keys.seal(there, 7, RecordClass.SITES, PLAIN)) is Refusal.BAD_SIGNATURE


# Keys


def test_a_key_that_this_node_lacks_is_named() -> None:
    fresh = ClusterKey.draw()
    newer = KeyRingSealer(replace(RING, current=fresh.key_id, keys={**RING.keys, fresh.key_id: fresh}))
    value = newer.seal(HEAD, 8, RecordClass.SITES, PLAIN)
    missing = refused(lambda: EDGE.open(HEAD, value))
    assert (missing.why, missing.key_id) == (Refusal.UNKNOWN_KEY, fresh.key_id)
    assert fresh.key_id in str(missing)
    assert newer.open(HEAD, VALUE) == Opened(7, PLAIN), "while both keys are in force, both open"


def test_a_retired_key_is_named() -> None:
    fresh = ClusterKey.draw()
    later = KeyRingSealer(replace(RING, current=fresh.key_id, keys={fresh.key_id: fresh}, retired=(RING.current,)))
    retired = refused(lambda: later.open(HEAD, VALUE))
    assert (retired.why, retired.key_id) == (Refusal.RETIRED_KEY, RING.current)


def test_a_record_sealed_with_a_key_of_the_same_id_is_refused() -> None:
    false = replace(ClusterKey.draw(), key_id=RING.current)
    forger = KeyRingSealer(replace(RING, keys={RING.current: false}))
    assert why(EDGE, HEAD, forger.seal(HEAD, 8, RecordClass.SITES, PLAIN)) is Refusal.BAD_SIGNATURE


def test_a_signature_without_the_seal_is_refused() -> None:
    """Somebody with the signing key alone, as it may leak by itself, can't make a record either."""
    false = replace(RING.sealing_key, seal_sites=b"x" * 32)
    forger = KeyRingSealer(replace(RING, keys={RING.current: false}))
    assert why(EDGE, HEAD, forger.seal(HEAD, 8, RecordClass.SITES, PLAIN)) is Refusal.BAD_SEAL


# What a front can't do


def test_a_front_can_not_open_control_records() -> None:
    assert why(FRONT, TOLD, CONTROL_VALUE) is Refusal.NOT_ALLOWED


@pytest.mark.parametrize("shelf", sorted(CLASSES), ids=str)
def test_a_front_can_not_write_any_record(shelf: Shelf) -> None:
    parts = {
        Shelf.SAID: ("edge-c", "main"), Shelf.COUNTER: ("ca", "x"), Shelf.ADMIN: ("user", "x"), Shelf.ACME: (),
        Shelf.META: (), Shelf.TOKEN: ("a" * 43,), Shelf.LIVE: ("edge-a",),
    }.get(shelf, ("main",))  # fmt: skip
    path = PATHS.of(shelf, *parts)
    if shelf is Shelf.LIVE:
        assert refused(lambda: FRONT.seal_live(path, 1, PLAIN)).why is Refusal.NOT_ALLOWED
    else:
        assert refused(lambda: FRONT.seal(path, 1, CLASSES[shelf], PLAIN)).why is Refusal.NOT_ALLOWED


def forged_by_front(path: str, record_class: RecordClass, sign: bytes) -> bytes:
    """What a stolen front could put together: it has the key that seals sites, and a signing key of its own."""
    key = FRONT_RING.sealing_key
    header = Header(bytes.fromhex(key.key_id), record_class, 9, b"n" * 12)
    associated = associated_data(FRONT_RING.cluster, path, header)
    ciphertext = AESGCM(key.seal_sites).encrypt(header.nonce, PLAIN, associated)
    signature = Ed25519PrivateKey.from_private_bytes(sign).sign(signed_bytes(associated, header.nonce, ciphertext))
    return put_together(SealedValue(header, signature, ciphertext))


@pytest.mark.parametrize("path", [HEAD, PATHS.of(Shelf.TOKEN, "a" * 43), PATHS.member("edge-x"), PATHS.site("main")])
def test_a_stolen_front_can_plant_nothing(path: str) -> None:
    forged = forged_by_front(path, RecordClass.SITES, FRONT_RING.own.sign)
    assert why(EDGE, path, forged) is Refusal.BAD_SIGNATURE
    assert why(FRONT, path, forged) is Refusal.BAD_SIGNATURE


def test_a_stolen_front_can_speak_for_no_other_node() -> None:
    forged = forged_by_front(LIVE, RecordClass.NODE, FRONT_RING.own.sign)
    assert why_live(LIVE, forged) is Refusal.BAD_SIGNATURE
    own = FRONT.seal_live(PATHS.live("edge-c"), 1, PLAIN)
    assert EDGE.open_live(PATHS.live("edge-c"), own, FRONT_RING.own.sign_public) == Opened(1, PLAIN)
    assert why_live(LIVE, own, FRONT_RING.own.sign_public) is Refusal.BAD_SIGNATURE, "under the name of another node"


# How nodes are


def test_what_a_node_says_about_itself_is_verified_with_its_own_key() -> None:
    assert FRONT.open_live(LIVE, LIVE_VALUE, RING.own.sign_public) == Opened(7, PLAIN)
    assert why_live(LIVE, LIVE_VALUE, NodeKeys.draw().sign_public) is Refusal.BAD_SIGNATURE
    assert why_live(LIVE, LIVE_VALUE, RING.sealing_key.verify.hex()) is Refusal.BAD_SIGNATURE
    assert why_live(LIVE, LIVE_VALUE, "no key") is Refusal.BAD_SIGNATURE
    assert why_live(LIVE, LIVE_VALUE, "") is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize("path", [PATHS.live("edge-b"), HEAD, PATHS.member("edge-a"), PATHS.seq])
def test_a_node_speaks_for_itself_alone(path: str) -> None:
    assert refused(lambda: EDGE.seal_live(path, 1, PLAIN)).why is Refusal.NOT_ALLOWED


# What is never written


@pytest.mark.parametrize("record_class", [RecordClass.CONTROL, RecordClass.NODE])
def test_a_record_is_not_sealed_under_a_class_that_its_path_does_not_have(record_class: RecordClass) -> None:
    assert refused(lambda: EDGE.seal(HEAD, 1, record_class, PLAIN)).why is Refusal.WRONG_CLASS
    assert refused(lambda: EDGE.seal(TOLD, 1, RecordClass.SITES, PLAIN)).why is Refusal.WRONG_CLASS
    assert refused(lambda: EDGE.seal(LIVE, 1, RecordClass.NODE, PLAIN)).why is Refusal.WRONG_CLASS


@pytest.mark.parametrize("path", ["", "/certedge/fedcba9876543210/d/head/main", f"{PATHS.prefix}d/head/../site/main"])
def test_nothing_is_sealed_or_opened_outside_of_the_cluster(path: str) -> None:
    assert refused(lambda: EDGE.seal(path, 1, RecordClass.SITES, PLAIN)).why is Refusal.MALFORMED
    assert why(EDGE, path, VALUE) is Refusal.MALFORMED


@pytest.mark.parametrize("generation", [0, -1, 1 << 63])
def test_no_record_is_sealed_without_a_generation(generation: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        EDGE.seal(HEAD, generation, RecordClass.SITES, PLAIN)


def test_no_record_is_sealed_that_the_engine_would_not_take() -> None:
    with pytest.raises(ValueError, match="are allowed"):
        EDGE.seal(HEAD, 1, RecordClass.SITES, bytes(VALUE_LIMIT))
