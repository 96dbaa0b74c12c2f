"""What every dialogue is: bytes of either side in, steps out. And how each protocol says goodbye.

A dialogue decides, `relay` does. Dialogues hold no sockets and never raise for what a peer sends, so each one can be
shown byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from edge_addon.mail.lines import Fault

LINE_TOO_LONG = "mail_line_too_long"
LINE_LIMIT = 65_536
"""Bytes of one command or answer before the login; Kerberos tokens in base64 fill most of it. SMTP has a limit."""


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


def client_fault(fault: Fault) -> Ended:
    """The client's stream can't be followed any further. Final for this mail: trying again would change nothing."""
    return Ended(LINE_TOO_LONG) if fault is Fault.TOO_LONG else Ended("mail_bare_newline", _BARE_NEWLINE_ANSWER)


_BARE_NEWLINE_ANSWER = b"521 5.5.2 Lines end with CR LF, and neither stands alone\r\n"
"""Only SMTP insists on whole line ends."""
