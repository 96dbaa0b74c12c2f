"""Opens a conversation with an upstream: reads its greeting and, if the settings require it, begins STARTTLS.

Once TLS is established, nothing that the upstream sent in the clear is believed or passed on: the client gets a
greeting of the edge instead, and bytes that arrived together with the go-ahead end the session (RFC 3207 §5).
"""

from __future__ import annotations

from dataclasses import dataclass

from certstore.model.starttls import ClientSide
from edge_addon.mail.dialogue import LINE_LIMIT, Action, Count, Ended, Ready, Step, ToClient, ToUpstream
from edge_addon.mail.lines import Fault, Framer, Literals

UPSTREAM_REFUSED = "mail_upstream_refused"
UPSTREAM_WITHOUT_STARTTLS = "mail_upstream_without_starttls"
UPSTREAM_PIPELINED = "mail_upstream_pipelined_after_starttls"
UPSTREAM_GARBLED = "mail_upstream_garbled"
UPSTREAM_EARLY = "mail_upstream_early"
"""It answered a command before it had got it, so nobody could tell which answer belongs to what."""

ANSWER_LIMIT = 4 * LINE_LIMIT
"""The most bytes of a whole greeting or answer."""


@dataclass(frozen=True, slots=True)
class OpeningScript:
    """How a protocol opens.

    `greeting_over_tls` replaces the upstream's greeting and may contain `{host}`, the edge's name. It is None if the
    server sends a second greeting over TLS in this protocol.
    """

    client_side: ClientSide
    greeting_over_tls: str | None
    literals: Literals = Literals.AT_ONCE
    can_speak_unasked: bool = False
    """The server may send lines that answer nothing at any time (RFC 9051 §7)."""


class Opening:
    """The conversation from the first byte of an upstream to `Ready`.

    `needs_starttls`: TLS with the upstream has yet to begin. `client_awaits_greeting` is False after a client's own
    STARTTLS, except in protocols where the server then sends a second greeting.
    """

    def __init__(self, script: OpeningScript, host: str, *, needs_starttls: bool, client_awaits_greeting: bool) -> None:
        self._script = script
        self._host = host
        self._framer = Framer(LINE_LIMIT, script.literals)
        self._expected = script.client_side.greeting
        self._to_tls = list(script.client_side.commands) if needs_starttls else []
        self._needs_starttls = needs_starttls
        self._client_awaits_greeting = client_awaits_greeting
        self._answer = bytearray()
        self._is_over = False

    def from_upstream(self, data: bytes) -> list[Step]:
        self._framer.feed(data)
        command: list[Step] = []
        while not self._is_over and (unit := self._framer.next_unit()) is not None:
            if isinstance(unit, Fault) or len(self._answer) > ANSWER_LIMIT:
                return self._end(UPSTREAM_GARBLED)
            self._answer += unit.data
            if not self._expected.last_line.match(unit.data):
                continue
            if command:
                return self._answered_early(unit.data)
            command = self._conclude(unit.data)
        if command and not self._is_over and not self._script.can_speak_unasked and (self._answer or self._framer.held):
            return self._end(UPSTREAM_EARLY)
        return command

    def _answered_early(self, last_line: bytes) -> list[Step]:
        """A server that waits for no command may only take its leave: the command has not been sent."""
        if self._expected.good.match(last_line):
            return self._end(UPSTREAM_EARLY)
        return self._refused(bytes(self._answer))

    def tls_established(self) -> list[Step]:
        """The TLS handshake with the upstream is done: what it sends from now on counts."""
        self._framer = Framer(LINE_LIMIT, self._script.literals)
        self._needs_starttls = False
        self._answer.clear()
        if self._script.greeting_over_tls is None:
            self._expected = self._script.client_side.greeting
            self._is_over = False
            return []
        return [self._ready(self._script.greeting_over_tls.format(host=self._host).encode("ascii"))]

    def _conclude(self, last_line: bytes) -> list[Step]:
        """The answer is complete: send the next command, or finish."""
        answer = bytes(self._answer)
        self._answer.clear()
        if not self._expected.good.match(last_line):
            return self._refused(answer)
        if not self._needs_starttls:
            return [self._ready(answer)]
        if self._to_tls:
            command, self._expected = self._to_tls.pop(0)
            return [ToUpstream(command.format(host=self._host).encode("ascii"))]
        if self._framer.held:
            return self._end(UPSTREAM_PIPELINED)
        self._is_over = True
        return [Action.START_UPSTREAM_TLS]

    def _refused(self, answer: bytes) -> list[Step]:
        """Pass the refusal on, which tells the client best when to retry, unless an attacker could have forged it."""
        if self._needs_starttls:
            is_greeting = len(self._to_tls) == len(self._script.client_side.commands)
            return self._end(UPSTREAM_REFUSED if is_greeting else UPSTREAM_WITHOUT_STARTTLS)
        self._is_over = True
        return [Count(UPSTREAM_REFUSED), ToClient(answer), Action.CLOSE]

    def _ready(self, greeting: bytes) -> Ready:
        self._is_over = True
        return Ready(greeting if self._client_awaits_greeting else b"", self._framer.take())

    def _end(self, cause: str) -> list[Step]:
        self._is_over = True
        return [Ended(cause)]
