"""POP3 between TLS and the login: its own commands, answers and capability lists."""

import pytest

from edge_addon.mail.pop3 import Pop3Login
from tests.edge_addon.mail.logins import Exchange, assert_answered_by_the_edge, assert_starttls_is_hidden, play, ready
from tests.edge_addon.mail.steps import endings, to_client


@pytest.mark.parametrize(
    "exchange",
    [
        [(b"USER user\r\n", b"+OK\r\n"), (b"PASS wrong\r\n", b"-ERR no\r\n")],
        [(b"CAPA\r\n", b"+OK\r\nUSER\r\n+OK\r\n.\r\n")],
    ],
)
def test_anything_but_a_login_leaves_the_dialogue_in_force(exchange: Exchange) -> None:
    assert endings(play(ready(Pop3Login), exchange)) == []


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"STLS\r\n", b"-ERR"),
        (b"CAPA x\r\n", b"-ERR"),
        (b"USER a\rQUIT\r\n", b"-ERR"),
        (b"PASS a\r\r\n", b"-ERR"),
        (b"PASS a\0b\r\n", b"-ERR"),
        (b"NOOP\0\r\n", b"-ERR"),
        (b"USER a\r \n", b"-ERR"),
        (b"XCLIENT ADDR=192.0.2.9\r\n", b"-ERR"),
    ],
)
def test_some_commands_are_answered_by_the_edge(said: bytes, answer: bytes) -> None:
    assert_answered_by_the_edge(ready(Pop3Login), said, answer, harmless=b"NOOP\r\n")


@pytest.mark.parametrize(
    ("said", "answer", "seen"),
    [
        (b"CAPA\r\n", b"+OK\r\nUSER\r\nSTLS\r\nUIDL\r\n.\r\n", b"+OK\r\nUSER\r\nUIDL\r\n.\r\n"),
        (b"CAPA\r\n", b"-ERR STLS\r\n", b"-ERR STLS\r\n"),
    ],
)
def test_starttls_is_not_offered_over_tls(said: bytes, answer: bytes, seen: bytes) -> None:
    assert_starttls_is_hidden(Pop3Login, said, answer, seen)


@pytest.mark.parametrize(("greeting", "seen"), [(b"+OK <1.2@mail>\r\n", b"+OK <1.2@mail>\r\n")])
def test_the_greeting_does_not_offer_starttls_either(greeting: bytes, seen: bytes) -> None:
    assert to_client(Pop3Login().upstream_ready(greeting)) == seen
