"""What IMAP, POP3 and ManageSieve have in common between TLS and the login: the edge passes one command at a time.

A command goes to the upstream once the one before has been answered. The edge thus always knows which command an answer
belongs to: it removes STARTTLS from capability lists, refuses it as a command, and sees the very answer that ends the
login, after which bytes pass unchanged. Each protocol has its own rules for commands and answers.

Nothing passes that the upstream could split into commands differently from the edge.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from enum import Enum

from edge_addon.mail.dialogue import (
    LINE_LIMIT,
    REFUSALS_LIMIT,
    TOO_MANY_REFUSALS,
    Action,
    Count,
    Ended,
    Step,
    ToClient,
    ToUpstream,
    client_fault,
)
from edge_addon.mail.lines import Fault, Framer, Literals
from edge_addon.mail.opening import UPSTREAM_GARBLED

REFUSED_AFTER_TLS = "mail_command_refused"
LOGIN_GARBLED = "mail_login_garbled"

_SASL_RESPONSE = re.compile(rb"(?:[A-Za-z0-9+/]*={0,2}|\*)\r?\n")
"""RFC 4422 §5.1, in base64. No command has this form, in case the upstream no longer waits for a response."""


class After(Enum):
    """What a line from the upstream means for the conversation."""

    STAY = 0
    """The answer continues, or the line was not asked for."""
    ANSWERED = 1
    """The command is answered; the client's next command may pass."""
    GO_ON = 2
    """The upstream waits for the next part of the current command: a literal, or a step of an authentication."""
    LOGGED_IN = 3


class Login(ABC):
    """The dialogue up to the login. A subclass knows one protocol."""

    response_literals = Literals.NONE
    """How the client sends literals in a step of an authentication."""
    no_response: bytes
    """The goodbye to a client that sends anything but the next part of its command."""

    def __init__(self, client: Literals, upstream: Literals) -> None:
        self._literals = client
        self._client = Framer(LINE_LIMIT, client)
        self._upstream = Framer(LINE_LIMIT, upstream)
        self._is_clients_turn = False
        self._refusals = 0
        self.goes_on = False
        """The client's next unit continues the current command."""
        self.has_offered_literal = False
        """The current command ends for now with the announcement of a literal."""
        self.later: list[bytes] = []
        """Parts of the current command that the client has sent and the upstream has not asked for yet."""
        self._is_over = False

    @property
    def held(self) -> int:
        return self._client.held + sum(map(len, self.later))

    @property
    def owes_answer(self) -> bool:
        return not self._is_clients_turn

    def upstream_ready(self, greeting: bytes) -> list[Step]:
        self._is_clients_turn = True
        steps: list[Step] = [ToClient(self.without_starttls(greeting))] if greeting else []
        return steps + self._advance()

    def from_client(self, data: bytes) -> list[Step]:
        self._client.feed(data)
        return self._advance()

    def from_upstream(self, data: bytes) -> list[Step]:
        self._upstream.feed(data)
        steps: list[Step] = []
        while not self._is_over and (unit := self._upstream.next_unit()) is not None:
            if isinstance(unit, Fault):
                self._is_over = True
                return [*steps, Ended(UPSTREAM_GARBLED)]
            after = self.read_answer(unit.data)
            if after is After.GO_ON and self.later:
                steps.append(ToUpstream(self.later.pop(0)))  # the client has sent this already
                continue
            if line := self.without_starttls(unit.data):
                steps.append(ToClient(line))
            steps += self._follow(after)
        return steps + self._advance()

    @abstractmethod
    def check_command(self, data: bytes) -> bytes | None:
        """The edge's own answer to a command that must not pass. None lets it pass and makes it the current command."""

    def split_command(self, data: bytes) -> list[bytes] | None:
        """The parts in which a command, or the continuation of the current one, goes to the upstream.

        All but the first wait until the upstream asks for them. None if `data` does not continue the current command.
        """
        return [data] if not self.goes_on or _SASL_RESPONSE.fullmatch(data) else None

    @abstractmethod
    def read_answer(self, data: bytes) -> After:
        """What this line from the upstream means for the current command."""

    @abstractmethod
    def without_starttls(self, data: bytes) -> bytes:
        """The line from the upstream without its offer of STARTTLS; empty if it contained nothing else."""

    def _advance(self) -> list[Step]:
        steps: list[Step] = []
        while self._is_clients_turn and not self._is_over and (unit := self._client.next_unit()) is not None:
            if isinstance(unit, Fault):
                self._is_over = True
                steps.append(client_fault(unit))
            elif not self.goes_on and (answer := self.check_command(unit.data)) is not None:
                if unit.waits:
                    self._client.forget_literal()
                steps += [ToClient(answer), Count(REFUSED_AFTER_TLS)]
                self._refusals += 1
                if self._refusals >= REFUSALS_LIMIT:
                    self._is_over = True
                    steps.append(Ended(TOO_MANY_REFUSALS))
            elif (pieces := self.split_command(unit.data)) is None:
                self._is_over = True
                steps.append(Ended(LOGIN_GARBLED, self.no_response))
            else:
                steps.append(ToUpstream(pieces[0]))
                self.later = pieces[1:]
                self._is_clients_turn = self.goes_on = False
                self.has_offered_literal = unit.waits
        return steps

    def _follow(self, after: After) -> list[Step]:
        if after is After.LOGGED_IN:
            self._is_over = True
            steps: list[Step] = [Action.TUNNEL]
            if rest := self._upstream.take():
                steps.append(ToClient(rest))
            if held := self._client.take():
                steps.append(ToUpstream(held))
            return steps
        has_given_up = self.goes_on and after is After.ANSWERED
        if after is not After.STAY and (has_given_up or not self._is_clients_turn):
            self._is_clients_turn = True
            self.goes_on = after is After.GO_ON
            is_response = self.goes_on and not self.has_offered_literal
            self._client.literals = self.response_literals if is_response else self._literals
            if not self.goes_on:
                self._client.forget_literal()
                self.later.clear()
            self.has_offered_literal = False
        return []
