from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.commands import Command, parse_command, parse_tagged_command

Parse = Callable[[bytes], Command | None]


@pytest.mark.parametrize(
    ("parse", "line", "command"),
    [
        (parse_tagged_command, b"a1 login user pass\r\n", Command("a1", "LOGIN", b"user pass")),
        (parse_tagged_command, b"a1 NOOP\n", Command("a1", "NOOP", b"")),
        (parse_tagged_command, b"a] LOGOUT\r\n", Command("a]", "LOGOUT", b"")),
        (parse_tagged_command, b"a LOGIN {3+}\r\nabc x\r\n", Command("a", "LOGIN", b"{3+}")),
        (parse_tagged_command, b"NOOP\r\n", None),
        (parse_tagged_command, b"a  NOOP\r\n", Command("a", "", b"")),
        (parse_tagged_command, b"a \r\n", Command("a", "", b"")),
        (parse_tagged_command, b"a X_Y\r\n", Command("a", "", b"")),
        (parse_tagged_command, b"+ NOOP\r\n", None),
        (parse_tagged_command, b"* NOOP\r\n", None),
        (parse_tagged_command, b"x" * 70 + b" NOOP\r\n", Command("x" * 70, "NOOP", b"")),
        (parse_tagged_command, b"x" * 4000 + b" NOOP\r\n", Command("x" * 4000, "NOOP", b"")),
        (parse_tagged_command, b"a NOOP \r\n", Command("a", "NOOP", b"")),
        (parse_tagged_command, b"a " + b"N" * 65 + b"\r\n", Command("a", "", b"")),
        (parse_tagged_command, b"a NOOP\tx\r\n", Command("a", "", b"")),
        (parse_tagged_command, b"a NOOP", None),
        (parse_tagged_command, b"\xe9 NOOP\r\n", None),
        (parse_command, b"mail FROM:<a@b.test> SIZE=1\r\n", Command("", "MAIL", b"FROM:<a@b.test> SIZE=1")),
        (parse_command, b"STARTTLS \r\n", Command("", "STARTTLS", b"")),
        (parse_command, b" QUIT\r\n", None),
        (parse_command, b"QUIT\x00\r\n", None),
        (parse_command, b"UIDL 1\r\n", Command("", "UIDL", b"1")),
        (parse_command, b'AUTHENTICATE "PLAIN"\r\n', Command("", "AUTHENTICATE", b'"PLAIN"')),
        (parse_command, b"\r\n", None),
        (parse_command, b"NOOP \t x \ty\t \r\n", Command("", "NOOP", b"x \ty")),
        (parse_command, b"N" * 33 + b"\r\n", None),
        (parse_command, b"NOOP\r\r\n", None),
        (parse_command, b"NOOP x\r\r\n", Command("", "NOOP", b"x\r")),
        (parse_command, b"NOOP x\n", Command("", "NOOP", b"x")),
        (parse_command, b"NOOP", None),
    ],
)
def test_the_head_of_a_command(parse: Parse, line: bytes, command: Command | None) -> None:
    assert parse(line) == command


@given(st.sampled_from([parse_command, parse_tagged_command]), st.binary(max_size=80))
def test_random_bytes_never_raise_and_a_tag_can_be_sent_back(parse: Parse, line: bytes) -> None:
    command = parse(line)
    if command is not None:
        assert command.name.isascii()
        assert not set(command.tag) & set('\r\n "*+{}()%\\')
