"""Parses the first line of a command into tag, name and argument. Decides nothing about the command."""

from __future__ import annotations

import re
from typing import NamedTuple

_TAGGED = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]{1,64}) ([A-Za-z0-9.-]{1,32})(?: (.*?))?\r?\n', re.DOTALL)
"""A tag holds only characters that are safe to echo in a reply (RFC 9051 §9)."""
_PLAIN = re.compile(rb"([A-Za-z0-9-]{1,32})(?:[ \t]+(.*?))?[ \t]*\r?\n", re.DOTALL)


class Command(NamedTuple):
    """`name` is in upper case. `argument` is raw, up to the end of the first line."""

    tag: str
    name: str
    argument: bytes


def parse_command(data: bytes) -> Command | None:
    """A command of POP3, SMTP or ManageSieve, or None if the line is not one. Never raises."""
    found = _PLAIN.match(data)
    return Command("", found[1].decode("ascii").upper(), found[2] or b"") if found is not None else None


def parse_tagged_command(data: bytes) -> Command | None:
    """A command of IMAP, or None if the line is not one. Never raises."""
    found = _TAGGED.match(data)
    if found is None:
        return None
    return Command(found[1].decode("ascii"), found[2].decode("ascii").upper(), found[3] or b"")
