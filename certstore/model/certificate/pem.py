"""Finds the PEM blocks in bytes (RFC 7468), however the file was written.

Byte order marks, UTF-16, any line ends, blanks at the ends of lines, and text around and between the blocks are
accepted. A boundary is a line of its own (RFC 7468 §2): text that mentions one is text. A block that begins and does
not end, or ends without a beginning, means a file that is still being written: it is reported. `find_blocks` splits and
decodes nothing, so counting the blocks of a file costs next to nothing. Knows nothing of what is inside a block.
"""

from __future__ import annotations

import binascii
import codecs
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FILE_LIMIT = 1_000_000
"""The most bytes of one file that anybody reads: a chain with its key has fewer than ten thousand."""

_DASHES = b"-----"
_BOUNDARY = re.compile(rb"-----(BEGIN|END) ([A-Za-z0-9](?:[A-Za-z0-9 .#/+_]|-(?!-)){0,60})-----")
_CUT_BEGINNING = re.compile(rb"-----BEGIN [A-Za-z0-9 ]*-{0,4}")
_BASE64_TEXT = re.compile(rb"[A-Za-z0-9+/= \t\v\f]*")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}[ \t]*")
_WHITE = b" \t\r\n\v\f\x00"
# Invisible characters that editors, browsers and word processors leave: no-break and zero-width space, byte order mark.
_INVISIBLE = re.compile(rb"\xc2\xa0|\xe2\x80[\x8b-\x8f\xa8-\xaf]|\xef\xbb\xbf|\xa0")
_EMPTY_LINE = re.compile(rb"\n[ \t]*\n")
_LINE = 64


@dataclass(frozen=True, slots=True)
class Block:
    """`body` is what stands between the boundaries. `has_headers`: it begins as RFC 1421's encryption does."""

    label: str
    body: bytes = field(repr=False)

    @property
    def has_headers(self) -> bool:
        return b":" in self.body

    @property
    def der(self) -> bytes | None:
        """None when the base64 can't be decoded, is encrypted, or is missing. Other header lines are left out."""
        if not self.has_headers:
            return _decoded(self.body)
        _, *content = _EMPTY_LINE.split(self.body.lstrip(_WHITE), maxsplit=1)
        return None if b"ENCRYPTED" in self.body or not content else _decoded(content[0])

    @property
    def text(self) -> bytes:
        """The whole block, for a library that has to see its headers."""
        name = self.label.encode("ascii")
        return b"-----BEGIN %b-----%b-----END %b-----\n" % (name, self.body, name)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks in their order. `is_incomplete`: a boundary has no counterpart."""

    blocks: tuple[Block, ...]
    is_incomplete: bool


def plain_bytes(content: bytes) -> bytes:
    """The content without a byte order mark, and UTF-16 (which Windows editors call Unicode) as UTF-8."""
    if content.startswith(codecs.BOM_UTF8):
        return content[len(codecs.BOM_UTF8) :]
    encoding = None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif (dashes := content.find(b"-\x00-\x00-\x00-\x00")) >= 0:
        encoding = "utf-16-le" if dashes % 2 == 0 else "utf-16-be"
    try:
        return content if encoding is None else content.decode(encoding).encode("utf-8")
    except UnicodeError:
        return content


def bare_base64(content: bytes) -> bytes | None:
    """What a file of nothing but base64 holds: a block whose boundaries were left out."""
    return _decoded(content) if content.lstrip(_WHITE).startswith(b"M") else None


def looks_like_pem(content: bytes) -> bool:
    """Whether a line of the content is a boundary, or the beginning of one that was cut."""
    return b"-----BEGIN " in content or b"-----END " in content


def find_blocks(content: bytes) -> Blocks:
    """One pass over the lines with boundaries, so that no file can make it slow. Takes what `plain_bytes` gives."""
    text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    blocks: list[Block] = []
    is_incomplete = False
    beginning: re.Match[bytes] | None = None
    for boundary in _boundaries(text):
        if boundary[1] == b"BEGIN":
            is_incomplete = is_incomplete or beginning is not None
            beginning = boundary
        elif beginning is None or beginning[2] != boundary[2]:
            is_incomplete, beginning = True, None
        else:
            blocks.append(Block(boundary[2].decode("ascii"), text[beginning.end() : boundary.start()]))
            beginning = None
    return Blocks(tuple(blocks), is_incomplete or beginning is not None or _ends_within_a_beginning(text))


def _boundaries(text: bytes) -> Iterator[re.Match[bytes]]:
    position, is_open = 0, False
    while (dashes := text.find(_DASHES, position)) >= 0:
        start = max(text.rfind(b"\n", position, dashes) + 1, position)
        end = text.find(b"\n", dashes)
        end = len(text) if end < 0 else end
        for boundary in _boundaries_of_line(text, start, end, is_open=is_open):
            is_open = boundary[1] == b"BEGIN"
            yield boundary
        position = end


def _boundaries_of_line(text: bytes, start: int, end: int, *, is_open: bool) -> list[re.Match[bytes]]:
    """All boundaries of a line when it holds nothing else but base64 of the blocks that they belong to.

    `cat` puts the last line of one file and the first one of the next on one line when the line end is missing, and
    some programs leave all line ends out.
    """
    found = list(_BOUNDARY.finditer(text, start, end))
    if not found:
        return []
    before, behind = text[start : found[0].start()], text[found[-1].end() : end]
    if not _is_blank(before) and not (is_open and _BASE64.fullmatch(before)):
        return []
    if not _is_blank(behind) and not (found[-1][1] == b"BEGIN" and _BASE64.fullmatch(behind)):
        return []
    for this, following in itertools.pairwise(found):
        between = text[this.end() : following.start()]
        is_block = this[1] == b"BEGIN" and following[1] == b"END" and this[2] == following[2]
        if not _is_blank(between) and not (is_block and _BASE64_TEXT.fullmatch(between)):
            return []
    return found


def _is_blank(text: bytes) -> bool:
    return not _INVISIBLE.sub(b"", text).strip(_WHITE)


def _ends_within_a_beginning(text: bytes) -> bool:
    last = text.rstrip(_WHITE).rpartition(b"\n")[2].lstrip(_WHITE)
    return _CUT_BEGINNING.fullmatch(last) is not None


def _decoded(body: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(_INVISIBLE.sub(b"", body).translate(None, _WHITE), strict_mode=True) or None
    except binascii.Error:
        return None


def to_pem(label: str, der: bytes) -> bytes:
    """One block in the usual form, with 64 characters per line."""
    text = binascii.b2a_base64(der, newline=False)
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    name = label.encode("ascii")
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (name, b"\n".join(lines), name)
