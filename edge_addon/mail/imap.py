"""IMAP between TLS and the login (RFC 9051 §3, §6.1, §6.2)."""

from __future__ import annotations

import re

from edge_addon.mail.commands import parse_command
from edge_addon.mail.dialogue import MailProtocol
from edge_addon.mail.lines import Literals
from edge_addon.mail.login import After, Login

_CAPABILITIES = re.compile(rb"(?i)(^\* CAPABILITY(?= )|\[CAPABILITY(?= ))([^\]\r\n]*)")
_STARTTLS = re.compile(rb"(?i) STARTTLS(?=[ \r\n\]]|\Z)")
_FORWARDED_ADDRESS = re.compile(rb"(?i)x-(?:originating|connected|session|proxy|forward)")
"""Parameters of ID by which Dovecot lets a trusted relay name the real client; clients of the edge are not trusted."""


class ImapLogin(Login):
    protocol = MailProtocol.IMAP

    def __init__(self) -> None:
        super().__init__(Literals.ON_REQUEST, Literals.AT_ONCE)
        self._tag = b""
        self._is_login = False

    def judge_command(self, data: bytes) -> bytes | None:
        command = parse_command(MailProtocol.IMAP, data)
        if command is None:
            return b"* BAD Not a command\r\n"
        tag = command.tag.encode("ascii")
        match command.verb:
            case "STARTTLS":
                return tag + b" BAD TLS is already active\r\n"
            case "COMPRESS":  # the watch would be blind; after the login it may pass (RFC 4978)
                return tag + b" BAD Log in first\r\n"
            case "ID" if _FORWARDED_ADDRESS.search(data) or data.rstrip().endswith(b"}"):
                # Answered like any other ID, because honest web mails send these too.
                return b"* ID NIL\r\n" + tag + b" OK ID done\r\n"
        self._tag = tag
        self._is_login = command.verb in {"LOGIN", "AUTHENTICATE"}
        return None

    def judge_answer(self, data: bytes) -> After:
        if data[:1] == b"+":
            return After.GO_ON
        if self._tag and data.startswith(self._tag + b" "):
            status = data[len(self._tag) + 1 :][:3].upper()
            self._tag = b""
            return After.LOGGED_IN if self._is_login and status in {b"OK ", b"OK\r", b"OK\n"} else After.ANSWERED
        if data[:5].upper() == b"* BAD":
            return After.ANSWERED  # so a server answers what it found no tag in
        return After.STAY

    def without_starttls(self, data: bytes) -> bytes:
        if data.find(b"\n") != len(data) - 1:
            return data  # a literal, whose length must stay; no capability list has one
        return _CAPABILITIES.sub(lambda found: found[1] + _STARTTLS.sub(b"", found[2]), data)
