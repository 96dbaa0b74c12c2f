"""SMTP (RFC 5321) and LMTP (RFC 2033) through the edge, from greeting to QUIT, in the clear and over TLS.

Follows the dialogue closely enough to know of every byte whether it belongs to a command or to the text of a mail
(DATA, or BDAT of RFC 3030), so that neither side can be made to take one for the other. Passes known commands only.
Offers STARTTLS in the clear and hides it over TLS, hides and refuses AUTH in the clear, and refuses XCLIENT, by which a
client could pose as a trusted relay.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from edge_addon.mail.commands import Command, parse_command
from edge_addon.mail.dialogue import (
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
from edge_addon.mail.lines import Fault, Framer
from edge_addon.mail.message_text import MessageText, Verdict
from edge_addon.mail.opening import UPSTREAM_GARBLED
from edge_addon.mail.starttls import AUTH_BEFORE_TLS, PIPELINED_AFTER_STARTTLS

COMMAND_LIMIT = 12_288
"""A step of AUTH may need this much (RFC 4954 §4); everything else is far shorter."""
REPLY_LIMIT = 4096
EHLO_LINES = 100


class Handling(Enum):
    """What the edge does with a command."""

    PASS = 0
    """Pass it. It may stand anywhere in a group of pipelined commands (RFC 2920 §3.1)."""
    PASS_LAST = 1
    """Pass it, and nothing after it until it is answered."""
    EHLO = 2
    HELO = 3
    DATA = 4
    BDAT = 5
    AUTH = 6
    STARTTLS = 7
    QUIT = 8
    REFUSE = 9
    NEW_MAIL = 10
    """Like PASS. If it succeeds, the recipients of the mail before are forgotten."""
    RCPT = 11
    """Like PASS. If it succeeds, the mail has one more recipient."""
    DELIVERY = 12
    """The end of a mail that gets one reply per recipient."""
    LOST_MAIL = 13
    """DATA of a mail that gets one reply per recipient and lost a chunk. The edge answers: the upstream may still have
    recipients for whom it has answered already."""


_CHUNK_LOST = b"503 5.5.1 An earlier chunk of this mail was refused\r\n"
_ANYWHERE = frozenset({Handling.PASS, Handling.NEW_MAIL, Handling.RCPT, Handling.BDAT, Handling.DELIVERY})


@dataclass(frozen=True, slots=True, eq=False)
class TransferRules:
    """Which commands pass, and which of the upstream's offers the client sees."""

    handling: Mapping[str, Handling]
    """By name of the command. All others are refused."""
    refusals: Mapping[str, str]
    """The reply to some refused commands, in place of `NOT_KNOWN`."""
    hidden: frozenset[str]
    """Keywords that the client never sees."""
    hidden_in_clear: frozenset[str]
    replies_per_recipient: bool = False
    """The end of a mail gets one reply for each accepted recipient (LMTP, RFC 2033 §4.2 and §4.3)."""


NOT_KNOWN = "500 5.5.1 Unknown command\r\n"

_REPLY = re.compile(rb"([2-5]\d\d)(?:([ -])[^\r\n]*)?\r?\n\Z")
_CHUNK = re.compile(rb"(?i)(\d{1,18})( +LAST)?\Z")


class Phase(Enum):
    """What the next bytes from the client are."""

    COMMANDS = 0
    EXCHANGE = 1
    """One line of an authentication."""
    TEXT = 2
    CHUNK = 3
    REFUSED_CHUNK = 4


class SmtpRelay:
    """Matches replies to commands in order, and sends the edge's own replies in their proper place."""

    def __init__(self, rules: TransferRules, is_secure: bool) -> None:
        self._rules = rules
        self._is_secure = is_secure
        self._client = Framer(COMMAND_LIMIT, is_strict=True)
        self._upstream = Framer(REPLY_LIMIT)
        self._phase = Phase.COMMANDS
        self._unanswered: deque[Handling] = deque()
        self._held_back: bytes | None = None
        """A command that waits until all commands before it are answered."""
        self._text = MessageText()
        self._chunk_left = 0
        self._recipients = 0
        """How many are accepted for the current mail. Counted only where each of them gets a reply."""
        self._has_lost_chunk = False
        self._hello: list[bytes] = []
        self._can_pipeline = self._can_chunk = False
        self._is_open = self._is_over = False
        self._refusals = 0

    @property
    def held(self) -> int:
        return self._client.held + len(self._held_back or b"")

    @property
    def owes_answer(self) -> bool:
        """Always: a client whose server is gone gets 421, whatever it sends next."""
        return True

    def upstream_ready(self, greeting: bytes) -> list[Step]:
        self._is_open = True
        return [*([ToClient(greeting)] if greeting else []), *self._advance()]

    def from_client(self, data: bytes) -> list[Step]:
        self._client.feed(data)
        return self._advance()

    def from_upstream(self, data: bytes) -> list[Step]:
        self._upstream.feed(data)
        steps: list[Step] = []
        while not self._is_over and (unit := self._upstream.next_unit()) is not None:
            steps += self._garbled() if isinstance(unit, Fault) else self._take_reply(unit.data)
        return steps + self._advance()

    # From the client.

    def _advance(self) -> list[Step]:
        steps: list[Step] = []
        while self._is_open and not self._is_over:
            if self._phase is Phase.TEXT:
                more = self._take_text()
            elif self._phase in (Phase.CHUNK, Phase.REFUSED_CHUNK):
                more = self._take_chunk()
            else:
                more = self._take_line()
            if more is None:
                break
            steps += more
        return steps

    # Each of these processes what has arrived, or returns None if it must wait.

    def _take_text(self) -> list[Step] | None:
        data = self._client.take()
        if not data:
            return None
        found = self._text.feed(data)
        if found.verdict is Verdict.BARE_NEWLINE:
            return self._end(client_fault(Fault.BARE_NEWLINE))
        if found.verdict is Verdict.END:
            self._phase = Phase.COMMANDS
            self._unanswered.append(Handling.DELIVERY if self._rules.replies_per_recipient else Handling.PASS)
            self._client.feed(data[found.length :])
            data = data[: found.length]
        return [ToUpstream(data)]

    def _take_chunk(self) -> list[Step] | None:
        data = self._client.take(self._chunk_left)
        if not data:
            return None
        steps: list[Step] = [ToUpstream(data)] if self._phase is Phase.CHUNK else []
        self._chunk_left -= len(data)
        if not self._chunk_left:
            self._phase = Phase.COMMANDS
        return steps

    def _take_line(self) -> list[Step] | None:
        if self._waits_for_answer():
            return None
        line = self._held_back
        self._held_back = None
        if line is None:
            unit = self._client.next_unit()
            if unit is None:
                return None
            if isinstance(unit, Fault):
                return self._end(client_fault(unit))
            line = unit.data
        if self._phase is Phase.EXCHANGE:
            self._phase = Phase.COMMANDS
            return self._pass(line, Handling.AUTH)
        return self._handle(line)

    def _waits_for_answer(self) -> bool:
        if not self._unanswered:
            return False
        is_last_in_group = self._unanswered[-1] not in _ANYWHERE
        return is_last_in_group or self._held_back is not None or not self._can_pipeline

    def _handle(self, line: bytes) -> list[Step] | None:
        command = parse_command(line)
        handling = self._rules.handling.get(command.name, Handling.REFUSE) if command is not None else Handling.REFUSE
        if handling is Handling.STARTTLS and self._is_secure:
            handling = Handling.REFUSE
        if handling is Handling.AUTH and not self._is_secure:
            handling = Handling.REFUSE
        if handling is Handling.DATA and self._has_lost_chunk and self._rules.replies_per_recipient:
            handling = Handling.LOST_MAIL
        if handling in {Handling.REFUSE, Handling.STARTTLS, Handling.LOST_MAIL} and self._unanswered:
            self._held_back = line
            return None
        if command is None or handling is Handling.REFUSE:
            return self._refuse(command)
        if handling is Handling.STARTTLS:
            return self._start_tls(command)
        if handling is Handling.LOST_MAIL:
            return [ToClient(_CHUNK_LOST), Count("mail_chunk_refused")]
        if handling is Handling.BDAT:
            return self._begin_chunk(line, command)
        if handling is Handling.HELO:
            self._can_pipeline = self._can_chunk = False
        return self._pass(line, handling)

    def _pass(self, line: bytes, handling: Handling) -> list[Step]:
        self._unanswered.append(handling)
        return [ToUpstream(line)]

    def _refuse(self, command: Command | None) -> list[Step]:
        name = command.name if command is not None else ""
        is_auth = self._rules.handling.get(name) is Handling.AUTH
        cause = AUTH_BEFORE_TLS if is_auth else "mail_command_refused"
        self._refusals += 1
        steps: list[Step] = [ToClient(self._rules.refusals.get(name, NOT_KNOWN).encode("ascii")), Count(cause)]
        if self._refusals >= REFUSALS_LIMIT:
            steps += self._end(Ended(TOO_MANY_REFUSALS))
        return steps

    def _start_tls(self, command: Command) -> list[Step]:
        if command.argument:
            return [ToClient(b"501 5.5.4 STARTTLS takes no argument\r\n")]
        self._is_over = True
        steps: list[Step] = [ToClient(b"220 2.0.0 Begin TLS\r\n")]
        if self._client.take():
            steps.append(Count(PIPELINED_AFTER_STARTTLS))
        return [*steps, Action.START_TLS]

    def _begin_chunk(self, line: bytes, command: Command) -> list[Step] | None:
        """End the session if the upstream might not count the chunk, and would then read it as commands."""
        size = _CHUNK.match(command.argument)
        if size is None or not self._can_chunk:
            answer = b"501 5.5.4 BDAT needs a size\r\n" if size is None else b"503 5.5.1 CHUNKING is not offered\r\n"
            return self._end(Ended("mail_chunk_refused", answer))
        ends_mail = size[2] is not None and self._rules.replies_per_recipient
        if ends_mail and self._unanswered:
            self._held_back = line  # only then is the number of recipients known
            return None
        is_refused = ends_mail and (self._has_lost_chunk or not self._recipients)
        self._chunk_left = int(size[1])
        if self._chunk_left:
            self._phase = Phase.REFUSED_CHUNK if is_refused else Phase.CHUNK
        return (
            self._refuse_mail() if is_refused else self._pass(line, Handling.DELIVERY if ends_mail else Handling.BDAT)
        )

    def _refuse_mail(self) -> list[Step]:
        """Servers differ in the number of replies here, so the edge answers itself: one per recipient, or none."""
        answer = _CHUNK_LOST * self._recipients
        self._recipients = 0
        return [ToClient(answer), Count("mail_chunk_refused")]

    # From the upstream.

    def _take_reply(self, line: bytes) -> list[Step]:
        reply = _REPLY.match(line)
        if reply is None:
            return self._garbled()
        code, is_last = reply[1].decode("ascii"), reply[2] != b"-"
        if code == "421":  # a server may send it at any time (RFC 5321 §3.8)
            self._is_over = is_last
            return [ToClient(line), Action.CLOSE] if is_last else [ToClient(line)]
        if not self._unanswered or (self._hello and code != "250"):
            return self._garbled()
        if self._unanswered[0] is Handling.EHLO and code == "250":
            return self._take_hello_line(line, is_last=is_last)
        if is_last:
            return self._conclude(self._unanswered.popleft(), code, line)
        return [ToClient(line)]

    def _conclude(self, handling: Handling, code: str, line: bytes) -> list[Step]:
        """Act on the complete reply to a command. 354 and 334 are valid only after DATA and AUTH."""
        can_take_text = handling is Handling.DATA and not self._unanswered
        if self._rules.replies_per_recipient and not self._recipients:
            can_take_text = False  # the number of replies to the text would be unknown
        if code == "354" and can_take_text:
            self._phase = Phase.TEXT
            self._text = MessageText()
        elif code == "334" and handling is Handling.AUTH:
            self._phase = Phase.EXCHANGE
        elif code[0] == "3":
            return self._garbled()
        elif handling is Handling.QUIT:
            self._is_over = True
            return [ToClient(line), Action.CLOSE]
        else:
            self._count_recipients(handling, is_positive=code[0] == "2")
        return [ToClient(line)]

    def _count_recipients(self, handling: Handling, *, is_positive: bool) -> None:
        match handling:
            case Handling.RCPT if is_positive:
                self._recipients += 1
            case Handling.NEW_MAIL if is_positive:
                self._recipients, self._has_lost_chunk = 0, False
            case Handling.BDAT if not is_positive:
                self._has_lost_chunk = True
            case Handling.DELIVERY:
                self._recipients -= 1
                if self._recipients:
                    self._unanswered.appendleft(handling)

    def _take_hello_line(self, line: bytes, *, is_last: bool) -> list[Step]:
        self._hello.append(line[4:].strip())
        if len(self._hello) > EHLO_LINES:
            return self._garbled()
        if not is_last:
            return []
        self._unanswered.popleft()
        self._count_recipients(Handling.NEW_MAIL, is_positive=True)
        greeting, *offers = self._hello
        self._hello = []
        offers = [offer for offer in offers if self._is_offered(offer)]
        keywords = {offer.split(b" ")[0].upper() for offer in offers}
        self._can_pipeline, self._can_chunk = b"PIPELINING" in keywords, b"CHUNKING" in keywords
        if not self._is_secure:
            offers.append(b"STARTTLS")
        lines = [greeting, *offers]
        answer = b"".join(b"250-%b\r\n" % each for each in lines[:-1]) + b"250 %b\r\n" % lines[-1]
        return [ToClient(answer)]

    def _is_offered(self, offer: bytes) -> bool:
        """Hides extensions private to servers (X…) and those that the edge would refuse. `AUTH=` is an old spelling."""
        keyword = re.split(rb"[ =]", offer, maxsplit=1)[0].decode("ascii", "replace").upper()
        if keyword.startswith("X") or keyword in self._rules.hidden:
            return False
        return self._is_secure or keyword not in self._rules.hidden_in_clear

    def _garbled(self) -> list[Step]:
        return self._end(Ended(UPSTREAM_GARBLED))

    def _end(self, step: Ended) -> list[Step]:
        self._is_over = True
        return [step]
