"""The rules that are special to LMTP (RFC 2033). Those that it shares with SMTP are tested in `test_smtp`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.dialogue import Action, Ended, Step
from edge_addon.mail.opening import UPSTREAM_GARBLED
from edge_addon.mail.protocols import LMTP_RULES
from edge_addon.mail.smtp import SmtpRelay
from tests.edge_addon.mail.steps import causes, endings, fed, split, to_client, to_upstream

LHLO = b"LHLO client.test\r\n"
OFFERS = b"250-mail.test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n"
MAIL = b"MAIL FROM:<a@b.test>\r\n"
TEXT = b"Subject: x\r\n\r\nhello\r\n.\r\n"


def rcpt(number: int) -> bytes:
    return b"RCPT TO:<%d@d.test>\r\n" % number


def relay(*, is_secure: bool = False, offers: bytes = OFFERS) -> SmtpRelay:
    """A relay after LHLO and its reply."""
    conversation = SmtpRelay(LMTP_RULES, is_secure=is_secure)
    conversation.upstream_ready(b"220 mail.test LMTP\r\n")
    conversation.from_client(LHLO)
    conversation.from_upstream(offers)
    return conversation


def with_recipients(*answers: bytes) -> SmtpRelay:
    """A relay after MAIL and RCPT, with one answer from the upstream per RCPT."""
    conversation = relay()
    conversation.from_client(MAIL + b"".join(rcpt(number) for number in range(len(answers))))
    conversation.from_upstream(b"250 ok\r\n" + b"".join(answers))
    return conversation


def in_data(*answers: bytes) -> SmtpRelay:
    conversation = with_recipients(*answers)
    conversation.from_client(b"DATA\r\n")
    conversation.from_upstream(b"354 go\r\n")
    return conversation


ACCEPTED, ELSEWHERE, LATER, UNKNOWN = b"250 ok\r\n", b"251 will forward\r\n", b"450 later\r\n", b"550 unknown\r\n"


@pytest.mark.parametrize("command", [b"HELO client.test\r\n", b"EHLO client.test\r\n", b"ehlo client.test\r\n"])
@pytest.mark.parametrize("is_secure", [False, True], ids=["in the clear", "over TLS"])
def test_the_greetings_of_smtp_are_refused(command: bytes, is_secure: bool) -> None:
    conversation = SmtpRelay(LMTP_RULES, is_secure=is_secure)
    conversation.upstream_ready(b"220 mail.test LMTP\r\n")
    steps = conversation.from_client(command)
    assert to_client(steps) == b"500 5.5.1 Unknown command\r\n"
    assert to_upstream(steps) == b""
    assert to_upstream(conversation.from_client(LHLO)) == LHLO, "the session goes on"


def hello(*, is_secure: bool) -> bytes:
    conversation = SmtpRelay(LMTP_RULES, is_secure=is_secure)
    conversation.upstream_ready(b"")
    assert to_upstream(conversation.from_client(LHLO)) == LHLO
    offers = (
        b"250-mail.test\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250-AUTH=PLAIN\r\n250-XCLIENT ADDR\r\n"
        b"250-CHUNKING\r\n250-BURL imap\r\n250-ETRN\r\n250-REQUIRETLS\r\n250 8BITMIME\r\n"
    )
    return to_client(conversation.from_upstream(offers))


def test_lhlo_shows_what_can_pass() -> None:
    in_clear = b"250-mail.test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 STARTTLS\r\n"
    assert hello(is_secure=False) == in_clear
    over_tls = b"250-mail.test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-REQUIRETLS\r\n250 8BITMIME\r\n"
    assert hello(is_secure=True) == over_tls


@pytest.mark.parametrize("is_secure", [False, True], ids=["in the clear", "over TLS"])
@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n", b"500 5.5.1"),
        (b"BURL imap://u@mail.test/ LAST\r\n", b"500 5.5.1"),
        (b"ETRN a.test\r\n", b"500 5.5.1"),
        (b"XCLIENT ADDR=192.0.2.1\r\n", b"550 5.7.0"),
        (b"XFORWARD ADDR=192.0.2.1\r\n", b"550 5.7.0"),
        (b"GET / HTTP/1.1\r\n", b"500 5.5.1"),
        (b"\r\n", b"500 5.5.1"),
    ],
)
def test_these_never_reach_the_upstream(is_secure: bool, command: bytes, answer: bytes) -> None:
    conversation = relay(is_secure=is_secure)
    steps = conversation.from_client(command)
    assert to_client(steps).startswith(answer)
    assert to_upstream(steps) == b""
    assert causes(steps) == ["mail_command_refused"]
    assert to_upstream(conversation.from_client(b"NOOP\r\n")) == b"NOOP\r\n", "the session goes on"


@pytest.mark.parametrize(
    ("recipients", "replies"),
    [
        pytest.param([ACCEPTED], 1, id="one"),
        pytest.param([ACCEPTED, ACCEPTED, ACCEPTED], 3, id="three"),
        pytest.param([ACCEPTED, LATER, UNKNOWN, ELSEWHERE], 2, id="mixed"),
        pytest.param([UNKNOWN, b"250-a\r\n250 b\r\n"], 1, id="an answer of two lines"),
        pytest.param([b"550-a\r\n550 b\r\n", ACCEPTED], 1, id="a refusal of two lines"),
    ],
)
@pytest.mark.parametrize("chunks", [False, True], ids=["DATA", "BDAT"])
def test_each_accepted_recipient_gets_a_reply(recipients: list[bytes], replies: int, chunks: bool) -> None:
    outcomes = [b"250 saved\r\n", b"450 full\r\n", b"550-no\r\n550 no\r\n"][:replies]
    if chunks:
        conversation = with_recipients(*recipients)
        said = b"BDAT 3\r\nabcBDAT 3 LAST\r\nabc"
        assert to_upstream(conversation.from_client(said)) == b"BDAT 3\r\nabc", (
            "the last chunk waits for the reply to the first"
        )
        assert to_upstream(conversation.from_upstream(b"250 3 octets\r\n")) == b"BDAT 3 LAST\r\nabc"
    else:
        conversation = in_data(*recipients)
        assert to_upstream(conversation.from_client(TEXT)) == TEXT
    # The edge refuses the next command only after the last of these replies.
    assert to_upstream(conversation.from_client(b"AUTH PLAIN x\r\n")) == b""
    for outcome in outcomes[:-1]:
        assert to_client(conversation.from_upstream(outcome)) == outcome
    assert to_client(conversation.from_upstream(outcomes[-1])) == outcomes[-1] + b"500 5.5.1 Unknown command\r\n"


def test_a_last_chunk_that_waits_is_held() -> None:
    """Otherwise the session would pass the end of the client on before it."""
    conversation = with_recipients(ACCEPTED)
    conversation.from_client(b"BDAT 3\r\nabcBDAT 0 LAST\r\n")
    assert conversation.held == len(b"BDAT 0 LAST\r\n")
    assert to_upstream(conversation.from_upstream(b"250 ok\r\n")) == b"BDAT 0 LAST\r\n"
    assert conversation.held == 0


def test_a_reply_too_many_ends_the_session() -> None:
    conversation = in_data(ACCEPTED, UNKNOWN)
    conversation.from_client(TEXT)
    steps = conversation.from_upstream(b"250 saved\r\n250 saved\r\n")
    assert to_client(steps) == b"250 saved\r\n"
    assert endings(steps) == [Ended(UPSTREAM_GARBLED)]


def test_a_whole_mail_goes_in_one_group() -> None:
    conversation = relay()
    group = MAIL + rcpt(1) + rcpt(2) + b"DATA\r\n"
    assert to_upstream(conversation.from_client(group)) == group
    conversation.from_upstream(b"250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
    next_group = MAIL + rcpt(3) + b"DATA\r\n"
    assert to_upstream(conversation.from_client(TEXT + next_group)) == TEXT + next_group
    answers = b"250 saved\r\n250 ok\r\n250 ok\r\n354 go\r\n"
    assert to_client(conversation.from_upstream(answers)) == answers
    assert to_upstream(conversation.from_client(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        pytest.param(b"RSET\r\n", b"250 ok\r\n", id="RSET"),
        pytest.param(LHLO, OFFERS, id="LHLO"),
        pytest.param(MAIL, b"250 ok\r\n", id="MAIL"),
    ],
)
def test_recipients_of_an_earlier_mail_do_not_count(command: bytes, answer: bytes) -> None:
    conversation = with_recipients(ACCEPTED, ACCEPTED)
    conversation.from_client(command)
    conversation.from_upstream(answer)
    conversation.from_client(rcpt(9) + b"DATA\r\n")
    assert not endings(conversation.from_upstream(ACCEPTED + b"354 go\r\n"))
    conversation.from_client(TEXT)
    assert to_client(conversation.from_upstream(b"250 saved\r\n")) == b"250 saved\r\n"
    assert endings(conversation.from_upstream(b"250 saved\r\n")) == [Ended(UPSTREAM_GARBLED)]


def test_a_mail_that_the_upstream_refuses_to_begin_changes_nothing() -> None:
    conversation = with_recipients(ACCEPTED, ACCEPTED)
    conversation.from_client(MAIL + b"DATA\r\n")
    assert not endings(conversation.from_upstream(b"503 nested\r\n354 go\r\n"))
    assert to_upstream(conversation.from_client(TEXT)) == TEXT
    assert not endings(conversation.from_upstream(b"250 saved\r\n250 saved\r\n"))


def test_starttls_begins_a_session_that_knows_no_recipients() -> None:
    """After it the session makes a new dialogue and a new connection to the upstream."""
    conversation = with_recipients(ACCEPTED)
    steps = conversation.from_client(b"STARTTLS\r\n" + rcpt(2) + b"DATA\r\n")
    assert to_client(steps) == b"220 2.0.0 Begin TLS\r\n"
    assert to_upstream(steps) == b""
    assert endings(steps) == [Action.START_TLS]
    assert conversation.held == 0


def test_data_for_nobody_is_refused_by_the_upstream() -> None:
    """RFC 2033 §4.2 requires 503."""
    conversation = with_recipients(UNKNOWN)
    assert to_upstream(conversation.from_client(b"DATA\r\n")) == b"DATA\r\n"
    assert to_client(conversation.from_upstream(b"503 nobody\r\n")) == b"503 nobody\r\n"
    assert to_upstream(conversation.from_client(b"RSET\r\n")) == b"RSET\r\n"


def test_an_upstream_that_takes_text_for_nobody_ends_the_session() -> None:
    conversation = with_recipients(UNKNOWN, LATER)
    conversation.from_client(b"DATA\r\n")
    assert endings(conversation.from_upstream(b"354 go\r\n")) == [Ended(UPSTREAM_GARBLED)]


@pytest.mark.parametrize("size", [0, 3])
def test_a_last_chunk_for_nobody_gets_no_reply_and_goes_nowhere(size: int) -> None:
    """As RFC 2033 §4.3 says. Dovecot would send one 503: the edge need not know which of the two the upstream does."""
    conversation = with_recipients(UNKNOWN)
    steps = conversation.from_client(b"BDAT %d LAST\r\n" % size + b"abc"[:size] + b"NOOP\r\n")
    assert to_client(steps) == b""
    assert to_upstream(steps) == b"NOOP\r\n", "the chunk's octets are no commands"
    assert causes(steps) == ["mail_chunk_refused"]


@pytest.mark.parametrize("between", [b"BDAT 0 LAST\r\n", b"BDAT 0 LAST\r\n" + rcpt(2), b""])
def test_the_text_of_a_mail_that_lost_a_chunk_is_refused_until_a_new_mail(between: bytes) -> None:
    conversation, server = with_recipients(ACCEPTED), LmtpServer()
    server.feed(LHLO + MAIL + rcpt(1))

    def answer(said: bytes) -> bytes:
        steps = conversation.from_client(said)
        return to_client([*steps, *conversation.from_upstream(server.feed(to_upstream(steps)))])

    answer(b"BDAT 3\r\n!!!")
    answer(between)
    assert answer(b"DATA\r\n") == b"503 5.5.1 An earlier chunk of this mail was refused\r\n"
    for said in (b"RSET\r\n", MAIL, rcpt(1)):
        assert answer(said) == b"250 ok\r\n"
    assert answer(b"DATA\r\n") == b"354 go\r\n"


@given(st.lists(st.integers(0, 100), max_size=4))
def test_a_last_chunk_after_a_refused_one_is_refused_for_each_recipient(cuts: list[int]) -> None:
    conversation = with_recipients(ACCEPTED, UNKNOWN, ACCEPTED)
    assert to_upstream(conversation.from_client(b"BDAT 3\r\nabc")) == b"BDAT 3\r\nabc"
    conversation.from_upstream(b"452 full\r\n")
    steps = fed(conversation.from_client, split(b"BDAT 12 LAST\r\nQUIT\r\nRSET\r\nNOOP\r\n", cuts))
    assert to_client(steps) == b"503 5.5.1 An earlier chunk of this mail was refused\r\n" * 2
    assert to_upstream(steps) == b"NOOP\r\n"
    conversation.from_upstream(b"250 ok\r\n")
    conversation.from_client(b"RSET\r\n")
    conversation.from_upstream(b"250 ok\r\n")
    conversation.from_client(MAIL + rcpt(1))
    conversation.from_upstream(b"250 ok\r\n250 ok\r\n")
    assert to_upstream(conversation.from_client(b"BDAT 3 LAST\r\nabc")) == b"BDAT 3 LAST\r\nabc"


class LmtpServer:
    """A server that follows RFC 2033 to the letter. It refuses the recipient `no@` and the chunk `!!!`."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.mails: list[bytes] = []
        self._buffer = b""
        self._text: bytes | None = None
        self._recipients = 0
        self._is_broken = False

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        answers = b""
        while (answer := self._answer()) is not None:
            answers += answer
        return answers

    def _answer(self) -> bytes | None:
        if self._text is not None:
            end = (b"\r\n" + self._buffer).find(b"\r\n.\r\n")
            if end < 0:
                return None
            text, self._buffer = self._buffer[:end], self._buffer[end + 3 :]
            self._text = None
            return self._deliver(text)
        line, found, rest = self._buffer.partition(b"\r\n")
        verb, *words = line.upper().split(b" ")
        size = int(words[0]) if verb == b"BDAT" else 0
        if not found or len(rest) < size:
            return None
        chunk, self._buffer = rest[:size], rest[size:]
        self.commands.append(verb)
        match verb:
            case b"LHLO":
                self._forget()
                return b"250-s\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
            case b"MAIL" | b"RSET":
                self._forget()
            case b"RCPT" if b"NO@" in line.upper():
                return b"550 unknown\r\n"
            case b"RCPT":
                self._recipients += 1
            case b"DATA":
                self._text = b"" if self._recipients else None
                return b"354 go\r\n" if self._recipients else b"503 nobody\r\n"
            case b"BDAT" if words[-1] == b"LAST":
                return self._deliver(chunk)
            case b"BDAT":
                self._is_broken |= chunk == b"!!!"
                return b"452 full\r\n" if self._is_broken or not self._recipients else b"250 ok\r\n"
        return b"250 ok\r\n"

    def _forget(self) -> None:
        self._recipients, self._is_broken = 0, False

    def _deliver(self, text: bytes) -> bytes:
        replies = (b"503 broken\r\n" if self._is_broken else b"250 saved\r\n") * self._recipients
        self.mails.append(text)
        self._forget()
        return replies


WORDS = [
    LHLO, MAIL, rcpt(1), rcpt(2), b"RCPT TO:<no@d.test>\r\n", b"DATA\r\n", b"text\r\n", b".\r\n", b"RSET\r\n",
    b"BDAT 3\r\nabc", b"BDAT 3\r\n!!!", b"BDAT 8 LAST\r\nforged\r\n", b"BDAT 0 LAST\r\n", b"NOOP\r\n", b"XCLIENT x\r\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(b"".join), st.lists(st.integers(0, 10_000), max_size=6))
def test_a_server_that_follows_the_rfc_is_never_out_of_step(said: bytes, cuts: list[int]) -> None:
    conversation, server = relay(), LmtpServer()
    server.feed(LHLO)
    steps: list[Step] = []
    heard = b""
    for piece in split(said, cuts):
        latest = conversation.from_client(piece)
        while latest:
            steps += latest
            answer = server.feed(to_upstream(latest))
            heard += answer
            latest = conversation.from_upstream(answer)
    assert UPSTREAM_GARBLED not in causes(steps)
    assert b"XCLIENT" not in server.commands
    if not causes(steps):
        assert to_client(steps).count(b"\r\n") <= heard.count(b"\r\n") + said.count(LHLO), (
            "the edge adds one line, STARTTLS"
        )
        assert to_client(steps).count(b" saved") == heard.count(b" saved")
