import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.dialogue import REFUSALS_LIMIT, Action
from edge_addon.mail.protocols import IMAP, POP3, SIEVE, SUBMISSION, MailProtocol
from edge_addon.mail.starttls import AUTH_BEFORE_TLS, LINE_LIMIT, PIPELINED_AFTER_STARTTLS, BeforeTls
from tests.edge_addon.mail.steps import causes, endings, fed, split, summary, to_client, to_upstream

ALL = (IMAP, POP3, SUBMISSION, SIEVE)
STARTTLS = {IMAP: b"a STARTTLS\r\n", POP3: b"STLS\r\n", SUBMISSION: b"STARTTLS\r\n", SIEVE: b"STARTTLS\r\n"}


def dialogue(protocol: MailProtocol) -> BeforeTls:
    assert protocol.before_tls is not None
    return BeforeTls(protocol.before_tls, "mail.example.com")


@pytest.mark.parametrize(
    ("protocol", "said", "answer"),
    [
        (IMAP, b"a CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK"),
        (IMAP, b"a capability\r\n", b"* CAPABILITY"),
        (IMAP, b"a NOOP\r\n", b"a OK"),
        (IMAP, b"a NOOP x\r\n", b"a BAD"),
        (IMAP, b"a SELECT INBOX\r\n", b"a BAD"),
        (
            IMAP,
            b"t" * 70 + b" CAPABILITY\r\n",
            b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n" + b"t" * 70 + b" OK",
        ),
        (IMAP, b"t" * 4000 + b" NOOP\r\n", b"t" * 4000 + b" OK"),
        (IMAP, b"a  NOOP\r\n", b"a BAD"),
        (IMAP, b"a X_Y\r\n", b"a BAD"),
        (IMAP, b"\r\n", b"* BAD"),
        (IMAP, b"{a} NOOP\r\n", b"* BAD"),
        (POP3, b"CAPA\r\n", b"+OK Available before TLS\r\nSTLS\r\n"),
        (POP3, b"STAT\r\n", b"-ERR"),
        (POP3, b"STLS now\r\n", b"-ERR"),
        (POP3, b"NOOP\r\n", b"-ERR"),
        (SUBMISSION, b"EHLO client.test\r\n", b"250-mail.example.com\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n"),
        (SUBMISSION, b"EHLO\r\n", b"501"),
        (SUBMISSION, b"HELO client.test\r\n", b"530"),
        (SUBMISSION, b"MAIL FROM:<a@b.test>\r\n", b"530"),
        (SUBMISSION, b"RSET\r\n", b"530"),
        (SUBMISSION, b"NOOP x\r\n", b"250"),
        (SUBMISSION, b"STARTTLS now\r\n", b"501"),
        (SUBMISSION, b"XCLIENT ADDR=192.0.2.1\r\n", b"530"),
        (SIEVE, b"CAPABILITY\r\n", b'"IMPLEMENTATION"'),
        (SIEVE, b"NOOP\r\n", b'OK "Done"\r\n'),
        (SIEVE, b'NOOP "x"\r\n', b'OK (TAG "x") "Done"\r\n'),
        (SIEVE, b'noop  "a \\"b\\\\ \xc3\xa9" \r\n', b'OK (TAG "a \\"b\\\\ \xc3\xa9") "Done"\r\n'),
        (SIEVE, b'NOOP {4+}\r\na"\\b\r\n', b'OK (TAG "a\\"\\\\b") "Done"\r\n'),
        (SIEVE, b'NOOP ""\r\n', b'OK (TAG "") "Done"\r\n'),
        (SIEVE, b'NOOP "{host}{argument}"\r\n', b'OK (TAG "{host}{argument}") "Done"\r\n'),
        (SIEVE, b'NOOP "x" "y"\r\n', b"NO"),
        (SIEVE, b"NOOP x\r\n", b"NO"),
        (SIEVE, b'NOOP "x\r\n', b"NO"),
        (SIEVE, b"NOOP {3+}\r\na\rb\r\n", b"NO"),
        (SIEVE, b'NOOP "' + b"x" * 1024 + b'"\r\n', b'OK (TAG "xxx'),
        (SIEVE, b'NOOP "' + b"x" * 1025 + b'"\r\n', b"NO"),
        (SIEVE, b"LISTSCRIPTS\r\n", b"NO"),
        (SIEVE, b'PUTSCRIPT "x" {12+}\r\nLOGOUT\r\nNOOP\r\n', b"NO"),
    ],
)
def test_before_tls_only_the_few_commands_of_the_rfc_are_answered(
    protocol: MailProtocol, said: bytes, answer: bytes
) -> None:
    steps = dialogue(protocol).from_client(said)
    assert to_client(steps).startswith(answer)
    assert endings(steps) in ([], [Action.CLOSE])


@pytest.mark.parametrize(
    ("protocol", "said", "answer"),
    [
        (IMAP, b"a LOGIN user secret\r\n", b"a NO [PRIVACYREQUIRED]"),
        (IMAP, b"a login user secret\r\n", b"a NO [PRIVACYREQUIRED]"),
        (IMAP, b"a LOGIN {4}\r\n", b"a NO [PRIVACYREQUIRED]"),
        (IMAP, b"a LOGIN {4+}\r\nuser {6+}\r\nsecret\r\n", b"a NO [PRIVACYREQUIRED]"),
        (IMAP, b"a AUTHENTICATE PLAIN AHVzZXIAc2VjcmV0\r\n", b"a NO [PRIVACYREQUIRED]"),
        (POP3, b"USER user\r\n", b"-ERR"),
        (POP3, b"PASS secret\r\n", b"-ERR"),
        (POP3, b"APOP user c4c9334bac560ecc979e58001b3e22fb\r\n", b"-ERR"),
        (POP3, b"AUTH PLAIN\r\n", b"-ERR"),
        (SUBMISSION, b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n", b"530 5.7.0"),
        (SIEVE, b'AUTHENTICATE "PLAIN" "AHVzZXIAc2VjcmV0"\r\n', b"NO (ENCRYPT-NEEDED)"),
        (SIEVE, b'AUTHENTICATE "PLAIN" {16+}\r\nAHVzZXIAc2VjcmV0\r\n', b"NO (ENCRYPT-NEEDED)"),
    ],
)
def test_no_authentication_before_tls(protocol: MailProtocol, said: bytes, answer: bytes) -> None:
    steps = dialogue(protocol).from_client(said)
    assert to_client(steps).startswith(answer)
    assert to_client(steps).count(b"\r\n") == 1, "one answer, and nothing of the password taken for a command"
    assert causes(steps) == [AUTH_BEFORE_TLS]


def test_after_a_refused_literal_the_client_goes_on_with_a_command() -> None:
    conversation = dialogue(IMAP)
    conversation.from_client(b"a LOGIN {4}\r\n")
    assert endings(conversation.from_client(b"b STARTTLS\r\n")) == [Action.START_TLS]


@pytest.mark.parametrize("protocol", ALL)
def test_starttls_ends_the_dialogue_with_the_go_ahead(protocol: MailProtocol) -> None:
    steps = dialogue(protocol).from_client(STARTTLS[protocol])
    assert to_client(steps)
    assert endings(steps) == [Action.START_TLS]
    assert not causes(steps)


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("behind", [b"b NOOP\r\n", b"QUIT\r\n", b"x", b"\x16\x03\x01"])
def test_bytes_after_starttls_are_discarded(protocol: MailProtocol, behind: bytes) -> None:
    conversation = dialogue(protocol)
    alone = dialogue(protocol).from_client(STARTTLS[protocol])
    steps = conversation.from_client(STARTTLS[protocol] + behind)
    assert to_client(steps) == to_client(alone)
    assert causes(steps) == [PIPELINED_AFTER_STARTTLS]
    assert conversation.held == 0
    assert not conversation.from_client(b"a LOGOUT\r\nQUIT\r\n"), "the dialogue is over"


@pytest.mark.parametrize("protocol", ALL)
def test_the_greeting_offers_starttls_and_no_way_to_log_in(protocol: MailProtocol) -> None:
    greeting = to_client(dialogue(protocol).greet())
    assert b"STLS" in greeting or b"STARTTLS" in greeting
    assert b"AUTH=" not in greeting
    assert b"<" not in greeting, "no time stamp for APOP"


@pytest.mark.parametrize(
    ("protocol", "said"),
    [(IMAP, b"a LOGOUT\r\n"), (POP3, b"QUIT\r\n"), (SUBMISSION, b"QUIT\r\n"), (SIEVE, b"LOGOUT\r\n")],
)
def test_a_client_that_leaves_is_let_go(protocol: MailProtocol, said: bytes) -> None:
    assert endings(dialogue(protocol).from_client(said)) == [Action.CLOSE]


@pytest.mark.parametrize("protocol", ALL)
def test_too_many_refusals_end_the_session(protocol: MailProtocol) -> None:
    steps = dialogue(protocol).from_client(b"?\r\n" * (REFUSALS_LIMIT + 5))
    assert causes(steps)[-1] == "mail_too_many_refusals"
    assert len(causes(steps)) == REFUSALS_LIMIT + 1


@pytest.mark.parametrize("protocol", ALL)
def test_an_endless_line_ends_the_session(protocol: MailProtocol) -> None:
    assert causes(dialogue(protocol).from_client(b"x" * LINE_LIMIT)) == ["mail_line_too_long"]


def test_bare_line_feeds_end_a_session_of_smtp_only() -> None:
    assert causes(dialogue(SUBMISSION).from_client(b"STARTTLS\n")) == ["mail_bare_newline"]
    assert endings(dialogue(POP3).from_client(b"STLS\n")) == [Action.START_TLS]


WORDS = [
    b"a ",
    b"STARTTLS",
    b"STLS",
    b"LOGIN",
    b"AUTH",
    b"USER x",
    b"EHLO h",
    b"{3}",
    b"{3+}",
    b"\r\n",
    b"\n",
    b" ",
    b"abc",
]


@given(
    st.sampled_from(ALL),
    st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=30).map(b"".join),
    st.lists(st.integers(0, 10_000), max_size=6),
)
def test_nothing_before_tls_reaches_an_upstream_and_no_split_changes_anything(
    protocol: MailProtocol, said: bytes, cuts: list[int]
) -> None:
    whole = dialogue(protocol).from_client(said)
    pieces = fed(dialogue(protocol).from_client, split(said, cuts))
    assert to_upstream(pieces) == b""
    # Bytes that arrive together with STARTTLS are dropped; only their counter depends on how the bytes were split.
    flight = {PIPELINED_AFTER_STARTTLS}
    assert summary([step for step in pieces if getattr(step, "cause", "") not in flight]) == summary(
        [step for step in whole if getattr(step, "cause", "") not in flight]
    )
