"""HPACK: compared with the hpack library in both directions, and with attacks that the library lets pass."""

import time

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.relay.http2.hpack import (
    SHRINK_TABLE,
    BadBlock,
    BlockTooLarge,
    Decoder,
    encode_field,
    encode_integer,
    encode_status,
)

LIMIT = 65536
NAMES = st.one_of(
    st.sampled_from([b":path", b":method", b"cookie", b"set-cookie", b"content-type", b"x-a", b"authorization"]),
    st.binary(max_size=200),
)
Block = tuple[list[tuple[bytes, bytes]], bool, int | None]
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=12)


@given(st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from([None, 0, 100, 4096])), max_size=6))
def test_blocks_of_the_library_are_read_back(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    """Over one connection's blocks the tables of both sides stay equal, with any table size."""
    encoder, decoder = hpack.Encoder(), Decoder(LIMIT)
    for fields, huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields, huffman=huffman)) == fields


@given(FIELDS)
def test_blocks_of_ours_are_read_by_the_library(fields: list[tuple[bytes, bytes]]) -> None:
    block = b"".join(encode_field(name, value) for name, value in fields)
    decoded = hpack.Decoder().decode(block, raw=True)
    assert [tuple(each) for each in decoded] == [(name.lower(), value) for name, value in fields]


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_any_bytes_are_read_as_the_library_reads_them_or_refused(blocks: list[bytes]) -> None:
    """Ours may refuse more, but not read other fields or raise another exception."""
    ours, theirs = Decoder(LIMIT), hpack.Decoder(LIMIT)
    for block in blocks:
        try:
            fields = ours.decode(block)
        except BadBlock:
            return
        assert [tuple(each) for each in theirs.decode(block, raw=True)] == fields


@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 500, 100, 201, 421, 599])
def test_a_status_is_read_back(status: int) -> None:
    assert hpack.Decoder().decode(encode_status(status), raw=True) == [(b":status", b"%d" % status)]


@pytest.mark.parametrize("name", [b"Set-Cookie", b"set-cookie", b"Authorization"])
def test_secrets_may_not_be_indexed_on_the_way(name: bytes) -> None:
    (field,) = hpack.Decoder().decode(encode_field(name, b"secret"), raw=True)
    assert isinstance(field, hpack.NeverIndexedHeaderTuple)


def test_other_fields_may_be_indexed_on_the_way_but_are_not_here() -> None:
    decoder = hpack.Decoder()
    (field,) = decoder.decode(encode_field(b"Content-Type", b"text/html"), raw=True)
    assert not isinstance(field, hpack.NeverIndexedHeaderTuple)
    assert not decoder.header_table.dynamic_entries


def test_the_library_understands_how_the_table_is_given_up() -> None:
    decoder = hpack.Decoder()
    decoder.decode(SHRINK_TABLE + encode_status(200))
    assert decoder.header_table_size == 0


@pytest.mark.parametrize(
    ("number", "prefix", "encoded"),
    [(10, 0x1F, b"\x0a"), (1337, 0x1F, b"\x1f\x9a\x0a"), (42, 0xFF, b"\x2a"), (31, 0x1F, b"\x1f\x00")],
)
def test_numbers_are_written_as_in_the_standards_examples(number: int, prefix: int, encoded: bytes) -> None:
    assert encode_integer(number, prefix, 0) == encoded


BAD = {
    "index 0": b"\x80",
    "an index beyond both tables": b"\xbe",
    "a name's index beyond both tables": b"\x7f\x00\x01a",
    "a number of five bytes": b"\xff\xff\xff\xff\xff\x00",
    "a number that does not end": b"\xff\xff",
    "a text that does not end": b"\x00\x05ab",
    "a value that is missing": b"\x00\x01a",
    "a literal that is missing": b"\x40",
    "Huffman code of the end symbol": b"\x00\x01a\x84\xff\xff\xff\xff",
    "Huffman code with too much padding": b"\x00\x01a\x82\x1f\xff",
    "a table beyond what we allow": b"\x3f\xe2\x1f",
    "three table updates": b"\x20\x20\x20\x82",
    "a table update behind a field": b"\x82\x20",
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_blocks_are_refused(name: str) -> None:
    with pytest.raises(BadBlock):
        Decoder(LIMIT).decode(BAD[name])


def test_two_table_updates_are_fine() -> None:
    assert Decoder(LIMIT).decode(b"\x20\x3f\xe1\x1f\x82") == [(b":method", b"GET")]


def test_a_lists_size_is_counted_as_in_the_standard() -> None:
    block = encode_field(b"x-a", b"v" * 65)  # 3 + 65 + 32 bytes
    assert len(Decoder(1000).decode(block * 10)) == 10
    with pytest.raises(BlockTooLarge):
        Decoder(1000).decode(block * 11)


def test_a_bomb_of_references_is_stopped_early() -> None:
    bomb = b"\x40\x01a\x7f\x81\x1e" + b"v" * 4000 + b"\xbe" * 60_000  # 240 MB unpacked
    with pytest.raises(BlockTooLarge):
        Decoder(LIMIT).decode(bomb)


def test_the_table_never_exceeds_its_size() -> None:
    decoder = Decoder(LIMIT)
    for number in range(1000):
        decoder.decode(b"\x40" + encode_integer(6, 0x7F, 0) + b"%06d" % number + b"\x0a" + b"v" * 10)
    assert decoder._size <= 4096
    assert sum(len(name) + len(value) + 32 for name, value in decoder._entries) == decoder._size
    decoder.decode(
        b"\x40\x01a" + encode_integer(9000, 0x7F, 0) + b"v" * 9000
    )  # larger than the table: empties it (RFC 7541 §4.4)
    assert not decoder._entries


@pytest.mark.parametrize(
    "block",
    [b"\x20" * 65_000, b"\xff" * 65_000, b"\x00\x01a\x00" * 16_000, b"\x00\x01a\xff\xe1\xfa\x03" + b"\xff" * 64_000],
    ids=["table updates", "one number", "the smallest literals", "one Huffman text"],
)
def test_the_time_of_a_block_is_in_proportion_to_its_bytes(block: bytes) -> None:
    """CPU time does not grow on a busy machine; the bound leaves room for a slow one."""
    before = time.process_time()
    for _ in range(5):
        with pytest.raises(BadBlock):
            Decoder(LIMIT).decode(block)
    assert (time.process_time() - before) / 5 < 0.25
