"""The dialogue before TLS on listeners that require STARTTLS. The edge answers alone.

No upstream is open yet, so nothing that a client, or an attacker on its connection, sends in the clear can reach one or
survive the handshake (RFC 3207 §4.2, RFC 2595 §4, RFC 5804 §2.2, RFC 9051 §6.2.1). The rules are one `Script` per
protocol, in `protocols`. Mail between servers, which may pass in the clear, has its dialogue in `smtp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from edge_addon.mail.commands import Command, parse_command, quote_string
from edge_addon.mail.dialogue import (
    REFUSALS_LIMIT,
    TOO_MANY_REFUSALS,
    Action,
    Count,
    Ended,
    Step,
    ToClient,
    client_fault,
)
from edge_addon.mail.lines import Fault, Framer, Literals, Unit

LINE_LIMIT = 8192
"""From RFC 9051 §4; the commands allowed before TLS need a fraction of it."""

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
    """The answer to one command. `answer` may contain `{tag}` and `{host}`; `refusal` is the counter to increment."""

    answer: str
    effect: Effect = Effect.STAY
    argument: Argument = Argument.NONE
    refusal: str | None = None
    repeating: str | None = None
    """The answer to a command with a string; may contain `{argument}`, the string in quotes."""


@dataclass(frozen=True, slots=True)
class Script:
    """What the edge says before TLS. `malformed` answers a line that is no command or has the wrong arguments."""

    greeting: str
    rules: Mapping[str, Rule]
    otherwise: Rule
    malformed: Rule
    parse: Callable[[bytes], Command | None] = parse_command
    literals: Literals = Literals.NONE
    is_strict: bool = False


class BeforeTls:
    """Follows a script. Never sends anything to an upstream."""

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
        """Answer every complete command up to the one that ends the dialogue, and drop whatever came after it."""
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
            self._framer.forget_literal()  # no rule takes one: the answer below refuses the command
        command = self._script.parse(unit.data)
        if command is None:
            return self._apply(self._script.malformed, "*")
        rule = self._script.rules.get(command.name, self._script.otherwise)
        if rule.repeating is not None and command.argument:
            argument = quote_string(unit.data[len(command.name) :])
            if argument is None:
                return self._apply(self._script.malformed, command.tag)
            return self._apply(replace(rule, answer=rule.repeating), command.tag, argument)
        if rule.argument is not Argument.ANY and bool(command.argument) is not (rule.argument is Argument.REQUIRED):
            rule = self._script.malformed
        return self._apply(rule, command.tag)

    def _apply(self, rule: Rule, tag: str, argument: str = "") -> list[Step]:
        steps: list[Step] = [self._say(rule.answer, tag, argument)]
        if rule.refusal is not None:
            self._refusals += 1
            steps.append(Count(rule.refusal))
            if self._refusals >= REFUSALS_LIMIT:
                self._is_over = True
                steps.append(Ended(TOO_MANY_REFUSALS))
        elif rule.effect is not Effect.STAY:
            self._is_over = True
            if rule.effect is Effect.CLOSE:
                steps.append(Action.CLOSE)
            else:
                if self._framer.take():
                    steps.append(Count(PIPELINED_AFTER_STARTTLS))
                steps.append(Action.START_TLS)
        return steps

    def _say(self, text: str, tag: str = "*", argument: str = "") -> ToClient:
        return ToClient(text.format(tag=tag, host=self._host, argument=argument).encode("latin-1"))
