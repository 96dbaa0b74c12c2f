"""ManageSieve between TLS and the login: its own commands, answers and capability lists."""

import pytest

from edge_addon.mail.sieve import SieveLogin
from tests.edge_addon.mail.logins import (
    Exchange,
    assert_answered_by_the_edge,
    assert_literal_hides_nothing,
    assert_starttls_is_hidden,
    play,
    ready,
)
from tests.edge_addon.mail.steps import endings, to_client, to_upstream


@pytest.mark.parametrize(
    "exchange",
    [
        [(b'AUTHENTICATE "PLAIN" "eA=="\r\n', b'NO "wrong"\r\n')],
        [(b"CAPABILITY\r\n", b'"SASL" "PLAIN"\r\nOK\r\n')],
        [(b'AUTHENTICATE "X"\r\n', b'"OK"\r\n')],
    ],
)
def test_anything_but_a_login_leaves_the_dialogue_in_force(exchange: Exchange) -> None:
    assert endings(play(ready(SieveLogin), exchange)) == []


@pytest.mark.parametrize(("said", "answer"), [(b"STARTTLS\r\n", b"NO"), (b"XCLIENT ADDR=192.0.2.9\r\n", b"NO")])
def test_some_commands_are_answered_by_the_edge(said: bytes, answer: bytes) -> None:
    assert_answered_by_the_edge(ready(SieveLogin), said, answer, harmless=b"NOOP\r\n")


@pytest.mark.parametrize(
    "said",
    [
        b"NOOP x{HERE}\r\n",
        b"NOOP {HERE}\r\n",
        b'NOOP "x{HERE}\r\n',
        b'AUTHENTICATE "PLAIN"{HERE}\r\n',
        b'AUTHENTICATE "PLAIN" {HERE}\r\n',
        b'AUTHENTICATE "PLAIN" "eA==" {HERE}\r\n',
    ],
)
@pytest.mark.parametrize("form", [b"%d", b"%d+"])
def test_what_a_server_might_not_take_for_a_literal_hides_nothing(said: bytes, form: bytes) -> None:
    assert_literal_hides_nothing(ready(SieveLogin), said, form, b"XCLIENT ADDR=192.0.2.9\r\n")


@pytest.mark.parametrize(
    ("said", "answer", "seen"),
    [
        (
            b"CAPABILITY\r\n",
            b'"SASL" "PLAIN"\r\n"STARTTLS"\r\n"SIEVE" "x"\r\nOK\r\n',
            b'"SASL" "PLAIN"\r\n"SIEVE" "x"\r\nOK\r\n',
        ),
        (b"CAPABILITY\r\n", b"{8}\r\nSTARTTLS\r\nOK\r\n", b"OK\r\n"),
    ],
)
def test_starttls_is_not_offered_over_tls(said: bytes, answer: bytes, seen: bytes) -> None:
    assert_starttls_is_hidden(SieveLogin, said, answer, seen)


@pytest.mark.parametrize(("greeting", "seen"), [(b'"SIEVE" "x"\r\n"STARTTLS"\r\nOK\r\n', b'"SIEVE" "x"\r\nOK\r\n')])
def test_the_greeting_does_not_offer_starttls_either(greeting: bytes, seen: bytes) -> None:
    assert to_client(SieveLogin().upstream_ready(greeting)) == seen


@pytest.mark.parametrize("verb", [b"STARTTLS", b"NOOP", b"noop", b"LOGOUT"])
def test_a_literal_of_managesieve_is_no_command_either(verb: bytes) -> None:
    said = b'AUTHENTICATE "X" {%d+}\r\n%s\r\n' % (len(verb), verb)
    assert to_upstream(ready(SieveLogin).from_client(said)) == b""
    assert to_upstream(ready(SieveLogin).from_client(said.replace(b"\r\n" + verb, b"\r\n" + b"x" * len(verb))))
