"""IMAP between TLS and the login (RFC 9051 §3, §6.1, §6.2)."""

from __future__ import annotations

import re

from edge_addon.mail.commands import parse_tagged_command
from edge_addon.mail.lines import Literals
from edge_addon.mail.login import After, Login

_CAPABILITIES = re.compile(rb"(?i)(^\* CAPABILITY(?= )|\[CAPABILITY(?= ))([^\]\r\n]*)")
_STARTTLS = re.compile(rb"(?i) STARTTLS(?=[ \r\n\]]|\Z)")
_FORWARDED_ADDRESS = re.compile(rb"(?i)x-(?:originating|connected|session|proxy|forward)")
"""ID parameters by which a relay that Dovecot trusts names the real client. Clients of the edge are not trusted."""

_QUOTED = rb'"(?:[^"\\\x00\r\n]|\\["\\])*"(?=[ )\r\n])'
_PLAIN = rb'[^"{\x00-\x1f\x7f]*'
_LINE = re.compile(_PLAIN + rb"(?:(?<=[ (])" + _QUOTED + _PLAIN + rb")*\r?\n")
"""What every server reads as one line: no string is left open, and no literal begins."""
_BEFORE_LOGIN = re.compile(rb"[^ ]+ [^ ]+")
_ASTRING = re.compile(rb'[^"{()\x00-\x20\x7f]+|' + _QUOTED)
_LITERAL = re.compile(rb"\{(\d{1,5})\+?\}\r\n")


class ImapLogin(Login):
    no_response = b"* BYE Expected the next part of the command\r\n"

    def __init__(self) -> None:
        super().__init__(Literals.ON_REQUEST, Literals.AT_ONCE)
        self._tag = b""
        self._is_login = self._is_authentication = False
        self._login = b""
        """A LOGIN with literals, as far as the client has sent it."""
        self._pieces = 0
        """How many parts of it have been passed on or are waiting in `later`."""

    def check_command(self, data: bytes) -> bytes | None:
        command = parse_tagged_command(data)
        if command is None:
            return b"* BAD Unknown command\r\n"
        tag = command.tag.encode("ascii")
        match command.name:
            case "":
                return tag + b" BAD Unknown command\r\n"
            case "STARTTLS":
                return tag + b" BAD TLS is already active\r\n"
            case "COMPRESS":  # the edge could not read what follows; after the login it may pass (RFC 4978)
                return tag + b" BAD Log in first\r\n"
            case "ID" if _FORWARDED_ADDRESS.search(data) or _announces_literal(data):
                # Answered like any other ID, because honest webmail programs send these too.
                return b"* ID NIL\r\n" + tag + b" OK ID done\r\n"
        is_line = _LINE.fullmatch(data) is not None
        if not is_line and (command.name != "LOGIN" or _split_login(data) is None):
            return tag + b" BAD Invalid arguments\r\n"
        self._tag = tag
        self._is_login = command.name in {"LOGIN", "AUTHENTICATE"}
        self._is_authentication = command.name == "AUTHENTICATE"
        self._login, self._pieces = b"", 0
        return None

    def split_command(self, data: bytes) -> list[bytes] | None:
        if self._is_authentication or (not self.goes_on and _LINE.fullmatch(data)):
            return super().split_command(data)
        self._login += data
        pieces = _split_login(self._login)
        if pieces is None:
            return None
        known, self._pieces = self._pieces, len(pieces)
        return pieces[known:]

    def read_answer(self, data: bytes) -> After:
        if data[:1] == b"+":
            is_awaited = self._is_authentication or self.has_offered_literal or self.later
            return After.GO_ON if is_awaited else After.STAY
        if self._tag and data.startswith(self._tag + b" "):
            status = data[len(self._tag) + 1 :][:3].upper()
            self._tag = b""
            return After.LOGGED_IN if self._is_login and status in {b"OK ", b"OK\r", b"OK\n"} else After.ANSWERED
        if data[:5].upper() == b"* BAD":
            return After.ANSWERED  # the answer to a command in which the server found no tag
        return After.STAY

    def without_starttls(self, data: bytes) -> bytes:
        if data.find(b"\n") != len(data) - 1:
            return data  # it holds a literal, whose length must not change; capability lists have none
        return _CAPABILITIES.sub(lambda found: found[1] + _STARTTLS.sub(b"", found[2]), data)


def _announces_literal(data: bytes) -> bool:
    """Whether the first line ends with the announcement of a literal."""
    return data.partition(b"\n")[0].rstrip().endswith(b"}")


def _split_login(data: bytes) -> list[bytes] | None:
    """Split `tag LOGIN astring astring`, or the beginning of it, after each announcement of a literal.

    Every literal becomes one that the server has to ask for: a server that does not know the other kind (RFC 7888)
    refuses the command and would read the literal as the next one. None if `data` is anything else.
    """
    head = _BEFORE_LOGIN.match(data)
    position = head.end() if head is not None else 0
    begin, pieces = 0, []
    for _ in range(2):
        if data[position : position + 1] != b" ":
            return None
        position += 1
        if literal := _LITERAL.match(data, position):
            size = int(literal[1])
            pieces.append(data[begin:position] + b"{%d}\r\n" % size)
            begin, position = literal.end(), literal.end() + size
            if begin == len(data):
                return pieces
            if b"\0" in data[begin:position]:
                return None
        elif word := _ASTRING.match(data, position):
            position = word.end()
        else:
            return None
    return [*pieces, data[begin:]] if data[position:] == b"\r\n" else None
