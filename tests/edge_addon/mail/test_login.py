"""IMAP, POP3 and ManageSieve between TLS and the login: the rules that they share. Those of each: `test_imap` …"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.dialogue import LINE_LIMIT, REFUSALS_LIMIT, TOO_MANY_REFUSALS, Action, Ended, Step
from edge_addon.mail.imap import ImapLogin
from edge_addon.mail.login import LOGIN_GARBLED, REFUSED_AFTER_TLS
from edge_addon.mail.opening import UPSTREAM_GARBLED
from edge_addon.mail.pop3 import Pop3Login
from edge_addon.mail.sieve import SieveLogin
from tests.edge_addon.mail.logins import Exchange, LoginClass, play, ready
from tests.edge_addon.mail.steps import causes, endings, fed, split, summary, to_client, to_upstream

IMAP, POP3, SIEVE = ImapLogin, Pop3Login, SieveLogin

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


@pytest.mark.parametrize("protocol", [IMAP, POP3, SIEVE])
def test_what_the_client_says_before_the_upstream_is_open_waits(protocol: LoginClass) -> None:
    watch = protocol()
    said = b"a NOOP\r\n" if protocol is IMAP else b"NOOP\r\n"
    assert watch.from_client(said) == []
    assert watch.held == len(said)
    assert to_upstream(watch.upstream_ready(b"")) == said


@pytest.mark.parametrize(
    ("protocol", "said"),
    [(IMAP, b"a STARTTLS\r\n"), (POP3, b"STLS\r\n"), (SIEVE, b"STARTTLS\r\n")]
    + [(protocol, b"?\r\n") for protocol in (IMAP, POP3, SIEVE)],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_refused_commands_without_end_end_the_session(protocol: LoginClass, said: bytes, at_once: bool) -> None:
    watch = ready(protocol)
    assert causes(watch.from_client(said)) == [REFUSED_AFTER_TLS]
    rest = said * (REFUSALS_LIMIT + 5)
    steps = fed(watch.from_client, [rest] if at_once else [said] * (REFUSALS_LIMIT + 5))
    assert causes(steps) == [REFUSED_AFTER_TLS] * (REFUSALS_LIMIT - 1) + [TOO_MANY_REFUSALS]
    assert to_upstream(steps) == b""
    assert watch.from_client(said) == []
    assert watch.from_upstream(b"* OK late\r\n") == []


@pytest.mark.parametrize("protocol", [IMAP, POP3, SIEVE])
def test_endless_lines_end_the_session(protocol: LoginClass) -> None:
    assert causes(ready(protocol).from_client(b"x" * LINE_LIMIT)) == ["mail_line_too_long"]
    assert ready(protocol).from_upstream(b"x" * LINE_LIMIT)[-1] == Ended(UPSTREAM_GARBLED)


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
