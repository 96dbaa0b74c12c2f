"""The interface of every dialogue: bytes from either side in, steps out.

A dialogue decides and `relay` acts. Dialogues hold no sockets and never raise because of what a peer sends, so each can
be tested byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from edge_addon.mail.lines import Fault

LINE_TOO_LONG = "mail_line_too_long"
LINE_LIMIT = 65_536
"""The most bytes of a command or reply before the login; base64 Kerberos tokens need most of it. SMTP has its own."""
REFUSALS_LIMIT = 20
"""After this many refused commands the edge closes the connection; a misconfigured client notices far earlier."""
TOO_MANY_REFUSALS = "mail_too_many_refusals"


@dataclass(frozen=True, slots=True)
class ToClient:
    data: bytes


@dataclass(frozen=True, slots=True)
class ToUpstream:
    data: bytes


@dataclass(frozen=True, slots=True)
class Count:
    """Increment the counter of `cause`: something was refused, but the session goes on."""

    cause: str


class Action(Enum):
    """Steps without data."""

    START_TLS = "start_tls"
    """Begin TLS with the client, after the go-ahead was sent, and forget everything learned in the clear."""
    START_UPSTREAM_TLS = "start_upstream_tls"
    """Begin TLS with the upstream, which sent its go-ahead and nothing after it."""
    TUNNEL = "tunnel"
    """Pass bytes unchanged from now on: nothing is left to check."""
    CLOSE = "close"
    """Close both sides once everything written has been sent."""


@dataclass(frozen=True, slots=True)
class Ended:
    """End the session: send `answer`, or else the protocol's goodbye, and close. `cause` is counted and logged."""

    cause: str
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class Ready:
    """The upstream is open, over TLS where the settings require it. `rest` is what it sent after its greeting."""

    greeting: bytes
    rest: bytes


Step = ToClient | ToUpstream | Count | Action | Ended | Ready


class Dialogue(Protocol):
    """One conversation between a client and its mail server."""

    @property
    def held(self) -> int:
        """How many bytes from the client wait to be processed."""

    @property
    def owes_answer(self) -> bool:
        """Whether the client waits for a reply. If the upstream fails now, the edge sends a goodbye in its place."""

    def from_client(self, data: bytes) -> list[Step]: ...

    def from_upstream(self, data: bytes) -> list[Step]: ...

    def upstream_ready(self, greeting: bytes) -> list[Step]:
        """The upstream accepts commands. `greeting` is for the client; empty if the client expects none."""


def client_fault(fault: Fault) -> Ended:
    """End a session whose client stream can no longer be parsed. A retry would not help, so the reply is final."""
    return Ended(LINE_TOO_LONG) if fault is Fault.TOO_LONG else Ended("mail_bare_newline", _BARE_NEWLINE_ANSWER)


_BARE_NEWLINE_ANSWER = b"521 5.5.2 Bare CR or LF is not allowed\r\n"
"""Only SMTP and LMTP require CR LF."""
