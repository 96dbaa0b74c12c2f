"""ManageSieve between TLS and the login (RFC 5804 §1.7, §2)."""

from __future__ import annotations

import re

from edge_addon.mail.commands import parse_command
from edge_addon.mail.lines import Literals
from edge_addon.mail.login import After, Login

_STARTTLS_CAPABILITY = re.compile(rb'(?im)^(?:"STARTTLS"|\{8\+?\}\r?\nSTARTTLS)[ \t]*\r?\n')
_STATUS = re.compile(rb"(?i)(OK|NO|BYE)\b")
_QUOTED = rb'"(?:[^"\\\x00\r\n]|\\["\\])*"'
_PLAIN = rb'[^"{\x00-\x08\x0a-\x1f\x7f]*'
_LINE = re.compile(_PLAIN + rb"(?:" + _QUOTED + _PLAIN + rb")*\r?\n")
"""What every server reads as one line: no string is left open, and no literal begins."""
_COMMAND = rb"(?i:STARTTLS|NOOP|LOGOUT|CAPABILITY|LISTSCRIPTS|UNAUTHENTICATE)[ \r\n]"
_STRING = re.compile(rb" (?:" + _QUOTED + rb"|\{(\d{1,5})\+\}\r\n(?!" + _COMMAND + rb")([A-Za-z0-9+/=*_-]*))")
"""RFC 5804 §4. Literals hold only what authentication needs: a server that refuses one can run nothing in it."""
_REFUSALS = {
    "STARTTLS": b'NO "TLS is already active"\r\n',
    "XCLIENT": b'NO "Not allowed"\r\n',  # Dovecot would believe the client address in it
}


class SieveLogin(Login):
    response_literals = Literals.AT_ONCE
    no_response = b'BYE "Expected a response to the challenge"\r\n'

    def __init__(self) -> None:
        super().__init__(Literals.AT_ONCE, Literals.AT_ONCE)
        self._is_login = False

    def check_command(self, data: bytes) -> bytes | None:
        command = parse_command(data)
        if command is None:
            return b'NO "Unknown command"\r\n'
        if (refusal := _REFUSALS.get(command.name)) is not None:
            return refusal
        is_login = command.name == "AUTHENTICATE"
        if not _LINE.fullmatch(data) and not (is_login and _is_strings(data[len(command.name) :], most=2)):
            return b'NO "Invalid arguments"\r\n'
        self._is_login = is_login
        return None

    def split_command(self, data: bytes) -> list[bytes] | None:
        return [data] if not self.goes_on or _is_strings(b" " + data, most=1) else None

    def read_answer(self, data: bytes) -> After:
        status = _STATUS.match(data)
        if status is not None:
            return After.LOGGED_IN if self._is_login and status[1].upper() == b"OK" else After.ANSWERED
        if self._is_login and data[:1] in {b'"', b"{"}:
            return After.GO_ON  # a challenge is a string on a line of its own (RFC 5804 §2.1)
        return After.STAY

    def without_starttls(self, data: bytes) -> bytes:
        return _STARTTLS_CAPABILITY.sub(b"", data)


def _is_strings(data: bytes, *, most: int) -> bool:
    """Whether `data` is at most `most` strings, each after a space, up to the end of the line."""
    position = 0
    for _ in range(most):
        found = _STRING.match(data, position)
        if found is None or (found[1] and int(found[1]) != len(found[2])):
            return False
        position = found.end()
        if data[position:] in {b"\r\n", b"\n"}:
            return True
    return False
