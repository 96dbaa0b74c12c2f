"""ManageSieve between TLS and the login (RFC 5804 §1.7, §2)."""

from __future__ import annotations

import re

from edge_addon.mail.commands import parse_command
from edge_addon.mail.dialogue import MailProtocol
from edge_addon.mail.lines import Literals
from edge_addon.mail.login import After, Login

_STARTTLS_CAPABILITY = re.compile(rb'(?im)^(?:"STARTTLS"|\{8\+?\}\r?\nSTARTTLS)[ \t]*\r?\n')
_STATUS = re.compile(rb"(?i)(OK|NO|BYE)\b")
_REFUSALS = {
    "STARTTLS": b'NO "TLS is already active"\r\n',
    "XCLIENT": b'NO "Not from here"\r\n',  # Dovecot would take a client's address from it
}


class SieveLogin(Login):
    protocol = MailProtocol.SIEVE

    def __init__(self) -> None:
        super().__init__(Literals.AT_ONCE, Literals.AT_ONCE)
        self._is_login = False

    def judge_command(self, data: bytes) -> bytes | None:
        command = parse_command(MailProtocol.SIEVE, data)
        if command is None:
            return b'NO "Not a command"\r\n'
        if (refusal := _REFUSALS.get(command.verb)) is not None:
            return refusal
        self._is_login = command.verb == "AUTHENTICATE"
        return None

    def judge_answer(self, data: bytes) -> After:
        status = _STATUS.match(data)
        if status is not None:
            return After.LOGGED_IN if self._is_login and status[1].upper() == b"OK" else After.ANSWERED
        if self._is_login and data[:1] in {b'"', b"{"}:
            return After.GO_ON  # a challenge is a string on a line of its own (RFC 5804 §2.1)
        return After.STAY

    def without_starttls(self, data: bytes) -> bytes:
        return _STARTTLS_CAPABILITY.sub(b"", data)
