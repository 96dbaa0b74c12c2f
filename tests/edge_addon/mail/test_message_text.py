import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.message_text import MessageText, Verdict
from tests.edge_addon.mail.steps import split


def read(pieces: list[bytes]) -> tuple[Verdict, bytes]:
    """The last verdict, and the text that passed."""
    text, passed, verdict = MessageText(), b"", Verdict.MORE
    for piece in pieces:
        verdict, length = text.feed(piece)
        passed += piece[:length]
        if verdict is not Verdict.MORE:
            break
    return verdict, passed


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b".\r\n", id="an empty mail"),
        pytest.param(b"Subject: x\r\n\r\nhello\r\n.\r\n", id="a small mail"),
        pytest.param(b"..\r\n.a\r\n. \r\n.\r\n", id="lines that begin with a dot"),
        pytest.param(b"\r\n\r\n.\r\n", id="empty lines"),
    ],
)
def test_the_end_is_found_at_every_split(text: bytes) -> None:
    behind = b"QUIT\r\n.\r\n"
    for cut in range(len(text) + 1):
        assert read([text[:cut], text[cut:] + behind]) == (Verdict.END, text)
    assert read([bytes([byte]) for byte in text]) == (Verdict.END, text)


@pytest.mark.parametrize(
    "text",
    [
        b"x\n.\n",
        b"x\n.\r\n",
        b"x\r\n.\n",
        b"x\r.\r",
        b"x\r.\r\n",
        b"x\r\n.\r",
        b"x\r\r\n.\r\n",
        b"x\r\n.\r\r\n",
        b"\n.\r\n",
        b".\n",
        b".\r.\r\n",
        b"x\ny\r\n.\r\n",
        b"x\ry\r\n.\r\n",
        b"x\x00\n.\n",
    ],
)
def test_text_with_a_bare_line_end_is_refused_at_every_split(text: bytes) -> None:
    whole = text + b"MAIL FROM:<forged@b.test>\r\n"
    for cut in range(len(whole) + 1):
        verdict, passed = read([whole[:cut], whole[cut:]])
        assert verdict is Verdict.BARE_NEWLINE
        assert b"MAIL" not in passed


def judge_slowly(data: bytes) -> tuple[Verdict, int]:
    """The same rule in another form: byte by byte from the start."""
    end = (b"\r\n" + data).find(b"\r\n.\r\n")
    text = data if end < 0 else data[: end + 3]
    bare = re.search(rb"(?<!\r)\n|\r(?!\n)", text)
    if bare is not None and bare.start() < len(text) - (end < 0 and text.endswith(b"\r")):
        return Verdict.BARE_NEWLINE, 0
    return (Verdict.MORE if end < 0 else Verdict.END), len(text)


@given(
    st.lists(st.sampled_from([b"\r\n", b".", b"\r\n.\r\n", b"a", b"\r", b"\n"]), max_size=16).map(b"".join),
    st.lists(st.integers(0, 100), max_size=5),
)
def test_any_text_in_any_split_gets_the_verdict_of_the_plain_rule(data: bytes, cuts: list[int]) -> None:
    verdict, length = judge_slowly(data)
    seen, passed = read(split(data, cuts))
    assert seen is verdict
    if verdict is not Verdict.BARE_NEWLINE:
        assert len(passed) == length
