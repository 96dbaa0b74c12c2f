import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.dialogue import REFUSALS_LIMIT, Action, Ended, Step
from edge_addon.mail.opening import UPSTREAM_GARBLED
from edge_addon.mail.protocols import LMTP_RULES, SMTP_RULES
from edge_addon.mail.smtp import COMMAND_LIMIT, EHLO_LINES, SmtpRelay, TransferRules
from edge_addon.mail.starttls import AUTH_BEFORE_TLS, PIPELINED_AFTER_STARTTLS
from tests.edge_addon.mail.steps import causes, endings, fed, split, to_client, to_upstream

EHLO, LHLO = b"EHLO client.test\r\n", b"LHLO client.test\r\n"
HELLO = {SMTP_RULES: EHLO, LMTP_RULES: LHLO}
both = pytest.mark.parametrize("rules", [pytest.param(SMTP_RULES, id="smtp"), pytest.param(LMTP_RULES, id="lmtp")])
"""Tests with this mark hold for LMTP as well. What differs is in `test_lmtp`."""
OFFERS = (
    b"250-mail.test hello\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n"
    b"250-AUTH=PLAIN LOGIN\r\n250-XCLIENT ADDR\r\n250-xforward ADDR\r\n250-X-EXPS GSSAPI\r\n250-CHUNKING\r\n"
    b"250-REQUIRETLS\r\n250-ATRN\r\n250 8BITMIME\r\n"
)
BARE_OFFERS = b"250 mail.test\r\n"
TEXT = b"Subject: x\r\n\r\nhello\r\n..\r\n.\r\n"


def relay(rules: TransferRules = SMTP_RULES, *, is_secure: bool, offers: bytes = OFFERS) -> SmtpRelay:
    """A relay after EHLO or LHLO and its reply."""
    conversation = SmtpRelay(rules, is_secure=is_secure)
    conversation.upstream_ready(b"220 mail.test ESMTP\r\n")
    conversation.from_client(HELLO[rules])
    conversation.from_upstream(offers)
    return conversation


def in_data(rules: TransferRules = SMTP_RULES, *, is_secure: bool = True) -> SmtpRelay:
    """A relay that waits for the text of a mail to one recipient."""
    conversation = relay(rules, is_secure=is_secure)
    conversation.from_client(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
    conversation.from_upstream(b"250 ok\r\n250 ok\r\n354 go\r\n")
    return conversation


def test_the_upstreams_greeting_is_the_clients() -> None:
    steps = SmtpRelay(SMTP_RULES, is_secure=False).upstream_ready(b"220-a\r\n220 b\r\n")
    assert to_client(steps) == b"220-a\r\n220 b\r\n"


def hello(*, is_secure: bool, offers: bytes) -> bytes:
    conversation = SmtpRelay(SMTP_RULES, is_secure=is_secure)
    conversation.upstream_ready(b"")
    assert to_upstream(conversation.from_client(EHLO)) == EHLO
    return to_client(conversation.from_upstream(offers))


def test_in_the_clear_starttls_is_offered_and_auth_is_not() -> None:
    seen = b"250-mail.test hello\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 STARTTLS\r\n"
    assert hello(is_secure=False, offers=OFFERS) == seen
    assert hello(is_secure=False, offers=BARE_OFFERS) == b"250-mail.test\r\n250 STARTTLS\r\n"
    assert hello(is_secure=False, offers=b"250-mail.test\r\n250 AUTH\r\n") == b"250-mail.test\r\n250 STARTTLS\r\n"


def test_over_tls_auth_is_offered_and_starttls_is_not() -> None:
    seen = (
        b"250-mail.test hello\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-AUTH PLAIN LOGIN\r\n250-AUTH=PLAIN LOGIN\r\n"
        b"250-CHUNKING\r\n250-REQUIRETLS\r\n250 8BITMIME\r\n"
    )
    assert hello(is_secure=True, offers=OFFERS) == seen
    assert hello(is_secure=True, offers=b"250-mail.test\r\n250 STARTTLS\r\n") == b"250 mail.test\r\n"


def test_helo_gets_no_list() -> None:
    conversation = SmtpRelay(SMTP_RULES, is_secure=False)
    conversation.upstream_ready(b"")
    conversation.from_client(b"HELO client.test\r\n")
    assert to_client(conversation.from_upstream(BARE_OFFERS)) == BARE_OFFERS
    assert endings(conversation.from_client(b"STARTTLS\r\n")) == [Action.START_TLS]


@both
def test_a_mail_goes_through(rules: TransferRules) -> None:
    conversation = relay(rules, is_secure=False)
    group = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
    assert to_upstream(conversation.from_client(group)) == group
    assert to_client(conversation.from_upstream(b"250 ok\r\n250 ok\r\n354 go\r\n")) == b"250 ok\r\n250 ok\r\n354 go\r\n"
    assert to_upstream(conversation.from_client(TEXT)) == TEXT
    assert to_client(conversation.from_upstream(b"250 queued\r\n")) == b"250 queued\r\n"
    assert to_upstream(conversation.from_client(b"QUIT\r\n")) == b"QUIT\r\n"
    steps = conversation.from_upstream(b"221 bye\r\n")
    assert (to_client(steps), endings(steps)) == (b"221 bye\r\n", [Action.CLOSE])


@both
def test_commands_in_the_text_of_a_mail_are_text(rules: TransferRules) -> None:
    text = b"STARTTLS\r\nXCLIENT ADDR=192.0.2.1\r\nAUTH PLAIN x\r\n.\r\n"
    steps = in_data(rules, is_secure=False).from_client(text)
    assert to_upstream(steps) == text
    assert not causes(steps)


@both
@given(cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_every_split_of_a_mail_is_relayed_the_same(rules: TransferRules, cuts: list[int]) -> None:
    conversation = in_data(rules)
    steps = fed(conversation.from_client, split(TEXT + b"MAIL FROM:<a@b.test>\r\nXCLIENT x\r\n", cuts))
    assert to_upstream(steps) == TEXT + b"MAIL FROM:<a@b.test>\r\n"
    assert to_client(steps) == b"", "the refusal waits for the answers before it"
    assert (
        to_client(conversation.from_upstream(b"250 a\r\n250 b\r\n")) == b"250 a\r\n250 b\r\n550 5.7.0 Not allowed\r\n"
    )


@both
def test_text_sent_before_the_go_ahead_is_commands_if_data_is_refused(rules: TransferRules) -> None:
    conversation = relay(rules, is_secure=False)
    assert to_upstream(conversation.from_client(b"DATA\r\nRSET\r\n.\r\n")) == b"DATA\r\n"
    steps = conversation.from_upstream(b"503 no\r\n")
    assert to_upstream(steps) == b"RSET\r\n"
    assert to_client(conversation.from_upstream(b"250 ok\r\n")) == b"250 ok\r\n500 5.5.1 Unknown command\r\n"


@both
@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n"])
def test_a_mail_smuggled_after_a_false_end_never_arrives(rules: TransferRules, end: bytes) -> None:
    conversation = in_data(rules, is_secure=False)
    smuggled = b"MAIL FROM:<admin@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nforged\r\n.\r\n"
    steps = conversation.from_client(b"hello" + end + smuggled)
    assert to_upstream(steps) == b""
    assert causes(steps) == ["mail_bare_newline"]
    (ended,) = endings(steps)
    assert isinstance(ended, Ended)
    assert ended.answer.startswith(b"521 ")
    assert conversation.from_client(b"QUIT\r\n") == []


@both
@pytest.mark.parametrize("line", [b"MAIL FROM:<a@b.test>\n", b"NO\rOP\r\n", b"RCPT TO:<a\n@b.test>\r\n"])
def test_a_command_with_a_bare_line_end_ends_the_session(rules: TransferRules, line: bytes) -> None:
    steps = relay(rules, is_secure=False).from_client(line)
    assert to_upstream(steps) == b""
    assert causes(steps) == ["mail_bare_newline"]


@both
def test_an_endless_command_ends_the_session(rules: TransferRules) -> None:
    assert causes(relay(rules, is_secure=False).from_client(b"x" * COMMAND_LIMIT)) == ["mail_line_too_long"]


@both
def test_chunks_are_counted_and_their_octets_are_never_commands(rules: TransferRules) -> None:
    conversation = relay(rules, is_secure=False)
    conversation.from_client(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n")
    conversation.from_upstream(b"250 ok\r\n250 ok\r\n")
    chunk = b"STARTTLS\r\nQUIT\n"
    said = b"BDAT %d\r\n%bBDAT 3\r\nabcRSET\r\n" % (len(chunk), chunk)
    assert to_upstream(fed(conversation.from_client, [said[:9], said[9:20], said[20:]])) == said
    assert to_client(conversation.from_upstream(b"250 a\r\n250 b\r\n250 c\r\n")) == b"250 a\r\n250 b\r\n250 c\r\n"


def test_a_last_chunk_is_a_whole_command_even_when_it_is_empty() -> None:
    conversation = relay(is_secure=False)
    said = b"BDAT 3\r\nabcBDAT 3 last\r\nabcBDAT 0 LAST\r\nRSET\r\n"
    assert to_upstream(conversation.from_client(said)) == said


@both
@pytest.mark.parametrize(
    ("offers", "command"),
    [
        pytest.param(BARE_OFFERS, b"BDAT 6 LAST\r\n", id="not offered"),
        pytest.param(OFFERS, b"BDAT\r\n", id="no size"),
        pytest.param(OFFERS, b"BDAT -1 LAST\r\n", id="negative"),
        pytest.param(OFFERS, b"BDAT 0x6 LAST\r\n", id="hexadecimal"),
        pytest.param(OFFERS, b"BDAT 6 FIRST\r\n", id="a word that is not LAST"),
        pytest.param(OFFERS, b"BDAT %b LAST\r\n" % (b"9" * 30), id="a size beyond all bounds"),
    ],
)
def test_a_chunk_that_the_upstream_might_take_for_commands_ends_the_session(
    rules: TransferRules, offers: bytes, command: bytes
) -> None:
    steps = relay(rules, is_secure=False, offers=offers).from_client(command + b"RSET\r\n")
    assert to_upstream(steps) == b""
    assert causes(steps) == ["mail_chunk_refused"]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n", b"530 5.7.0"),
        (b"auth LOGIN\r\n", b"530 5.7.0"),
        (b"XCLIENT ADDR=192.0.2.1\r\n", b"550 5.7.0"),
        (b"XFORWARD ADDR=192.0.2.1\r\n", b"550 5.7.0"),
        (b"XEXCH50 100 2\r\n", b"500 5.5.1"),
        (b"TURN\r\n", b"500 5.5.1"),
        (b"ATRN a.test\r\n", b"500 5.5.1"),
        (b"GET / HTTP/1.1\r\n", b"500 5.5.1"),
        (b"\r\n", b"500 5.5.1"),
        (b"STARTTLS now\r\n", b"501 5.5.4"),
    ],
)
def test_in_the_clear_these_never_reach_the_upstream(command: bytes, answer: bytes) -> None:
    conversation = relay(is_secure=False)
    steps = conversation.from_client(command)
    assert to_client(steps).startswith(answer)
    assert to_upstream(steps) == b""
    assert to_upstream(conversation.from_client(b"NOOP\r\n")) == b"NOOP\r\n", "the session goes on"


def test_auth_in_the_clear_is_counted() -> None:
    assert causes(relay(is_secure=False).from_client(b"AUTH PLAIN x\r\n")) == [AUTH_BEFORE_TLS]


def test_over_tls_auth_passes_step_by_step() -> None:
    conversation = relay(is_secure=True)
    assert to_upstream(conversation.from_client(b"AUTH LOGIN\r\ndXNlcg==\r\n")) == b"AUTH LOGIN\r\n"
    steps = conversation.from_upstream(b"334 VXNlcg==\r\n")
    assert (to_client(steps), to_upstream(steps)) == (b"334 VXNlcg==\r\n", b"dXNlcg==\r\n")
    conversation.from_upstream(b"334 UGFz\r\n")
    assert to_upstream(conversation.from_client(b"STARTTLS\r\n")) == b"STARTTLS\r\n", "a step of AUTH is no command"
    assert to_client(conversation.from_upstream(b"535 no\r\n")) == b"535 no\r\n"
    assert to_client(conversation.from_client(b"STARTTLS\r\n")) == b"503 5.5.1 TLS is already active\r\n"


@both
def test_starttls_waits_for_the_answers_before_it_and_drops_what_follows(rules: TransferRules) -> None:
    conversation = relay(rules, is_secure=False)
    steps = conversation.from_client(b"MAIL FROM:<a@b.test>\r\nSTARTTLS\r\nRCPT TO:<evil@b.test>\r\nDATA\r\n")
    assert to_upstream(steps) == b"MAIL FROM:<a@b.test>\r\n"
    assert not endings(steps)
    steps = conversation.from_upstream(b"250 ok\r\n")
    assert to_client(steps) == b"250 ok\r\n220 2.0.0 Begin TLS\r\n"
    assert to_upstream(steps) == b""
    assert causes(steps) == [PIPELINED_AFTER_STARTTLS]
    assert endings(steps) == [Action.START_TLS]
    assert conversation.held == 0
    assert conversation.from_client(b"RSET\r\n") == []
    assert conversation.from_upstream(b"250 late\r\n") == []


@both
def test_without_pipelining_commands_go_one_by_one(rules: TransferRules) -> None:
    conversation = relay(rules, is_secure=False, offers=BARE_OFFERS)
    assert to_upstream(conversation.from_client(b"RSET\r\nRSET\r\n")) == b"RSET\r\n"
    assert to_upstream(conversation.from_upstream(b"250 ok\r\n")) == b"RSET\r\n"


@both
def test_commands_wait_until_the_upstream_is_open(rules: TransferRules) -> None:
    conversation = SmtpRelay(rules, is_secure=True)
    assert conversation.from_client(HELLO[rules]) == []
    assert conversation.held == len(HELLO[rules])
    assert to_upstream(conversation.upstream_ready(b"")) == HELLO[rules]


@both
def test_421_may_come_at_any_moment(rules: TransferRules) -> None:
    steps = relay(rules, is_secure=False).from_upstream(b"421-going\r\n421 down\r\n")
    assert to_client(steps) == b"421-going\r\n421 down\r\n"
    assert endings(steps) == [Action.CLOSE]


@both
@pytest.mark.parametrize(
    ("said", "answer"),
    [
        pytest.param(b"", b"250 nobody asked\r\n", id="an answer to nothing"),
        pytest.param(b"NOOP\r\n", b"354 go\r\n", id="354 to no DATA"),
        pytest.param(b"NOOP\r\n", b"334 go\r\n", id="334 to no AUTH"),
        pytest.param(b"DATA\r\n", b"334 go\r\n", id="334 to DATA"),
        pytest.param(b"NOOP\r\n", b"hello\r\n", id="no code"),
        pytest.param(b"NOOP\r\n", b"2500 hello\r\n", id="a code of four digits"),
        pytest.param(b"NOOP\r\n", b"250 a\rb\r\n", id="a bare carriage return"),
        pytest.param(b"NOOP\r\n", b"250 " + b"x" * 5000, id="an endless line"),
        pytest.param(None, b"250-x\r\n" * (EHLO_LINES + 1), id="an endless list"),
        pytest.param(None, b"250-x\r\n550 y\r\n", id="two codes in one answer"),
    ],
)
def test_an_upstream_out_of_step_ends_the_session(rules: TransferRules, said: bytes | None, answer: bytes) -> None:
    conversation = relay(rules, is_secure=True)
    conversation.from_client(HELLO[rules] if said is None else said)
    assert endings(conversation.from_upstream(answer)) == [Ended(UPSTREAM_GARBLED)]


@both
def test_too_many_refused_commands_end_the_session(rules: TransferRules) -> None:
    steps = relay(rules, is_secure=False).from_client(b"?\r\n" * (REFUSALS_LIMIT + 1))
    assert causes(steps)[-1] == "mail_too_many_refusals"


class StrictServer:
    """An upstream that follows RFC 5321, or RFC 2033, independently of the edge, and answers every command."""

    def __init__(self, rules: TransferRules) -> None:
        self._is_lmtp = rules.replies_per_recipient
        self._recipients = 0
        self.commands: list[bytes] = []
        self.mails = 0
        self._buffer = b""
        self._in_text = False

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        answers = b""
        while True:
            if self._in_text:
                end = (b"\r\n" + self._buffer).find(b"\r\n.\r\n")
                if end < 0:
                    return answers
                self._buffer = self._buffer[end + 3 :]
                self._in_text = False
                self.mails += 1
                answers += b"250 queued\r\n" * (self._recipients if self._is_lmtp else 1)
                self._recipients = 0
                continue
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                return answers
            self._buffer = rest
            verb = line.split(b" ")[0].upper()
            self.commands.append(verb)
            if verb in {b"MAIL", b"RSET", b"LHLO"}:
                self._recipients = 0
            self._recipients += verb == b"RCPT"
            if self._is_lmtp and verb == b"DATA" and not self._recipients:
                answers += b"503 nobody to deliver to\r\n"
                continue
            self._in_text = verb == b"DATA"
            hello = b"250-s\r\n250 PIPELINING\r\n"
            answers += {b"DATA": b"354 go\r\n", b"EHLO": hello, b"LHLO": hello}.get(verb, b"250 ok\r\n")


@both
@given(
    said=st.lists(
        st.sampled_from(
            [
                EHLO,
                LHLO,
                b"MAIL FROM:<a@b.test>\r\n",
                b"RCPT TO:<c@d.test>\r\n",
                b"DATA\r\n",
                b".\r\n",
                b"text\r\n",
                b"AUTH PLAIN x\r\n",
                b"XCLIENT x\r\n",
            ]
        )
        | st.sampled_from([b"STARTTLS\r\n", b"BDAT 3 LAST\r\n", b"abc", b"\n.\n", b"\r\n", b"RSET\r\n", b"\r.\r\n"])
        | st.binary(max_size=4),
        max_size=30,
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
)
def test_no_client_in_the_clear_gets_auth_or_a_forged_command_to_the_server(
    rules: TransferRules, said: bytes, cuts: list[int]
) -> None:
    conversation, server = SmtpRelay(rules, is_secure=False), StrictServer(rules)
    steps: list[Step] = conversation.upstream_ready(b"")
    for piece in split(said, cuts):
        latest = conversation.from_client(piece)
        while latest:
            steps += latest
            latest = conversation.from_upstream(server.feed(to_upstream(latest)))
    assert not {b"AUTH", b"XCLIENT", b"STARTTLS", b"BDAT"} & set(server.commands)
    assert b"\n" not in to_upstream(steps).replace(b"\r\n", b"")
    assert len(endings(steps)) <= 1
