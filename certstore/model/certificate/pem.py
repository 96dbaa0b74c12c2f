"""Finds the PEM blocks in bytes (RFC 7468), however the file was written.

Byte order marks, UTF-16, any line ends, and text around and between the blocks are accepted. A block that begins and
does not end, or ends without a beginning, means a file that is still being written: it is reported, never skipped.
Knows nothing of what is inside a block.
"""

from __future__ import annotations

import binascii
import codecs
import re
from dataclasses import dataclass, field

FILE_LIMIT = 1_000_000
"""The most bytes of one file that anybody reads: a chain with its key has fewer than ten thousand."""

_BOUNDARY = re.compile(rb"-----(BEGIN|END) ([A-Z0-9][A-Z0-9 ]{0,40})-----")
_ANY_BEGINNING = b"-----BEGIN "
_ANY_END = b"-----END "
_WHITE = b" \t\r\n\v\f"
_LINE = 64


@dataclass(frozen=True, slots=True)
class Block:
    """`der` is None when the base64 can't be decoded, or when the block `has_headers` (RFC 1421 encryption)."""

    label: str
    der: bytes | None = field(repr=False)
    text: bytes = field(repr=False)
    has_headers: bool = False


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks in their order. `is_incomplete`: a boundary has no counterpart."""

    blocks: tuple[Block, ...]
    is_incomplete: bool


def plain_bytes(content: bytes) -> bytes:
    """The content without a byte order mark, and UTF-16 (which Windows editors call Unicode) as UTF-8."""
    if content.startswith(codecs.BOM_UTF8):
        return content[len(codecs.BOM_UTF8) :]
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16").encode("utf-8")
        except UnicodeError:
            return content
    return content


def looks_like_pem(content: bytes) -> bool:
    return _ANY_BEGINNING in content or _ANY_END in content


def find_blocks(content: bytes) -> Blocks:
    """One pass over the boundaries, so that no file can make it slow."""
    blocks: list[Block] = []
    is_incomplete = False
    beginning: re.Match[bytes] | None = None
    beginnings = 0
    for boundary in _BOUNDARY.finditer(content):
        if boundary[1] == b"BEGIN":
            beginnings += 1
            is_incomplete = is_incomplete or beginning is not None
            beginning = boundary
        elif beginning is None or beginning[2] != boundary[2]:
            is_incomplete, beginning = True, None
        else:
            blocks.append(_block(content, beginning, boundary))
            beginning = None
    cut_boundary = content.count(_ANY_BEGINNING) > beginnings
    return Blocks(tuple(blocks), is_incomplete or beginning is not None or cut_boundary)


def _block(content: bytes, beginning: re.Match[bytes], end: re.Match[bytes]) -> Block:
    body = content[beginning.end() : end.start()]
    label = beginning[2].decode("ascii")
    has_headers = b":" in body
    der = None if has_headers else _decoded(body)
    return Block(label, der, content[beginning.start() : end.end()] + b"\n", has_headers)


def _decoded(body: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(body.translate(None, _WHITE), strict_mode=True) or None
    except binascii.Error:
        return None


def to_pem(label: str, der: bytes) -> bytes:
    """One block in the usual form, with 64 characters per line."""
    text = binascii.b2a_base64(der, newline=False)
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    name = label.encode("ascii")
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (name, b"\n".join(lines), name)
