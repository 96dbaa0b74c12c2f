"""The client's side of STARTTLS in each mail protocol: which reply it waits for and which commands it sends.

The edge speaks it with the mail servers behind it, and `certedge verify` with the edge's own listeners.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from certstore.model.settings.models import ListenerKind


def _pattern(text: bytes) -> re.Pattern[bytes]:
    return re.compile(text, re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the last line of a reply begins with, and what it begins with when the reply is positive."""

    last_line: re.Pattern[bytes]
    good: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class ClientSide:
    """`commands` are sent one by one, each after the reply to the one before; `{host}` is the client's name.

    The TLS handshake follows the reply to the last command. `farewell` ends the conversation at any time.
    """

    greeting: Expected
    commands: tuple[tuple[str, Expected], ...]
    farewell: str = "QUIT\r\n"


_ANY_LINE = _pattern(b"")
_POP3_OK = Expected(_ANY_LINE, _pattern(rb"\+OK"))
_SIEVE_OK = Expected(_pattern(rb"(?:OK|NO|BYE)\b"), _pattern(rb"OK\b"))


def _smtp_reply(code: bytes) -> Expected:
    return Expected(_pattern(rb"(?!\d{3}-)"), _pattern(code))


def _smtp(hello: str) -> ClientSide:
    go_ahead = _smtp_reply(b"220")
    return ClientSide(go_ahead, ((f"{hello} {{host}}\r\n", _smtp_reply(b"250")), ("STARTTLS\r\n", go_ahead)))


CLIENT_SIDES: Mapping[ListenerKind, ClientSide] = {
    ListenerKind.IMAP: ClientSide(
        # PREAUTH is no good greeting: STARTTLS is not possible then, and every client would be in without a login.
        Expected(_ANY_LINE, _pattern(rb"\* OK\b")),
        (("edge STARTTLS\r\n", Expected(_pattern(rb"edge |\* BYE\b"), _pattern(rb"edge OK\b"))),),
        "edge LOGOUT\r\n",
    ),
    ListenerKind.POP3: ClientSide(_POP3_OK, (("STLS\r\n", _POP3_OK),)),
    ListenerKind.SMTP: _smtp("EHLO"),
    ListenerKind.LMTP: _smtp("LHLO"),
    ListenerKind.SUBMISSION: _smtp("EHLO"),
    ListenerKind.SIEVE: ClientSide(_SIEVE_OK, (("STARTTLS\r\n", _SIEVE_OK),), "LOGOUT\r\n"),
}
"""One entry for each kind with STARTTLS."""
IMPLICIT_TLS: Mapping[ListenerKind, ClientSide] = {
    ListenerKind.IMAPS: CLIENT_SIDES[ListenerKind.IMAP],
    ListenerKind.POP3S: CLIENT_SIDES[ListenerKind.POP3],
    ListenerKind.SUBMISSIONS: CLIENT_SIDES[ListenerKind.SUBMISSION],
}
"""One entry for each kind of mail that begins with TLS: the conversation is the same, without STARTTLS."""
