import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.dialogue import Action, Ended, Ready, Step, ToUpstream
from edge_addon.mail.opening import (
    ANSWER_LIMIT,
    UPSTREAM_EARLY,
    UPSTREAM_GARBLED,
    UPSTREAM_PIPELINED,
    UPSTREAM_REFUSED,
    UPSTREAM_WITHOUT_STARTTLS,
    Opening,
)
from edge_addon.mail.protocols import IMAP, POP3, SIEVE, SUBMISSION, MailProtocol
from tests.edge_addon.mail.steps import causes, endings, fed, split, summary, to_client, to_upstream

ALL = (IMAP, POP3, SUBMISSION, SIEVE)
GREETINGS = {
    IMAP: b"* OK [CAPABILITY IMAP4rev1 STARTTLS] Dovecot ready\r\n",
    POP3: b"+OK ready <1.2@mail>\r\n",
    SUBMISSION: b"220-mail ESMTP\r\n220 hello\r\n",
    SIEVE: b'"SIEVE" "fileinto"\r\n"STARTTLS"\r\n"OK" ""\r\nOK "ready"\r\n',
}
GO_AHEADS = {
    IMAP: [(b"edge STARTTLS\r\n", b"* OK a word in between\r\nedge OK go\r\n")],
    POP3: [(b"STLS\r\n", b"+OK go\r\n")],
    SUBMISSION: [(b"EHLO edge.test\r\n", b"250-mail\r\n250 STARTTLS\r\n"), (b"STARTTLS\r\n", b"220 go\r\n")],
    SIEVE: [(b"STARTTLS\r\n", b"OK\r\n")],
}


def opening(protocol: MailProtocol, *, needs_starttls: bool = False, client_awaits_greeting: bool = True) -> Opening:
    return Opening(
        protocol.opening, "edge.test", needs_starttls=needs_starttls, client_awaits_greeting=client_awaits_greeting
    )


@pytest.mark.parametrize("protocol", ALL)
def test_the_greeting_is_for_the_client(protocol: MailProtocol) -> None:
    greeting = GREETINGS[protocol]
    for cut in range(len(greeting)):
        conversation = opening(protocol)
        assert conversation.from_upstream(greeting[:cut]) == []
        assert conversation.from_upstream(greeting[cut:] + b"rest") == [Ready(greeting, b"rest")]


@pytest.mark.parametrize("protocol", ALL)
def test_a_client_gets_no_greeting_after_its_own_starttls(protocol: MailProtocol) -> None:
    steps = opening(protocol, client_awaits_greeting=False).from_upstream(GREETINGS[protocol])
    assert steps == [Ready(b"", b"")]


@pytest.mark.parametrize("protocol", ALL)
def test_starttls_with_the_upstream_waits_for_each_answer(protocol: MailProtocol) -> None:
    conversation = opening(protocol, needs_starttls=True)
    answer = GREETINGS[protocol]
    for command, next_answer in GO_AHEADS[protocol]:
        assert summary(conversation.from_upstream(answer)) == (b"", command, [], [])
        answer = next_answer
    assert conversation.from_upstream(answer) == [Action.START_UPSTREAM_TLS]


def go_ahead(protocol: MailProtocol, *, behind: bytes = b"") -> tuple[Opening, list[object]]:
    conversation = opening(protocol, needs_starttls=True)
    answers = [GREETINGS[protocol], *(answer for _, answer in GO_AHEADS[protocol])]
    for answer in answers[:-1]:
        conversation.from_upstream(answer)
    return conversation, list(conversation.from_upstream(answers[-1] + behind))


@pytest.mark.parametrize("protocol", [IMAP, POP3, SUBMISSION])
def test_over_tls_the_greeting_is_the_edges_own(protocol: MailProtocol) -> None:
    conversation, _ = go_ahead(protocol)
    (ready,) = conversation.tls_established()
    assert isinstance(ready, Ready)
    assert b"edge.test" in ready.greeting
    assert b"STARTTLS" not in ready.greeting


def test_over_tls_managesieve_greets_again() -> None:
    conversation, _ = go_ahead(SIEVE)
    assert conversation.tls_established() == []
    again = b'"SASL" "PLAIN"\r\nOK "over TLS"\r\n'
    assert conversation.from_upstream(again) == [Ready(again, b"")]


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("behind", [b"x", b"edge OK again\r\n", b"* CAPABILITY IMAP4rev1\r\n", b"250 ok\r\n"])
def test_bytes_in_the_flight_of_the_go_ahead_end_the_session(protocol: MailProtocol, behind: bytes) -> None:
    conversation, steps = go_ahead(protocol, behind=behind)
    assert steps == [Ended(UPSTREAM_PIPELINED)]
    assert conversation.from_upstream(b"more\r\n") == []


@pytest.mark.parametrize(
    ("protocol", "behind", "steps"),
    [
        # Only IMAP lets a server speak at any time, in lines that answer nothing.
        (IMAP, b"* CAPABILITY IMAP4rev1\r\n", [ToUpstream(b"edge STARTTLS\r\n")]),
        (IMAP, b"* OK a wo", [ToUpstream(b"edge STARTTLS\r\n")]),
        (IMAP, b"edge OK go\r\n", [Ended(UPSTREAM_EARLY)]),
        (IMAP, b"* OK still here\r\nedge OK go\r\n", [Ended(UPSTREAM_EARLY)]),
        (IMAP, b"* BYE shutting down\r\n", [Ended(UPSTREAM_WITHOUT_STARTTLS)]),
        (POP3, b"+OK go\r\n", [Ended(UPSTREAM_EARLY)]),
        (POP3, b"+O", [Ended(UPSTREAM_EARLY)]),
        (POP3, b"-ERR too busy\r\n", [Ended(UPSTREAM_WITHOUT_STARTTLS)]),
        (SUBMISSION, b"250-mail\r\n250 STARTTLS\r\n", [Ended(UPSTREAM_EARLY)]),
        (SUBMISSION, b"250-mail\r\n", [Ended(UPSTREAM_EARLY)]),
        (SUBMISSION, b"250 ok\r\n220 go\r\n", [Ended(UPSTREAM_EARLY)]),
        (SUBMISSION, b"421 too busy\r\n", [Ended(UPSTREAM_WITHOUT_STARTTLS)]),
        (SIEVE, b'OK "go"\r\n', [Ended(UPSTREAM_EARLY)]),
        (SIEVE, b'"SASL" ""\r\n', [Ended(UPSTREAM_EARLY)]),
        (SIEVE, b'BYE "too busy"\r\n', [Ended(UPSTREAM_WITHOUT_STARTTLS)]),
    ],
)
def test_an_upstream_that_answers_before_the_command_is_not_waited_for(
    protocol: MailProtocol, behind: bytes, steps: list[Step]
) -> None:
    """It sends its next reply in one piece with its greeting; nothing would come any more."""
    conversation = opening(protocol, needs_starttls=True)
    assert conversation.from_upstream(GREETINGS[protocol] + behind) == steps
    if steps[0] == ToUpstream(b"edge STARTTLS\r\n"):
        assert conversation.from_upstream(b"rd\r\nedge OK go\r\n") == [Action.START_UPSTREAM_TLS]
    else:
        assert conversation.from_upstream(b"more\r\n") == []


def test_an_upstream_that_answers_ehlo_and_starttls_in_one_piece_is_not_waited_for() -> None:
    conversation = opening(SUBMISSION, needs_starttls=True)
    conversation.from_upstream(GREETINGS[SUBMISSION])
    assert conversation.from_upstream(b"250 STARTTLS\r\n220 go\r\n") == [Ended(UPSTREAM_EARLY)]


@pytest.mark.parametrize(
    ("protocol", "refusal"),
    [
        (IMAP, b"edge BAD no\r\n"),
        (IMAP, b"* BYE\r\n"),
        (POP3, b"-ERR no\r\n"),
        (SUBMISSION, b"502 no\r\n"),
        (SIEVE, b"NO\r\n"),
    ],
)
def test_an_upstream_that_refuses_starttls_is_not_used_in_the_clear(protocol: MailProtocol, refusal: bytes) -> None:
    conversation = opening(protocol, needs_starttls=True)
    conversation.from_upstream(GREETINGS[protocol])
    assert conversation.from_upstream(refusal) == [Ended(UPSTREAM_WITHOUT_STARTTLS)]


@pytest.mark.parametrize(
    ("protocol", "greeting"),
    [
        (IMAP, b"* BYE too busy\r\n"),
        (IMAP, b"* PREAUTH welcome\r\n"),
        (POP3, b"-ERR too busy\r\n"),
        (SUBMISSION, b"421 too busy\r\n"),
        (SUBMISSION, b"554-go\r\n554 away\r\n"),
        (SIEVE, b'BYE "too busy"\r\n'),
    ],
)
def test_a_bad_greeting_is_passed_on_if_it_can_be_trusted(protocol: MailProtocol, greeting: bytes) -> None:
    steps = opening(protocol).from_upstream(greeting)
    assert to_client(steps) == greeting
    assert causes(steps) == [UPSTREAM_REFUSED]
    assert endings(steps) == [Action.CLOSE]
    assert opening(protocol, needs_starttls=True).from_upstream(greeting) == [Ended(UPSTREAM_REFUSED)]


def test_a_greeting_without_end_is_not_held() -> None:
    assert opening(IMAP).from_upstream(b"* OK " + b"x" * 100_000) == [Ended(UPSTREAM_GARBLED)]
    endless = b"220-and so on\r\n" * (ANSWER_LIMIT // 10)
    assert opening(SUBMISSION).from_upstream(endless) == [Ended(UPSTREAM_GARBLED)]


@given(
    st.sampled_from(ALL),
    st.booleans(),
    st.lists(
        st.sampled_from([b"* OK x\r\n", b"+OK\r\n", b"220 a\r\n", b"220-a\r\n", b"OK\r\n", b"{3}\r\n", b'"a" "b"\r\n'])
        | st.binary(max_size=6),
        max_size=12,
    ).map(b"".join),
    st.lists(st.integers(0, 1000), max_size=5),
)
def test_no_upstream_makes_it_raise_and_no_split_makes_it_more_trusting(
    protocol: MailProtocol, needs_starttls: bool, said: bytes, cuts: list[int]
) -> None:
    steps = fed(opening(protocol, needs_starttls=needs_starttls).from_upstream, split(said, cuts))
    if needs_starttls:
        assert to_client(steps) == b""
        assert not any(isinstance(step, Ready) for step in steps)
    else:
        assert to_upstream(steps) == b""
    if not needs_starttls:
        whole = opening(protocol).from_upstream(said)
        greetings = [step.greeting for step in whole if isinstance(step, Ready)]
        assert [step.greeting for step in steps if isinstance(step, Ready)] == greetings
