"""The dialogue before TLS on listeners that offer STARTTLS, answered by the edge alone.

No upstream is open yet: nothing that a client, or somebody on its wire, says in the clear can reach one or survive the
handshake (RFC 3207 §4.2, RFC 2595 §4, RFC 5804 §2.2, RFC 9051 §6.2.1). The rules are tables, one per protocol; the
interpreter below them is short. `smtp`, which must pass mail in the clear, has its own dialogue in `smtp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from edge_addon.mail.commands import parse_command
from edge_addon.mail.dialogue import Action, Count, Ended, MailProtocol, Step, ToClient, client_fault
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
    literals: Literals = Literals.NONE
    is_strict: bool = False


def _refused(answer: str, verbs: str) -> dict[str, Rule]:
    """The same refusal for all authentication commands of a protocol."""
    return {verb: Rule(answer, argument=Argument.ANY, refusal=AUTH_BEFORE_TLS) for verb in verbs.split()}


_SIEVE_CAPABILITIES = (
    '"IMPLEMENTATION" "mail edge"\r\n"SIEVE" ""\r\n"SASL" ""\r\n"STARTTLS"\r\n"VERSION" "1.0"\r\nOK "TLS is needed"\r\n'
)
"""RFC 5804 §1.7: SASL is empty while no mechanism is available; what SIEVE lists is asked again behind TLS."""
_MUST_STARTTLS = "530 5.7.0 Must issue a STARTTLS command first\r\n"  # RFC 3207 §4

SCRIPTS = {
    MailProtocol.IMAP: Script(
        greeting="* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] {host} ready for STARTTLS\r\n",
        rules={
            "CAPABILITY": Rule("* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n{tag} OK That is all before TLS\r\n"),
            "NOOP": Rule("{tag} OK Nothing done\r\n"),
            "LOGOUT": Rule("* BYE Until next time\r\n{tag} OK Logged out\r\n", Effect.CLOSE),
            "STARTTLS": Rule("{tag} OK Begin TLS\r\n", Effect.START_TLS),
            **_refused("{tag} NO [PRIVACYREQUIRED] Say STARTTLS first\r\n", "LOGIN AUTHENTICATE"),  # RFC 5530 §3
        },
        otherwise=Rule("{tag} BAD Not before STARTTLS\r\n", argument=Argument.ANY, refusal=COMMAND_BEFORE_TLS),
        malformed=Rule("{tag} BAD Not a command\r\n", refusal=COMMAND_BEFORE_TLS),
        literals=Literals.ON_REQUEST,
    ),
    MailProtocol.POP3: Script(
        greeting="+OK {host} ready for STLS\r\n",  # no time stamp: APOP is not for the clear (RFC 1939 §7)
        rules={
            "CAPA": Rule("+OK That is all before TLS\r\nSTLS\r\nRESP-CODES\r\n.\r\n"),
            "QUIT": Rule("+OK Until next time\r\n", Effect.CLOSE),
            "STLS": Rule("+OK Begin TLS\r\n", Effect.START_TLS),
            **_refused("-ERR Say STLS first\r\n", "USER PASS APOP AUTH"),
        },
        otherwise=Rule("-ERR Not before STLS\r\n", argument=Argument.ANY, refusal=COMMAND_BEFORE_TLS),
        malformed=Rule("-ERR Not a command\r\n", refusal=COMMAND_BEFORE_TLS),
    ),
    MailProtocol.SMTP: Script(
        greeting="220 {host} ESMTP ready for STARTTLS\r\n",
        rules={
            "EHLO": Rule("250-{host}\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n", argument=Argument.REQUIRED),
            "NOOP": Rule("250 2.0.0 Nothing done\r\n", argument=Argument.ANY),
            "QUIT": Rule("221 2.0.0 Until next time\r\n", Effect.CLOSE),
            "STARTTLS": Rule("220 2.0.0 Begin TLS\r\n", Effect.START_TLS),
            **_refused(_MUST_STARTTLS, "AUTH"),
        },
        otherwise=Rule(_MUST_STARTTLS, argument=Argument.ANY, refusal=COMMAND_BEFORE_TLS),
        malformed=Rule("501 5.5.4 Not a command, or not with these arguments\r\n", refusal=COMMAND_BEFORE_TLS),
        is_strict=True,
    ),
    MailProtocol.SIEVE: Script(
        greeting=_SIEVE_CAPABILITIES,
        rules={
            "CAPABILITY": Rule(_SIEVE_CAPABILITIES),
            "NOOP": Rule('OK "Nothing done"\r\n'),
            "LOGOUT": Rule('OK "Until next time"\r\n', Effect.CLOSE),
            "STARTTLS": Rule('OK "Begin TLS"\r\n', Effect.START_TLS),
            **_refused('NO (ENCRYPT-NEEDED) "Say STARTTLS first"\r\n', "AUTHENTICATE"),  # RFC 5804 §1.3
        },
        otherwise=Rule('NO "Not before STARTTLS"\r\n', argument=Argument.ANY, refusal=COMMAND_BEFORE_TLS),
        malformed=Rule('NO "Not a command, or not with these arguments"\r\n', refusal=COMMAND_BEFORE_TLS),
        literals=Literals.AT_ONCE,
    ),
}


class BeforeTls:
    """The dialogue over a script. It never yields a byte for an upstream."""

    def __init__(self, protocol: MailProtocol, host: str) -> None:
        self._protocol = protocol
        self._script = SCRIPTS[protocol]
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
                steps.append(client_fault(self._protocol, unit))
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
        command = parse_command(self._protocol, unit.data)
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
