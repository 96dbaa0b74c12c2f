"""What every dialogue is: bytes of either side in, steps out. And how each protocol says goodbye.

A dialogue decides, `relay` does. Dialogues hold no sockets and never raise for what a peer sends, so each one can be
shown byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Protocol

from certstore.model.settings.models import ListenerKind
from edge_addon.mail.lines import Fault

LINE_LIMIT = 65_536
"""Bytes of one command or answer before the login; Kerberos tokens in base64 fill most of it. SMTP has a limit."""


class MailProtocol(StrEnum):
    """What is spoken, whichever way TLS comes about."""

    IMAP = "imap"
    POP3 = "pop3"
    SMTP = "smtp"
    SIEVE = "sieve"


PROTOCOLS = {
    ListenerKind.IMAP: MailProtocol.IMAP,
    ListenerKind.IMAPS: MailProtocol.IMAP,
    ListenerKind.POP3: MailProtocol.POP3,
    ListenerKind.POP3S: MailProtocol.POP3,
    ListenerKind.SMTP: MailProtocol.SMTP,
    ListenerKind.SUBMISSION: MailProtocol.SMTP,
    ListenerKind.SUBMISSIONS: MailProtocol.SMTP,
    ListenerKind.SIEVE: MailProtocol.SIEVE,
}


@dataclass(frozen=True, slots=True)
class ToClient:
    data: bytes


@dataclass(frozen=True, slots=True)
class ToUpstream:
    data: bytes


@dataclass(frozen=True, slots=True)
class Count:
    """Something was refused; a word for the counters. It does not end the session."""

    cause: str


class Action(Enum):
    """Steps that carry nothing."""

    START_TLS = "start_tls"
    """The go-ahead is written: TLS with the client begins, and everything known so far is forgotten."""
    START_UPSTREAM_TLS = "start_upstream_tls"
    """The upstream gave the go-ahead and nothing behind it."""
    TUNNEL = "tunnel"
    """Nothing is left to watch: from here on bytes pass untouched."""
    CLOSE = "close"
    """Close both sides once what was written is out."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The session can't go on: say goodbye in the protocol's words, or `answer` where there is one, and close.

    `cause` is counted and logged.
    """

    cause: str
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class Ready:
    """The upstream is open and speaks securely where it should. `rest` is what it said after its greeting."""

    greeting: bytes
    rest: bytes


Step = ToClient | ToUpstream | Count | Action | Ended | Ready


class Dialogue(Protocol):
    """A conversation under way."""

    @property
    def held(self) -> int:
        """Bytes of the client that wait for their turn."""

    @property
    def owes_answer(self) -> bool:
        """The client waits for words of the upstream; should that vanish now, the edge says goodbye in its place."""

    def from_client(self, data: bytes) -> list[Step]: ...

    def from_upstream(self, data: bytes) -> list[Step]: ...

    def upstream_ready(self, greeting: bytes) -> list[Step]:
        """Commands may go to the upstream; `greeting` is for the client, empty when it is not to hear one."""


GOODBYES = {
    MailProtocol.IMAP: "* BYE [UNAVAILABLE] {why}\r\n",  # RFC 5530 §3: a failure that passes
    MailProtocol.POP3: "-ERR [SYS/TEMP] {why}\r\n",  # RFC 3206 §4
    MailProtocol.SMTP: "421 4.3.2 {host} {why}\r\n",  # RFC 5321 §3.8, RFC 3463 §3.4
    MailProtocol.SIEVE: 'BYE (TRYLATER) "{why}"\r\n',  # RFC 5804 §1.3
}
"""All of them make a client come back later and keep its mail."""


def goodbye(protocol: MailProtocol, host: str, why: str) -> bytes:
    """The last words of a session that the edge ends; `why` is plain ASCII without quotes."""
    return GOODBYES[protocol].format(host=host, why=why).encode("ascii")


_BARE_NEWLINE_ANSWER = b"521 5.5.2 Lines end with CR LF, and neither stands alone\r\n"
_TOO_LONG_ANSWERS = {
    MailProtocol.IMAP: b"* BYE Line too long\r\n",
    MailProtocol.POP3: b"-ERR Line too long\r\n",
    MailProtocol.SMTP: b"500 5.5.2 Line too long\r\n",
    MailProtocol.SIEVE: b'BYE "Line too long"\r\n',
}


def client_fault(protocol: MailProtocol, fault: Fault) -> Ended:
    """The client's stream can't be followed any further. Final for this mail: trying again would change nothing."""
    answer = _BARE_NEWLINE_ANSWER if fault is Fault.BARE_NEWLINE else _TOO_LONG_ANSWERS[protocol]
    return Ended(f"mail_{fault}", answer)
