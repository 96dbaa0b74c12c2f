import pytest

from certstore.model.settings.models import ListenerKind
from certstore.model.starttls import CLIENT_SIDES


def test_every_kind_with_starttls_has_its_side_of_the_client() -> None:
    assert set(CLIENT_SIDES) == {kind for kind in ListenerKind if kind.offers_starttls}


@pytest.mark.parametrize("kind", CLIENT_SIDES)
def test_every_command_is_one_line_and_the_last_one_asks_for_tls(kind: ListenerKind) -> None:
    commands = [command for command, _ in CLIENT_SIDES[kind].commands]
    for command in commands:
        assert command.isascii()
        assert command.endswith("\r\n")
        assert command.count("\n") == 1
    assert commands[-1].split()[-1] in {"STARTTLS", "STLS"}


@pytest.mark.parametrize(
    ("kind", "line", "is_last", "is_good"),
    [
        ("imap", b"* OK ready\r\n", True, True),
        ("imap", b"* ok ready\r\n", True, True),
        ("imap", b"* PREAUTH in\r\n", True, False),
        ("imap", b"* BYE full\r\n", True, False),
        ("pop3", b"+OK\r\n", True, True),
        ("pop3", b"-ERR\r\n", True, False),
        ("smtp", b"220-more\r\n", False, True),
        ("smtp", b"220 ready\r\n", True, True),
        ("smtp", b"554 no\r\n", True, False),
        ("lmtp", b"220 ready\r\n", True, True),
        ("sieve", b'"SIEVE" "fileinto"\r\n', False, False),
        ("sieve", b'"OK"\r\n', False, False),
        ("sieve", b'OK "ready"\r\n', True, True),
        ("sieve", b"OKAY\r\n", False, False),
        ("sieve", b"NO\r\n", True, False),
    ],
)
def test_a_greeting_is_told_from_a_refusal(kind: str, line: bytes, is_last: bool, is_good: bool) -> None:
    greeting = CLIENT_SIDES[ListenerKind(kind)].greeting
    assert bool(greeting.last_line.match(line)) is is_last
    assert bool(greeting.good.match(line)) is is_good
