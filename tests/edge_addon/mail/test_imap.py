"""IMAP between TLS and the login: its own commands, answers and capability lists."""

import pytest

from edge_addon.mail.dialogue import Action
from edge_addon.mail.imap import ImapLogin
from edge_addon.mail.login import REFUSED_AFTER_TLS
from tests.edge_addon.mail.logins import (
    Exchange,
    assert_answered_by_the_edge,
    assert_literal_hides_nothing,
    assert_starttls_is_hidden,
    play,
    ready,
)
from tests.edge_addon.mail.steps import causes, endings, to_client, to_upstream


@pytest.mark.parametrize(
    "exchange",
    [
        [(b"a LOGIN user wrong\r\n", b"a NO wrong\r\n")],
        [(b"a NOOP\r\n", b"a OK done\r\n")],
        [(b"a LOGIN u p\r\n", b"b OK not its tag\r\n")],
        [(b"a LOGIN u p\r\n", b"a OKAY no status\r\n")],
        [(b"a AUTHENTICATE PLAIN\r\n", b"+ \r\n"), (b"*\r\n", b"a BAD cancelled\r\n")],
    ],
)
def test_anything_but_a_login_leaves_the_dialogue_in_force(exchange: Exchange) -> None:
    assert endings(play(ready(ImapLogin), exchange)) == []


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"a STARTTLS\r\n", b"a BAD"),
        (b"a starttls\r\n", b"a BAD"),
        (b"a COMPRESS DEFLATE\r\n", b"a BAD"),
        (b'a ID ("x-originating-ip" "192.0.2.9")\r\n', b"* ID NIL\r\na OK"),
        (b"a ID ({16}\r\n", b"* ID NIL\r\na OK"),
        (b"a ID ({16+}\r\nX-ORIGINATING-IP NIL)\r\n", b"* ID NIL\r\na OK"),
        (b'a ID ("name" {4+}\r\nMail)\r\n', b"* ID NIL\r\na OK"),
        (b"STARTTLS\r\n", b"* BAD"),
    ],
)
def test_some_commands_are_answered_by_the_edge(said: bytes, answer: bytes) -> None:
    assert_answered_by_the_edge(ready(ImapLogin), said, answer, harmless=b"z NOOP\r\n")


@pytest.mark.parametrize(
    "said",
    [
        b"a NOOP x{HERE}\r\n",
        b'a NOOP "x{HERE}\r\n',
        b"a NOOP {HERE}\r\n",
        b"a XFOO ({HERE}\r\n",
        b"a LOGIN x{HERE}\r\n",
        b"a LOGIN u p {HERE}\r\n",
        b"a LOGIN u ~{HERE}\r\n",
        b"a LOGIN u {HERE}\n",
        b"a LOGIN u {1+}\r\np {HERE}\r\n",
        b"a LOGIN u {1+}\r\n\0 {HERE}\r\n",
        b"a AUTHENTICATE PLAIN {HERE}\r\n",
        b"a AUTHENTICATE {HERE}\r\n",
    ],
)
@pytest.mark.parametrize("form", [b"%d", b"%d+"])
def test_what_a_server_might_not_take_for_a_literal_hides_nothing(said: bytes, form: bytes) -> None:
    assert_literal_hides_nothing(ready(ImapLogin), said, form, b'b ID ("x-originating-ip" "192.0.2.9")\r\n')


@pytest.mark.parametrize(
    ("said", "answer", "seen"),
    [
        (
            b"a CAPABILITY\r\n",
            b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN LOGINDISABLED\r\na OK\r\n",
            b"* CAPABILITY IMAP4rev1 AUTH=PLAIN LOGINDISABLED\r\na OK\r\n",
        ),
        (b"a NOOP\r\n", b"a OK [capability IMAP4rev1 starttls] x\r\n", b"a OK [capability IMAP4rev1] x\r\n"),
        (b"a NOOP\r\n", b"* CAPABILITY STARTTLS\r\na OK\r\n", b"* CAPABILITY\r\na OK\r\n"),
        (b"a NOOP\r\n", b"* CAPABILITY XSTARTTLS\r\na OK\r\n", b"* CAPABILITY XSTARTTLS\r\na OK\r\n"),
        (
            b"a ID NIL\r\n",
            b"* ID ({22}\r\n[CAPABILITY STARTTLS x] y)\r\na OK\r\n",
            b"* ID ({22}\r\n[CAPABILITY STARTTLS x] y)\r\na OK\r\n",
        ),
    ],
)
def test_starttls_is_not_offered_over_tls(said: bytes, answer: bytes, seen: bytes) -> None:
    assert_starttls_is_hidden(ImapLogin, said, answer, seen)


@pytest.mark.parametrize(
    ("greeting", "seen"),
    [(b"* OK [CAPABILITY IMAP4rev1 STARTTLS ID] hi\r\n", b"* OK [CAPABILITY IMAP4rev1 ID] hi\r\n")],
)
def test_the_greeting_does_not_offer_starttls_either(greeting: bytes, seen: bytes) -> None:
    assert to_client(ImapLogin().upstream_ready(greeting)) == seen


@pytest.mark.parametrize(
    "line",
    [b"a NOOP\rb STARTTLS\r\n", b"a NOOP \rb STARTTLS\r\n", b"a NOOP \0\r\n", b'a NOOP "x\r\n', b"a NOOP {5+} \r\n",
     b"a NOOP {5-}\r\n", b'a ID ("x\\-y" "z")\r\n'],
)  # fmt: skip
def test_a_line_of_imap_that_two_servers_could_read_differently_does_not_pass(line: bytes) -> None:
    steps = ready(ImapLogin).from_client(line)
    assert to_upstream(steps) == b""
    assert b" BAD " in to_client(steps)


def test_a_login_goes_piece_by_piece_to_a_server_that_may_not_know_literals_at_once() -> None:
    watch = ready(ImapLogin)
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
    watch = ready(ImapLogin)
    watch.from_client(b"a LOGIN {4+}\r\nuser {6+}\r\nsecret\r\nb NOOP\r\n")
    assert watch.held > 0
    steps = watch.from_upstream(b"a BAD no literals\r\n")
    assert to_upstream(steps) == b"b NOOP\r\n"
    assert to_client(steps) == b"a BAD no literals\r\n"


@pytest.mark.parametrize("answer", [b"* BAD too slow\r\n", b"a NO too slow\r\n"])
def test_after_a_server_gave_up_a_login_the_next_line_is_a_command(answer: bytes) -> None:
    for opened in (b"a AUTHENTICATE PLAIN\r\n", b"a LOGIN {40}\r\n"):
        watch = ready(ImapLogin)
        play(watch, [(opened, b"+ \r\n")])
        watch.from_client(b"b STARTT")
        watch.from_upstream(answer)
        steps = watch.from_client(b"LS\r\n")
        assert causes(steps) == [REFUSED_AFTER_TLS]
        assert to_upstream(watch.from_client(b"b NOOP\r\n")) == b"b NOOP\r\n"


def test_only_a_login_is_continued() -> None:
    watch = ready(ImapLogin)
    play(watch, [(b"a NOOP\r\n", b"+ go on\r\n")])
    assert to_upstream(watch.from_client(b"b STARTTLS\r\n")) == b""


def test_an_honest_id_passes() -> None:
    assert to_upstream(ready(ImapLogin).from_client(b'a ID ("name" "Mail")\r\n')) == b'a ID ("name" "Mail")\r\n'


def test_a_refused_literal_is_not_waited_for() -> None:
    watch = ready(ImapLogin)
    play(watch, [(b"a LOGIN {9000}\r\n", b"a BAD too long\r\n")])
    assert to_upstream(watch.from_client(b"b NOOP\r\n")) == b"b NOOP\r\n"
