"""What IMAP, POP3 and ManageSieve have in common between TLS and the login: one command at a time, under watch.

Each command of the client goes to the upstream once the one before is answered. So it is always known which command an
answer belongs to, STARTTLS can be taken out of capability lists and refused as a command, and the very answer that ends
the watch is seen: once logged in, bytes pass untouched. What a protocol makes of a command or an answer is its own.

Nothing passes that the upstream could cut into commands elsewhere than the edge does.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from enum import Enum

from edge_addon.mail.dialogue import (
    LINE_LIMIT,
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
"""RFC 4422 §5.1 in base64. No command has this form, should the upstream have given up waiting for it."""


class After(Enum):
    """What an upstream's line does to the conversation."""

    STAY = 0
    """More of the same answer follows, or something nobody asked for."""
    ANSWERED = 1
    """The command is answered; the client's next one may go."""
    GO_ON = 2
    """The upstream waits for the next piece of the command under way: a literal, or a step of an authentication."""
    LOGGED_IN = 3


class Login(ABC):
    """The watch; a subclass knows one protocol."""

    response_literals = Literals.NONE
    """The literals in a client's step of an authentication."""
    no_response: bytes
    """Last words to a client that says something else instead of the next part of its command."""

    def __init__(self, client: Literals, upstream: Literals) -> None:
        self._literals = client
        self._client = Framer(LINE_LIMIT, client)
        self._upstream = Framer(LINE_LIMIT, upstream)
        self._is_clients_turn = False
        self.goes_on = False
        """The client's next unit belongs to the command under way and is no command of its own."""
        self.has_offered_literal = False
        """The command under way ends for now at the announcement of a literal."""
        self.later: list[bytes] = []
        """What the client has said of the command under way and the upstream is still to ask for."""
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
            after = self.judge_answer(unit.data)
            if after is After.GO_ON and self.later:
                steps.append(ToUpstream(self.later.pop(0)))  # the client did not wait to be asked
                continue
            if line := self.without_starttls(unit.data):
                steps.append(ToClient(line))
            steps += self._follow(after)
        return steps + self._advance()

    @abstractmethod
    def judge_command(self, data: bytes) -> bytes | None:
        """The edge's own answer to a command that must not pass; None lets it pass, as the one now under way."""

    def take_apart(self, data: bytes) -> list[bytes] | None:
        """The pieces in which a command, or the next part of the one under way, goes to the upstream.

        Each but the first waits until it is asked for. None when `data` does not belong to the command under way.
        """
        return [data] if not self.goes_on or _SASL_RESPONSE.fullmatch(data) else None

    @abstractmethod
    def judge_answer(self, data: bytes) -> After:
        """What this line of the upstream means for the command under way."""

    @abstractmethod
    def without_starttls(self, data: bytes) -> bytes:
        """The upstream's line without its offer of STARTTLS; empty when the line was nothing else."""

    def _advance(self) -> list[Step]:
        steps: list[Step] = []
        while self._is_clients_turn and not self._is_over and (unit := self._client.next_unit()) is not None:
            if isinstance(unit, Fault):
                self._is_over = True
                steps.append(client_fault(unit))
            elif not self.goes_on and (answer := self.judge_command(unit.data)) is not None:
                if unit.waits:
                    self._client.forget_literal()
                steps += [ToClient(answer), Count(REFUSED_AFTER_TLS)]
            elif (pieces := self.take_apart(unit.data)) is None:
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
