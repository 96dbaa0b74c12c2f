"""Parses the first line of a command into tag, name and argument. Decides nothing about the command."""

from __future__ import annotations

import re
from typing import NamedTuple

# No pattern goes on behind the name: two repetitions side by side that both take blanks try every way to share them.
_TAG = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]+) ')
"""Only characters that are safe to echo in a reply (RFC 9051 §9). The RFC sets no length, but that of a line."""
_NAME = re.compile(rb"([A-Za-z0-9.-]{1,64})(?![A-Za-z0-9.-])")
_PLAIN = re.compile(rb"([A-Za-z0-9-]{1,32})(?![A-Za-z0-9-])")
_BLANKS = b" \t"
_QUOTED = re.compile(rb'[ \t]+("(?:[^"\\\x00\r\n]|\\["\\])*")[ \t]*\r?\n')
_LITERAL = re.compile(rb"[ \t]+\{(\d{1,4})\+?\}\r?\n")
_LONGEST_QUOTED = 1024


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
    """A command of IMAP, or None if the line has no tag. Never raises.

    Behind a tag that no command follows, the name is empty: the answer needs the tag (RFC 9051 §7.1).
    """
    found = _TAG.match(data)
    if found is None or b"\n" not in data:
        return None
    tag = found[1].decode("ascii")
    name = _NAME.match(data, found.end())
    rest = _first_line(data, name.end()) if name is not None else None
    if name is None or rest is None or rest[:1] not in (b"", b" "):
        return Command(tag, "", b"")
    return Command(tag, name[1].decode("ascii").upper(), rest[1:])


def quote_string(data: bytes) -> str | None:
    """The one string of ManageSieve in `data`, up to the line end, as a quoted string in latin-1; None if it is none.

    RFC 5804 §4 limits a quoted string to 1024 octets, without line ends.
    """
    found = _QUOTED.fullmatch(data)
    if found is not None:
        return found[1].decode("latin-1") if len(found[1]) <= _LONGEST_QUOTED + 2 else None
    literal = _LITERAL.match(data)
    if literal is None:
        return None
    text, end = data[literal.end() :][: int(literal[1])], data[literal.end() :][int(literal[1]) :]
    if end not in (b"\r\n", b"\n") or len(text) > _LONGEST_QUOTED or set(text) & {0, 10, 13}:
        return None
    return '"' + text.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"') + '"'


def _first_line(data: bytes, start: int) -> bytes | None:
    """What follows `start` on the first line, without the line end; None without one."""
    end = data.find(b"\n", start)
    return data[start:end].removesuffix(b"\r") if end >= 0 else None
