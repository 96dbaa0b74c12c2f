"""Reads the head of a command in each protocol: the tag, the verb, what follows. Judges nothing."""

from __future__ import annotations

import re
from typing import NamedTuple

from edge_addon.mail.dialogue import MailProtocol

_IMAP_COMMAND = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]{1,64}) ([A-Za-z0-9.-]{1,32})(?: (.*?))?\r?\n', re.DOTALL)
"""RFC 9051 §9: a tag is made of what a quoted answer can carry, so it may be sent back as it is."""
_PLAIN_COMMAND = re.compile(rb"([A-Za-z0-9-]{1,32})(?:[ \t]+(.*?))?[ \t]*\r?\n", re.DOTALL)


class Command(NamedTuple):
    """`verb` in upper case. `argument` is raw, up to the end of the first line."""

    tag: str
    verb: str
    argument: bytes


def parse_command(protocol: MailProtocol, data: bytes) -> Command | None:
    """None when the line is no command of that protocol at all. Never raises."""
    if protocol is MailProtocol.IMAP:
        found = _IMAP_COMMAND.match(data)
        if found is None:
            return None
        return Command(found[1].decode("ascii"), found[2].decode("ascii").upper(), found[3] or b"")
    found = _PLAIN_COMMAND.match(data)
    if found is None:
        return None
    return Command("", found[1].decode("ascii").upper(), found[2] or b"")
