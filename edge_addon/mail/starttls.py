"""The dialogue before TLS on listeners that offer STARTTLS, answered by the edge alone.

No upstream is open yet: nothing that a client, or somebody on its wire, says in the clear can reach one or survive the
handshake (RFC 3207 §4.2, RFC 2595 §4, RFC 5804 §2.2, RFC 9051 §6.2.1). The rules are tables, one per protocol; the
interpreter below them is short. `smtp`, which must pass mail in the clear, has its own dialogue in `smtp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from edge_addon.mail.commands import Command, parse_command
from edge_addon.mail.dialogue import Action, Count, Ended, Step, ToClient, client_fault
from edge_addon.mail.lines import Fault, Framer, Literals, Unit

LINE_LIMIT = 8192
"""RFC 9051 §4 names it; what may be said before TLS needs a fraction."""
REFUSALS_LIMIT = 20
"""Refused commands until the connection is closed: far more than a misconfigured client needs to notice."""

AUTH_BEFORE_TLS = "mail_auth_before_tls"
COMMAND_BEFORE_TLS = "mail_command_before_tls"
PIPELINED_AFTER_STARTTLS = "mail_pipelined_after_starttls"


class Effect(Enum):
    STAY = 0
    START_TLS = 1
    CLOSE = 2


class Argument(Enum):
    NONE = 0
    ANY = 1
    REQUIRED = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """What one verb gets before TLS. `answer` is text with `{tag}` and `{host}`; `refusal` is counted."""

    answer: str
    effect: Effect = Effect.STAY
    argument: Argument = Argument.NONE
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """All that a protocol says before TLS. `malformed` answers what is no command, or has the wrong arguments."""

    greeting: str
    rules: Mapping[str, Rule]
    otherwise: Rule
    malformed: Rule
    parse: Callable[[bytes], Command | None] = parse_command
    literals: Literals = Literals.NONE
    is_strict: bool = False


class BeforeTls:
    """The dialogue over a script. It never yields a byte for an upstream."""

    def __init__(self, script: Script, host: str) -> None:
        self._script = script
        self._host = host
        self._framer = Framer(LINE_LIMIT, self._script.literals, is_strict=self._script.is_strict)
        self._refusals = 0
        self._is_over = False

    @property
    def held(self) -> int:
        return self._framer.held

    @property
    def owes_answer(self) -> bool:
        return False

    def greet(self) -> list[Step]:
        return [self._say(self._script.greeting)]

    def from_client(self, data: bytes) -> list[Step]:
        """Answer every complete command, up to the one that ends the dialogue: what came behind that is dropped."""
        self._framer.feed(data)
        steps: list[Step] = []
        while not self._is_over and (unit := self._framer.next_unit()) is not None:
            if isinstance(unit, Fault):
                self._is_over = True
                steps.append(client_fault(unit))
            else:
                steps += self._answer(unit)
        return steps

    def from_upstream(self, data: bytes) -> list[Step]:
        return []

    def upstream_ready(self, greeting: bytes) -> list[Step]:
        return []

    def _answer(self, unit: Unit) -> list[Step]:
        if unit.waits:
            self._framer.forget_literal()  # no rule invites one: the answer below refuses the command
        command = self._script.parse(unit.data)
        if command is None:
            return self._apply(self._script.malformed, "*")
        rule = self._script.rules.get(command.verb, self._script.otherwise)
        if rule.argument is not Argument.ANY and bool(command.argument) is not (rule.argument is Argument.REQUIRED):
            rule = self._script.malformed
        return self._apply(rule, command.tag)

    def _apply(self, rule: Rule, tag: str) -> list[Step]:
        steps: list[Step] = [self._say(rule.answer, tag)]
        if rule.refusal is not None:
            self._refusals += 1
            steps.append(Count(rule.refusal))
            if self._refusals >= REFUSALS_LIMIT:
                self._is_over = True
                steps.append(Ended("mail_too_many_refusals"))
        elif rule.effect is not Effect.STAY:
            self._is_over = True
            if rule.effect is Effect.CLOSE:
                steps.append(Action.CLOSE)
            else:
                if self._framer.take():
                    steps.append(Count(PIPELINED_AFTER_STARTTLS))
                steps.append(Action.START_TLS)
        return steps

    def _say(self, text: str, tag: str = "*") -> ToClient:
        return ToClient(text.format(tag=tag, host=self._host).encode("ascii"))
