"""IMAP, POP3 and ManageSieve between TLS and the login: the rules that they share, and the rules of each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.dialogue import LINE_LIMIT, Action, Ended, Step
from edge_addon.mail.imap import ImapLogin
from edge_addon.mail.login import LOGIN_GARBLED, REFUSED_AFTER_TLS, Login
from edge_addon.mail.opening import UPSTREAM_GARBLED
from edge_addon.mail.pop3 import Pop3Login
from edge_addon.mail.sieve import SieveLogin
from tests.edge_addon.mail.steps import causes, endings, fed, split, summary, to_client, to_upstream

IMAP, POP3, SIEVE = ImapLogin, Pop3Login, SieveLogin
LoginClass = type[ImapLogin | Pop3Login | SieveLogin]

Exchange = list[tuple[bytes, bytes]]
"""What the client sends and what the upstream answers."""


def ready(protocol: LoginClass) -> Login:
    watch = protocol()
    watch.upstream_ready(b"")
    return watch


def play(watch: Login, exchange: Exchange) -> list[Step]:
    steps: list[Step] = []
    for said, answer in exchange:
        steps += watch.from_client(said)
        steps += watch.from_upstream(answer)
    return steps


SUCCESSES: list[tuple[LoginClass, Exchange]] = [
    (IMAP, [(b"a LOGIN user secret\r\n", b"a OK [CAPABILITY IMAP4rev1] in\r\n")]),
    (IMAP, [(b"a login user secret\r\n", b"* a word\r\na ok\r\n")]),
    (IMAP, [(b"a LOGIN {4}\r\n", b"+ \r\n"), (b"user {6}\r\n", b"+ \r\n"), (b"secret\r\n", b"a OK in\r\n")]),
    (IMAP, [(b'a LOGIN "user" {6}\r\n', b"+ \r\n"), (b"secret\r\n", b"a OK in\r\n")]),
    (IMAP, [(b'a LOGIN DOMAIN\\user "se{6+}\\"\\\\"\r\n', b"a OK in\r\n")]),
    (IMAP, [(b"a AUTHENTICATE PLAIN AHVzZXIAc2VjcmV0\r\n", b"a OK in\r\n")]),
    (IMAP, [(b"a AUTHENTICATE EXTERNAL =\r\n", b"a OK in\r\n")]),
    (IMAP, [(b"a AUTHENTICATE PLAIN\r\n", b"+ \r\n"), (b"AHVzZXIAc2VjcmV0\r\n", b"a OK in\r\n")]),
    (IMAP, [(b"a LOGIN u x\r\n", b"a NO wrong\r\n"), (b"b LOGIN u y\r\n", b"b OK in\r\n")]),
    (POP3, [(b"USER user\r\n", b"+OK\r\n"), (b"PASS secret\r\n", b"+OK in\r\n")]),
    (POP3, [(b"APOP user c4c9334bac560ecc979e58001b3e22fb\r\n", b"+OK in\r\n")]),
    (POP3, [(b"AUTH\r\n", b"+OK\r\nPLAIN\r\n.\r\n"), (b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n", b"+OK in\r\n")]),
    (POP3, [(b"AUTH PLAIN\r\n", b"+ \r\n"), (b"AHVzZXIAc2VjcmV0\r\n", b"+OK in\r\n")]),
    (SIEVE, [(b'AUTHENTICATE "PLAIN" "AHVzZXIAc2VjcmV0"\r\n', b'OK "in"\r\n')]),
    (SIEVE, [(b'AUTHENTICATE "PLAIN" {16+}\r\nAHVzZXIAc2VjcmV0\r\n', b"ok\r\n")]),
    (SIEVE, [(b'AUTHENTICATE "LOGIN"\r\n', b'"VXNlcg=="\r\n'), (b'"dQ=="\r\n', b"{4}\r\nUGFz\r\n"),
             (b'"cA=="\r\n', b"OK\r\n")]),
    (SIEVE, [(b'AUTHENTICATE "LOGIN"\r\n', b'""\r\n'), (b"{4+}\r\ndQ==\r\n", b"OK\r\n")]),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "exchange"), SUCCESSES)
def test_once_logged_in_bytes_pass_untouched(protocol: LoginClass, exchange: Exchange) -> None:
    steps = play(ready(protocol), exchange)
    assert endings(steps) == [Action.TUNNEL]
    assert to_upstream(steps) == b"".join(said for said, _ in exchange)
    assert to_client(steps) == b"".join(answer for _, answer in exchange)


@pytest.mark.parametrize(("protocol", "exchange"), SUCCESSES)
@given(cuts=st.lists(st.integers(0, 1000), max_size=4))
def test_every_split_of_a_login_passes_the_same_bytes(
    protocol: LoginClass, exchange: Exchange, cuts: list[int]
) -> None:
    watch = ready(protocol)
    steps: list[Step] = []
    for said, answer in exchange:
        steps += fed(watch.from_client, split(said, cuts))
        steps += fed(watch.from_upstream, split(answer, cuts))
    assert summary(steps) == summary(play(ready(protocol), exchange))


@pytest.mark.parametrize(("protocol", "exchange"), SUCCESSES)
def test_bytes_that_were_held_at_the_login_go_out_after_it(protocol: LoginClass, exchange: Exchange) -> None:
    watch = ready(protocol)
    play(watch, exchange[:-1])
    said, answer = exchange[-1]
    steps = watch.from_client(said + b"held\r\nback")
    assert to_upstream(steps) == said, "not before the answer"
    steps = watch.from_upstream(answer + b"early\r\nmail")
    assert endings(steps) == [Action.TUNNEL]
    assert to_upstream(steps) == b"held\r\nback"
    assert to_client(steps) == answer + b"early\r\nmail"


@pytest.mark.parametrize(
    ("protocol", "exchange"),
    [
        (IMAP, [(b"a LOGIN user wrong\r\n", b"a NO wrong\r\n")]),
        (IMAP, [(b"a NOOP\r\n", b"a OK done\r\n")]),
        (IMAP, [(b"a LOGIN u p\r\n", b"b OK not its tag\r\n")]),
        (IMAP, [(b"a LOGIN u p\r\n", b"a OKAY no status\r\n")]),
        (IMAP, [(b"a AUTHENTICATE PLAIN\r\n", b"+ \r\n"), (b"*\r\n", b"a BAD cancelled\r\n")]),
        (POP3, [(b"USER user\r\n", b"+OK\r\n"), (b"PASS wrong\r\n", b"-ERR no\r\n")]),
        (POP3, [(b"CAPA\r\n", b"+OK\r\nUSER\r\n+OK\r\n.\r\n")]),
        (SIEVE, [(b'AUTHENTICATE "PLAIN" "eA=="\r\n', b'NO "wrong"\r\n')]),
        (SIEVE, [(b"CAPABILITY\r\n", b'"SASL" "PLAIN"\r\nOK\r\n')]),
        (SIEVE, [(b'AUTHENTICATE "X"\r\n', b'"OK"\r\n')]),
    ],
)
def test_anything_but_a_login_leaves_the_dialogue_in_force(protocol: LoginClass, exchange: Exchange) -> None:
    assert endings(play(ready(protocol), exchange)) == []


@pytest.mark.parametrize(
    ("protocol", "said", "answer"),
    [
        (IMAP, b"a STARTTLS\r\n", b"a BAD"),
        (IMAP, b"a starttls\r\n", b"a BAD"),
        (IMAP, b"a COMPRESS DEFLATE\r\n", b"a BAD"),
        (IMAP, b'a ID ("x-originating-ip" "192.0.2.9")\r\n', b"* ID NIL\r\na OK"),
        (IMAP, b"a ID ({16}\r\n", b"* ID NIL\r\na OK"),
        (IMAP, b"a ID ({16+}\r\nX-ORIGINATING-IP NIL)\r\n", b"* ID NIL\r\na OK"),
        (IMAP, b'a ID ("name" {4+}\r\nMail)\r\n', b"* ID NIL\r\na OK"),
        (IMAP, b"STARTTLS\r\n", b"* BAD"),
        (POP3, b"STLS\r\n", b"-ERR"),
        (POP3, b"CAPA x\r\n", b"-ERR"),
        (POP3, b"XCLIENT ADDR=192.0.2.9\r\n", b"-ERR"),
        (SIEVE, b"STARTTLS\r\n", b"NO"),
        (SIEVE, b"XCLIENT ADDR=192.0.2.9\r\n", b"NO"),
    ],
)
def test_some_commands_are_answered_by_the_edge(protocol: LoginClass, said: bytes, answer: bytes) -> None:
    watch = ready(protocol)
    steps = watch.from_client(said)
    assert to_client(steps).startswith(answer)
    assert to_upstream(steps) == b""
    assert causes(steps) == [REFUSED_AFTER_TLS]
    assert to_upstream(watch.from_client(b"z NOOP\r\n" if protocol is IMAP else b"NOOP\r\n"))


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        (IMAP, b"a NOOP x{HERE}\r\n"),
        (IMAP, b'a NOOP "x{HERE}\r\n'),
        (IMAP, b"a NOOP {HERE}\r\n"),
        (IMAP, b"a XFOO ({HERE}\r\n"),
        (IMAP, b"a LOGIN x{HERE}\r\n"),
        (IMAP, b"a LOGIN u p {HERE}\r\n"),
        (IMAP, b"a LOGIN u ~{HERE}\r\n"),
        (IMAP, b"a LOGIN u {HERE}\n"),
        (IMAP, b"a LOGIN u {1+}\r\np {HERE}\r\n"),
        (IMAP, b"a LOGIN u {1+}\r\n\0 {HERE}\r\n"),
        (IMAP, b"a AUTHENTICATE PLAIN {HERE}\r\n"),
        (IMAP, b"a AUTHENTICATE {HERE}\r\n"),
        (SIEVE, b"NOOP x{HERE}\r\n"),
        (SIEVE, b"NOOP {HERE}\r\n"),
        (SIEVE, b'NOOP "x{HERE}\r\n'),
        (SIEVE, b'AUTHENTICATE "PLAIN"{HERE}\r\n'),
        (SIEVE, b'AUTHENTICATE "PLAIN" {HERE}\r\n'),
        (SIEVE, b'AUTHENTICATE "PLAIN" "eA==" {HERE}\r\n'),
    ],
)
@pytest.mark.parametrize("form", [b"%d", b"%d+"])
def test_what_a_server_might_not_take_for_a_literal_hides_nothing(
    protocol: LoginClass, said: bytes, form: bytes
) -> None:
    hidden = b'b ID ("x-originating-ip" "192.0.2.9")\r\n' if protocol is IMAP else b"XCLIENT ADDR=192.0.2.9\r\n"
    watch = ready(protocol)
    steps = watch.from_client(said.replace(b"HERE", form % len(hidden)) + hidden + b"\r\n")
    assert to_upstream(steps) == b""
    assert REFUSED_AFTER_TLS in causes(steps)


@pytest.mark.parametrize(
    "line",
    [b"a NOOP\rb STARTTLS\r\n", b"a NOOP \rb STARTTLS\r\n", b"a NOOP \0\r\n", b'a NOOP "x\r\n', b"a NOOP {5+} \r\n",
     b"a NOOP {5-}\r\n", b'a ID ("x\\-y" "z")\r\n'],
)  # fmt: skip
def test_a_line_of_imap_that_two_servers_could_read_differently_does_not_pass(line: bytes) -> None:
    steps = ready(IMAP).from_client(line)
    assert to_upstream(steps) == b""
    assert b" BAD " in to_client(steps)


@pytest.mark.parametrize("verb", [b"STARTTLS", b"NOOP", b"noop", b"LOGOUT"])
def test_a_literal_of_managesieve_is_no_command_either(verb: bytes) -> None:
    said = b'AUTHENTICATE "X" {%d+}\r\n%s\r\n' % (len(verb), verb)
    assert to_upstream(ready(SIEVE).from_client(said)) == b""
    assert to_upstream(ready(SIEVE).from_client(said.replace(b"\r\n" + verb, b"\r\n" + b"x" * len(verb))))


def test_a_login_goes_piece_by_piece_to_a_server_that_may_not_know_literals_at_once() -> None:
    watch = ready(IMAP)
    steps = watch.from_client(b"a LOGIN {4+}\r\nuser {6+}\r\nsecret\r\nb NOOP\r\n")
    assert to_upstream(steps) == b"a LOGIN {4}\r\n"
    assert to_upstream(watch.from_upstream(b"+ \r\n")) == b"user {6}\r\n"
    steps = watch.from_upstream(b"* OK wait\r\n+ \r\n")
    assert to_upstream(steps) == b"secret\r\n"
    assert to_client(steps) == b"* OK wait\r\n", "the client waits for no invitation"
    steps = watch.from_upstream(b"a OK in\r\n")
    assert endings(steps) == [Action.TUNNEL]
    assert to_upstream(steps) == b"b NOOP\r\n"


def test_the_rest_of_a_login_that_is_refused_at_its_literal_is_dropped() -> None:
    watch = ready(IMAP)
    watch.from_client(b"a LOGIN {4+}\r\nuser {6+}\r\nsecret\r\nb NOOP\r\n")
    assert watch.held > 0
    steps = watch.from_upstream(b"a BAD no literals\r\n")
    assert to_upstream(steps) == b"b NOOP\r\n"
    assert to_client(steps) == b"a BAD no literals\r\n"


@pytest.mark.parametrize(
    ("protocol", "opened"),
    [
        (IMAP, [(b"a AUTHENTICATE PLAIN\r\n", b"+ \r\n")]),
        (POP3, [(b"AUTH PLAIN\r\n", b"+ \r\n")]),
        (SIEVE, [(b'AUTHENTICATE "PLAIN"\r\n', b'""\r\n')]),
        (IMAP, [(b"a LOGIN {1}\r\n", b"+ \r\n")]),
    ],
)
@pytest.mark.parametrize("said", [b"u b NOOP\r\n", b"{12+}\r\nb STARTTLS\r\n\r\n", b"ux{12+}\r\nb STARTTLS\r\n\r\n"])
def test_what_is_no_next_piece_of_a_login_ends_the_session(protocol: LoginClass, opened: Exchange, said: bytes) -> None:
    watch = ready(protocol)
    play(watch, opened)
    steps = watch.from_client(said)
    assert to_upstream(steps) == b""
    assert causes(steps) == [LOGIN_GARBLED]
    assert watch.from_client(b"b STARTTLS\r\n") == []


@pytest.mark.parametrize("answer", [b"* BAD too slow\r\n", b"a NO too slow\r\n"])
def test_after_a_server_gave_up_a_login_the_next_line_is_a_command(answer: bytes) -> None:
    for opened in (b"a AUTHENTICATE PLAIN\r\n", b"a LOGIN {40}\r\n"):
        watch = ready(IMAP)
        play(watch, [(opened, b"+ \r\n")])
        watch.from_client(b"b STARTT")
        watch.from_upstream(answer)
        steps = watch.from_client(b"LS\r\n")
        assert causes(steps) == [REFUSED_AFTER_TLS]
        assert to_upstream(watch.from_client(b"b NOOP\r\n")) == b"b NOOP\r\n"


def test_only_a_login_is_continued() -> None:
    watch = ready(IMAP)
    play(watch, [(b"a NOOP\r\n", b"+ go on\r\n")])
    assert to_upstream(watch.from_client(b"b STARTTLS\r\n")) == b""


def test_an_honest_id_passes() -> None:
    assert to_upstream(ready(IMAP).from_client(b'a ID ("name" "Mail")\r\n')) == b'a ID ("name" "Mail")\r\n'


@pytest.mark.parametrize(
    ("protocol", "said", "answer", "seen"),
    [
        (
            IMAP, b"a CAPABILITY\r\n",
            b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN LOGINDISABLED\r\na OK\r\n",
            b"* CAPABILITY IMAP4rev1 AUTH=PLAIN LOGINDISABLED\r\na OK\r\n",
        ),
        (IMAP, b"a NOOP\r\n", b"a OK [capability IMAP4rev1 starttls] x\r\n", b"a OK [capability IMAP4rev1] x\r\n"),
        (IMAP, b"a NOOP\r\n", b"* CAPABILITY STARTTLS\r\na OK\r\n", b"* CAPABILITY\r\na OK\r\n"),
        (IMAP, b"a NOOP\r\n", b"* CAPABILITY XSTARTTLS\r\na OK\r\n", b"* CAPABILITY XSTARTTLS\r\na OK\r\n"),
        (
            IMAP, b"a ID NIL\r\n",
            b"* ID ({22}\r\n[CAPABILITY STARTTLS x] y)\r\na OK\r\n",
            b"* ID ({22}\r\n[CAPABILITY STARTTLS x] y)\r\na OK\r\n",
        ),
        (POP3, b"CAPA\r\n", b"+OK\r\nUSER\r\nSTLS\r\nUIDL\r\n.\r\n", b"+OK\r\nUSER\r\nUIDL\r\n.\r\n"),
        (POP3, b"CAPA\r\n", b"-ERR STLS\r\n", b"-ERR STLS\r\n"),
        (
            SIEVE, b"CAPABILITY\r\n",
            b'"SASL" "PLAIN"\r\n"STARTTLS"\r\n"SIEVE" "x"\r\nOK\r\n',
            b'"SASL" "PLAIN"\r\n"SIEVE" "x"\r\nOK\r\n',
        ),
        (SIEVE, b"CAPABILITY\r\n", b'{8}\r\nSTARTTLS\r\nOK\r\n', b"OK\r\n"),
    ],
)  # fmt: skip
def test_starttls_is_not_offered_over_tls(protocol: LoginClass, said: bytes, answer: bytes, seen: bytes) -> None:
    watch = ready(protocol)
    watch.from_client(said)
    for cut in range(len(answer)):
        watch = ready(protocol)
        watch.from_client(said)
        steps = fed(watch.from_upstream, [answer[:cut], answer[cut:]])
        assert to_client(steps) == seen
    assert to_upstream(watch.from_client(said)) == said, "the next command may go"


@pytest.mark.parametrize(
    ("protocol", "greeting", "seen"),
    [
        (IMAP, b"* OK [CAPABILITY IMAP4rev1 STARTTLS ID] hi\r\n", b"* OK [CAPABILITY IMAP4rev1 ID] hi\r\n"),
        (POP3, b"+OK <1.2@mail>\r\n", b"+OK <1.2@mail>\r\n"),
        (SIEVE, b'"SIEVE" "x"\r\n"STARTTLS"\r\nOK\r\n', b'"SIEVE" "x"\r\nOK\r\n'),
    ],
)
def test_the_greeting_does_not_offer_starttls_either(protocol: LoginClass, greeting: bytes, seen: bytes) -> None:
    assert to_client(protocol().upstream_ready(greeting)) == seen


@pytest.mark.parametrize("protocol", [IMAP, POP3, SIEVE])
def test_what_the_client_says_before_the_upstream_is_open_waits(protocol: LoginClass) -> None:
    watch = protocol()
    said = b"a NOOP\r\n" if protocol is IMAP else b"NOOP\r\n"
    assert watch.from_client(said) == []
    assert watch.held == len(said)
    assert to_upstream(watch.upstream_ready(b"")) == said


@pytest.mark.parametrize("protocol", [IMAP, POP3, SIEVE])
def test_endless_lines_end_the_session(protocol: LoginClass) -> None:
    assert causes(ready(protocol).from_client(b"x" * LINE_LIMIT)) == ["mail_line_too_long"]
    assert ready(protocol).from_upstream(b"x" * LINE_LIMIT)[-1] == Ended(UPSTREAM_GARBLED)


def test_a_refused_literal_is_not_waited_for() -> None:
    watch = ready(IMAP)
    play(watch, [(b"a LOGIN {9000}\r\n", b"a BAD too long\r\n")])
    assert to_upstream(watch.from_client(b"b NOOP\r\n")) == b"b NOOP\r\n"


@given(
    st.sampled_from([IMAP, POP3, SIEVE]),
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from(
                [b"a ", b"STARTTLS", b"LOGIN u p", b"{3}\r\n", b"+ \r\n", b"a OK\r\n", b"+OK\r\n", b"OK\r\n"]
            )
            | st.sampled_from([b"\r\n", b"\n", b"STLS", b"AUTH X", b'AUTHENTICATE "X"', b"PASS p", b".\r\n"])
            | st.binary(max_size=6),
        ),
        max_size=30,
    ),
)
def test_no_peer_makes_the_dialogue_raise_or_invent_a_byte(
    protocol: LoginClass, said: list[tuple[bool, bytes]]
) -> None:
    watch = ready(protocol)
    steps: list[Step] = []
    for is_client, data in said:
        if Action.TUNNEL in steps:
            break
        steps += watch.from_client(data) if is_client else watch.from_upstream(data)
    stream = b"".join(data for is_client, data in said if is_client)
    remaining = iter(stream)
    assert all(byte in remaining for byte in to_upstream(steps)), "the upstream hears only what was said, in order"
