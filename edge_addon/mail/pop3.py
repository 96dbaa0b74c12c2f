"""POP3 between TLS and the login (RFC 1939 §4, RFC 2449, RFC 5034)."""

from __future__ import annotations

from edge_addon.mail.commands import parse_command
from edge_addon.mail.lines import Literals
from edge_addon.mail.login import After, Login

_LISTS_WITHOUT_ARGUMENT = frozenset({"CAPA", "AUTH", "LANG"})
"""On many servers AUTH without an argument lists mechanisms. LANG: RFC 6856 §3.2."""
_REFUSALS = {
    "STLS": b"-ERR TLS is already active\r\n",
    "XCLIENT": b"-ERR Not allowed\r\n",  # Dovecot would believe the client address in it
}


class Pop3Login(Login):
    no_response = b"-ERR Expected a response to the challenge\r\n"

    def __init__(self) -> None:
        super().__init__(Literals.NONE, Literals.NONE)
        self._is_login = False
        self._expects_list = False
        self._is_in_list = False

    def check_command(self, data: bytes) -> bytes | None:
        command = parse_command(data)
        if command is None:
            return b"-ERR Unknown command\r\n"
        if b"\0" in data or b"\r" in data.removesuffix(b"\n").removesuffix(b"\r"):
            return b"-ERR Invalid character\r\n"  # a server could see the end of the command there
        if (refusal := _REFUSALS.get(command.name)) is not None:
            return refusal
        if command.name == "CAPA" and command.argument:
            return b"-ERR CAPA has no argument\r\n"  # RFC 2449 §5; some servers send the list anyway
        self._expects_list = command.name in _LISTS_WITHOUT_ARGUMENT and not command.argument
        self._is_login = command.name in {"PASS", "APOP", "AUTH"} and not self._expects_list
        return None

    def read_answer(self, data: bytes) -> After:
        if self._is_in_list:
            self._is_in_list = data.rstrip(b"\r\n") != b"."
            return After.STAY if self._is_in_list else After.ANSWERED
        if data[:3].upper() == b"+OK":
            if self._is_login:
                return After.LOGGED_IN
            self._is_in_list, self._expects_list = self._expects_list, False
            return After.STAY if self._is_in_list else After.ANSWERED
        if data[:1] == b"+":
            return After.GO_ON
        return After.ANSWERED

    def without_starttls(self, data: bytes) -> bytes:
        return b"" if self._is_in_list and data.strip().upper() == b"STLS" else data
