import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.commands import Command, parse_command
from edge_addon.mail.dialogue import MailProtocol


@pytest.mark.parametrize(
    ("protocol", "line", "command"),
    [
        (MailProtocol.IMAP, b"a1 login user pass\r\n", Command("a1", "LOGIN", b"user pass")),
        (MailProtocol.IMAP, b"a1 NOOP\n", Command("a1", "NOOP", b"")),
        (MailProtocol.IMAP, b"a] LOGOUT\r\n", Command("a]", "LOGOUT", b"")),
        (MailProtocol.IMAP, b"a LOGIN {3+}\r\nabc x\r\n", Command("a", "LOGIN", b"{3+}")),
        (MailProtocol.IMAP, b"NOOP\r\n", None),
        (MailProtocol.IMAP, b"a  NOOP\r\n", None),
        (MailProtocol.IMAP, b"+ NOOP\r\n", None),
        (MailProtocol.IMAP, b"* NOOP\r\n", None),
        (MailProtocol.IMAP, b"x" * 65 + b" NOOP\r\n", None),
        (MailProtocol.IMAP, b"\xe9 NOOP\r\n", None),
        (MailProtocol.SMTP, b"mail FROM:<a@b.test> SIZE=1\r\n", Command("", "MAIL", b"FROM:<a@b.test> SIZE=1")),
        (MailProtocol.SMTP, b"STARTTLS \r\n", Command("", "STARTTLS", b"")),
        (MailProtocol.SMTP, b" QUIT\r\n", None),
        (MailProtocol.SMTP, b"QUIT\x00\r\n", None),
        (MailProtocol.POP3, b"UIDL 1\r\n", Command("", "UIDL", b"1")),
        (MailProtocol.SIEVE, b'AUTHENTICATE "PLAIN"\r\n', Command("", "AUTHENTICATE", b'"PLAIN"')),
        (MailProtocol.SIEVE, b"\r\n", None),
    ],
)
def test_the_head_of_a_command(protocol: MailProtocol, line: bytes, command: Command | None) -> None:
    assert parse_command(protocol, line) == command


@given(st.sampled_from(MailProtocol), st.binary(max_size=80))
def test_random_bytes_never_raise_and_a_tag_can_be_sent_back(protocol: MailProtocol, line: bytes) -> None:
    command = parse_command(protocol, line)
    if command is not None:
        assert command.verb.isascii()
        assert not set(command.tag) & set('\r\n "*+{}()%\\')
