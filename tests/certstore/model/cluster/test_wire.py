from itertools import combinations
from typing import Any

import pytest

from certstore.model.cluster.wire import (
    GENERATION_LIMIT,
    HEADER_SIZE,
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
from tests.certstore.model.cluster.examples import CLUSTER

HEADER = Header(b"\x01\x02\x03\x04", RecordClass.SITES, 7, b"n" * 12)
VALUE = SealedValue(HEADER, b"s" * 64, b"c" * 40)
WHOLE = put_together(VALUE)


def header(**changes: Any) -> Header:
    facts: dict[str, Any] = {
        "key_id": HEADER.key_id,
        "record_class": HEADER.record_class,
        "generation": 7,
        "nonce": HEADER.nonce,
    }
    return Header(**(facts | changes))


def test_the_form_is_the_one_that_every_release_reads() -> None:
    assert WHOLE.hex() == "43453101020304010000000000000007" + b"n".hex() * 12 + b"s".hex() * 64 + "63" * 40
    assert len(WHOLE) == HEADER_SIZE + 40


@pytest.mark.parametrize("record_class", RecordClass)
@pytest.mark.parametrize("generation", [1, 255, 256, GENERATION_LIMIT])
def test_a_value_comes_back_from_its_bytes(record_class: RecordClass, generation: int) -> None:
    value = SealedValue(header(record_class=record_class, generation=generation), b"s" * 64, b"c" * 16)
    assert take_apart(put_together(value)) == value


@pytest.mark.parametrize("generation", [-1, 0, GENERATION_LIMIT + 1])
def test_a_generation_is_a_positive_number_of_63_bits(generation: int) -> None:
    with pytest.raises(ValueError, match="not a generation"):
        put_together(SealedValue(header(generation=generation), b"s" * 64, b"c" * 16))


def test_a_value_that_no_reader_takes_is_not_written() -> None:
    with pytest.raises(ValueError, match="are allowed"):
        put_together(SealedValue(HEADER, b"s" * 64, b"c" * VALUE_LIMIT))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param(b"", Refusal.MALFORMED, id="nothing"),
        pytest.param(b"CE1", Refusal.MALFORMED, id="the first bytes alone"),
        pytest.param(WHOLE[: HEADER_SIZE + 15], Refusal.MALFORMED, id="cut off inside the tag"),
        pytest.param(b"{}" * 100, Refusal.MALFORMED, id="JSON"),
        pytest.param(b"CE0" + WHOLE[3:], Refusal.MALFORMED, id="a form that never was"),
        pytest.param(b"CE2" + WHOLE[3:], Refusal.NEWER_RELEASE, id="the next form"),
        pytest.param(b"CE2", Refusal.NEWER_RELEASE, id="the next form, shorter than this one"),
        pytest.param(WHOLE + b"x" * VALUE_LIMIT, Refusal.MALFORMED, id="too large"),
        pytest.param(WHOLE[:7] + b"\x00" + WHOLE[8:], Refusal.WRONG_CLASS, id="class 0"),
        pytest.param(WHOLE[:7] + b"\x09" + WHOLE[8:], Refusal.WRONG_CLASS, id="a class of a newer release"),
        pytest.param(WHOLE[:8] + bytes(8) + WHOLE[16:], Refusal.MALFORMED, id="generation 0"),
        pytest.param(WHOLE[:8] + b"\xff" * 8 + WHOLE[16:], Refusal.MALFORMED, id="a generation of 64 bits"),
    ],
)
def test_what_has_not_the_form_is_refused(value: bytes, why: Refusal) -> None:
    with pytest.raises(Refused) as refused:
        take_apart(value)
    assert refused.value.why is why


ALL = [
    pytest.param("fedcba9876543210", "/x", HEADER, id="another cluster"),
    pytest.param(CLUSTER, "/y", HEADER, id="another path"),
    pytest.param(CLUSTER, "/x", header(key_id=b"\x01\x02\x03\x05"), id="another key"),
    pytest.param(CLUSTER, "/x", header(record_class=RecordClass.CONTROL), id="another class"),
    pytest.param(CLUSTER, "/x", header(generation=8), id="another generation"),
]


@pytest.mark.parametrize(("cluster", "path", "other"), ALL)
def test_everything_around_a_record_is_bound_to_it(cluster: str, path: str, other: Header) -> None:
    assert associated_data(cluster, path, other) != associated_data(CLUSTER, "/x", HEADER)


def test_no_two_places_have_the_same_associated_data() -> None:
    """Only the path varies in length, so nothing can move from the path into what follows it."""
    paths = ["/x", "/x\x01", "/x" + HEADER.key_id.decode("latin-1"), "/x" + "\x01\x02\x03\x04\x01", ""]
    data = [associated_data(CLUSTER, path, each) for path in paths for each in (HEADER, header(generation=1))]
    assert not [pair for pair in combinations(data, 2) if pair[0] == pair[1]]


def test_the_signature_covers_the_place_the_nonce_and_the_ciphertext() -> None:
    assert signed_bytes(b"place", b"nonce", b"cipher") == b"placenoncecipher"


def test_nothing_of_the_ciphertext_is_shown() -> None:
    assert "cccc" not in repr(VALUE)
