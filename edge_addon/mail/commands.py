"""Parses the first line of a command into tag, name and argument. Decides nothing about the command."""

from __future__ import annotations

import re
from typing import NamedTuple

# No pattern goes on behind the name: two repetitions side by side that both take blanks try every way to share them.
_TAGGED = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]{1,128}) ([A-Za-z0-9.-]{1,32})(?![A-Za-z0-9.-])')
"""A tag holds only characters that are safe to echo in a reply (RFC 9051 §9). The RFC sets no length."""
_PLAIN = re.compile(rb"([A-Za-z0-9-]{1,32})(?![A-Za-z0-9-])")
_BLANKS = b" \t"


class Command(NamedTuple):
    """`name` is in upper case. `argument` is raw, up to the end of the first line."""

    tag: str
    name: str
    argument: bytes


def parse_command(data: bytes) -> Command | None:
    """A command of POP3, SMTP or ManageSieve, or None if the line is not one. Never raises."""
    found = _PLAIN.match(data)
    rest = _first_line(data, found.end()) if found is not None else None
    if found is None or rest is None or rest[:1] not in (b"", b" ", b"\t"):
        return None
    return Command("", found[1].decode("ascii").upper(), rest.strip(_BLANKS))


def parse_tagged_command(data: bytes) -> Command | None:
    """A command of IMAP, or None if the line is not one. Never raises."""
    found = _TAGGED.match(data)
    rest = _first_line(data, found.end()) if found is not None else None
    if found is None or rest is None or rest[:1] not in (b"", b" "):
        return None
    return Command(found[1].decode("ascii"), found[2].decode("ascii").upper(), rest[1:])


def _first_line(data: bytes, start: int) -> bytes | None:
    """What follows `start` on the first line, without the line end; None without one."""
    end = data.find(b"\n", start)
    return data[start:end].removesuffix(b"\r") if end >= 0 else None
