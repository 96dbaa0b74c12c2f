"""What IMAP, POP3 and ManageSieve have in common between TLS and the login: one command at a time, under watch.

Each command of the client goes to the upstream once the one before is answered. So it is always known which command an
answer belongs to, STARTTLS can be taken out of capability lists and refused as a command, and the very answer that ends
the watch is seen: once logged in, bytes pass untouched. What a protocol makes of a command or an answer is its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum

from edge_addon.mail.dialogue import (
    LINE_LIMIT,
    Action,
    Count,
    Ended,
    MailProtocol,
    Step,
    ToClient,
    ToUpstream,
    client_fault,
)
from edge_addon.mail.lines import Fault, Framer, Literals
from edge_addon.mail.opening import UPSTREAM_GARBLED

REFUSED_AFTER_TLS = "mail_command_refused"


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

    protocol: MailProtocol

    def __init__(self, client: Literals, upstream: Literals) -> None:
        self._client = Framer(LINE_LIMIT, client)
        self._upstream = Framer(LINE_LIMIT, upstream)
        self._is_clients_turn = False
        self._goes_on = False
        """The client's next unit belongs to the command under way and is no command of its own."""
        self._has_offered_literal = False
        self._is_over = False

    @property
    def held(self) -> int:
        return self._client.held

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
            if line := self.without_starttls(unit.data):
                steps.append(ToClient(line))
            steps += self._follow(self.judge_answer(unit.data))
        return steps + self._advance()

    @abstractmethod
    def judge_command(self, data: bytes) -> bytes | None:
        """The edge's own answer to a command that must not pass; None lets it pass, as the one now under way."""

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
                steps.append(client_fault(self.protocol, unit))
            elif not self._goes_on and (answer := self.judge_command(unit.data)) is not None:
                if unit.waits:
                    self._client.forget_literal()
                steps += [ToClient(answer), Count(REFUSED_AFTER_TLS)]
            else:
                steps.append(ToUpstream(unit.data))
                self._is_clients_turn = self._goes_on = False
                self._has_offered_literal = unit.waits
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
        if after is not After.STAY and not self._is_clients_turn:
            self._is_clients_turn = True
            self._goes_on = after is After.GO_ON
            if self._has_offered_literal and not self._goes_on:
                self._client.forget_literal()
            self._has_offered_literal = False
        return []
