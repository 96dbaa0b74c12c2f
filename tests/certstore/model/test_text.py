import pytest

from certstore.model.text import first_line, listed, shown, written_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain.pem", "plain.pem", id="plain"),
        pytest.param("a\nb\x1b[0m", "a\ufffdb\ufffd[0m", id="what a terminal would obey"),
        pytest.param("Grüße", "Grüße", id="letters of any language"),
        pytest.param("x" * 120, "x" * 120, id="as long as may be"),
        pytest.param("x" * 121, "x" * 120 + "…", id="one too long"),
    ],
)
def test_text_of_strangers_is_made_fit_to_show(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["a", "b"], "a, b", id="two"),
        pytest.param(["a", "b", "c"], "a, b, c", id="as many as are listed"),
        pytest.param(("a", "b", "c", "d"), "a, b, c and 1 more", id="one more"),
        pytest.param(["a\n"], "a\ufffd", id="each is made fit to show"),
    ],
)
def test_list_stays_short(items: list[str], expected: str) -> None:
    assert listed(items, limit=3) == expected


def test_five_are_listed_unless_asked_otherwise() -> None:
    assert listed([str(number) for number in range(9)]) == "0, 1, 2, 3, 4 and 4 more"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"s3cret\n", id="UTF-8"),
        pytest.param(b"\xef\xbb\xbfs3cret\r\n", id="UTF-8 with a mark"),
        pytest.param("s3cret\r\n".encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xfe\xff" + "s3cret\n".encode("utf-16-be"), id="UTF-16, big end first"),
        pytest.param(b"s3cret\r", id="CR"),
        pytest.param(b"s3cret", id="no line end"),
    ],
)
def test_file_of_a_person_is_read_however_an_editor_wrote_it(content: bytes) -> None:
    assert written_text(content).strip() == "s3cret"
    assert first_line(content) == b"s3cret"


def test_password_in_an_older_encoding_is_its_bytes() -> None:
    assert first_line(b"gr\xfc\xdfe\r\nmore") == b"gr\xfc\xdfe"
    assert first_line(b"") == b""
    with pytest.raises(UnicodeDecodeError):
        written_text(b"gr\xfc\xdfe")
