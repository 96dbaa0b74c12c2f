"""HPACK (RFC 7541) as an edge needs it: a bounded decoder and an encoder without state.

Pure. The `hpack` library reads the same format, but lets a client waste its time: it accepts any number of table size
updates in one block and copies the rest of the block for each field. Here a block costs time in proportion to its
bytes.

The encoder uses the static table and literals, never the dynamic table. So a response costs a few look-ups, the
client's table size does not matter, and no secret of one response can be guessed from the length of another (CRIME).
The price is some hundred bytes for each response on the wire.
"""

from __future__ import annotations

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from edge_addon.http.name_memo import NameMemo

Fields = list[tuple[bytes, bytes]]

TABLE_SIZE = 4096
"""SETTINGS_HEADER_TABLE_SIZE: the size that holds anyway before the client has read our SETTINGS."""
ENTRY_OVERHEAD = 32
"""RFC 7541 §4.1; SETTINGS_MAX_HEADER_LIST_SIZE counts the same."""
MAX_TABLE_UPDATES = 2
"""At the beginning of a block: the smallest size that was in force meanwhile, then the final one (§4.2)."""
_INTEGER_BYTES = 4
"""After the prefix; 28 bits are more than any accepted length or index."""

_STATIC: tuple[tuple[bytes, bytes], ...] = ((b"", b""), *HeaderTable.STATIC_TABLE)
_NEVER_INDEXED = frozenset((b"set-cookie", b"cookie", b"authorization", b"proxy-authorization"))
"""Secrets, which no other proxy on the way may put into its table (§7.1.3)."""


class BadBlock(Exception):
    """The block can't be decoded. From here on the tables of both sides differ: the connection is lost."""


class BlockTooLarge(BadBlock):
    """The header list exceeds the limit."""


class Decoder:
    """Decodes the blocks of one connection, whole and in the order in which they came."""

    __slots__ = ("_entries", "_limit", "_max_size", "_size")

    def __init__(self, list_limit: int) -> None:
        self._limit = list_limit
        self._entries: Fields = []  # the newest last
        self._size = 0
        self._max_size = TABLE_SIZE

    def decode(self, block: bytes) -> Fields:
        """Decode one header block; raises BadBlock."""
        try:
            return self._decode(block)
        except IndexError:
            raise BadBlock("the block ends within a field, or names an entry that does not exist") from None
        except HPACKError:
            raise BadBlock("not Huffman code") from None

    def _decode(self, block: bytes) -> Fields:
        fields: Fields = []
        position = size = updates = 0
        end = len(block)
        while position < end:
            first = block[position]
            position += 1
            if first & 0x80:
                index = first & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, 0x7F)
                field = _STATIC[index] if 0 < index < len(_STATIC) else self._entry(index)
            elif first & 0xE0 == 0x20:
                updates += 1
                if fields or updates > MAX_TABLE_UPDATES:
                    raise BadBlock("a table size update out of place")
                position = self._resize(block, position, first)
                continue
            else:
                field, position = self._literal(block, position, first)
            fields.append(field)
            size += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
            if size > self._limit:
                raise BlockTooLarge(f"a header list of more than {self._limit} bytes")
        return fields

    def _literal(self, block: bytes, position: int, first: int) -> tuple[tuple[bytes, bytes], int]:
        mask = 0x3F if first & 0x40 else 0x0F
        index = first & mask
        if index == mask:
            index, position = _integer(block, position, mask)
        if index:
            name = (_STATIC[index] if index < len(_STATIC) else self._entry(index))[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        field = (name, value)
        if first & 0x40:
            self._add(field)
        return field, position

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if index < len(_STATIC):
            raise BadBlock("index 0")
        return self._entries[len(_STATIC) - 1 - index]

    def _add(self, field: tuple[bytes, bytes]) -> None:
        self._entries.append(field)
        self._size += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
        self._evict()

    def _evict(self) -> None:
        while self._size > self._max_size:
            name, value = self._entries.pop(0)
            self._size -= len(name) + len(value) + ENTRY_OVERHEAD

    def _resize(self, block: bytes, position: int, first: int) -> int:
        size = first & 0x1F
        if size == 0x1F:
            size, position = _integer(block, position, 0x1F)
        if size > TABLE_SIZE:
            raise BadBlock("a table larger than we allow")
        self._max_size = size
        self._evict()
        return position


def _integer(block: bytes, position: int, number: int) -> tuple[int, int]:
    """Read the part of an integer after a prefix full of ones (RFC 7541 §5.1)."""
    for shift in range(0, 7 * _INTEGER_BYTES, 7):
        byte = block[position]
        position += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise BadBlock("a number too large")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    first = block[position]
    position += 1
    length = first & 0x7F
    if length == 0x7F:
        length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise BadBlock("the block ends within a text")
    text = block[position:end]
    return (decode_huffman(text) if first & 0x80 else text), end


def encode_integer(number: int, prefix: int, flags: int) -> bytes:
    """Encode an integer (RFC 7541 §5.1); `prefix` is the largest number that fits the first byte."""
    if number < prefix:
        return bytes((flags | number,))
    out = bytearray((flags | prefix,))
    number -= prefix
    while number >= 0x80:
        out.append(0x80 | number & 0x7F)
        number >>= 7
    out.append(number)
    return bytes(out)


class _Starts(NameMemo[bytes]):
    """A field's name in any case → how a literal with it begins."""

    __slots__ = ()

    def work_out(self, name: bytes) -> bytes:
        lowered = name.lower()
        flags = 0x10 if lowered in _NEVER_INDEXED else 0x00
        known = HeaderTable.STATIC_TABLE_MAPPING.get(lowered)
        if known is not None:
            return encode_integer(known[0], 0x0F, flags)
        return bytes((flags,)) + encode_integer(len(lowered), 0x7F, 0) + lowered


_starts = _Starts()
_lengths = [encode_integer(length, 0x7F, 0) for length in range(1024)]
_statuses = {int(value): bytes((0x80 | index,)) for index, (name, value) in enumerate(_STATIC) if name == b":status"}

SHRINK_TABLE = b"\x20"
"""A table size update to 0. Due once, when the client's limit first falls below its old value, and never again."""


def encode_status(status: int) -> bytes:
    """Encode `:status`, the first field of a response."""
    return _statuses.get(status) or b"\x08\x03%d" % status


def encode_field(name: bytes, value: bytes) -> bytes:
    """Encode a field as a literal, with its name in lower case."""
    length = len(value)
    return _starts[name] + (_lengths[length] if length < len(_lengths) else encode_integer(length, 0x7F, 0)) + value
