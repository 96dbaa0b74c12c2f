from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.cli.tables import Entry, Table, fit

LONG = "autodiscover-and-webmail.subsidiary-of-a-long-company.example.org"
HEADERS = ("site", "host", "from", "valid until", "problems")
ROWS = [
    ("main", "mail.example.org", "file", "2027-11-26 (364 days)", "self_signed"),
    ("webmail.client-a.com", "webmail.client-a.com", "acme", "2027-01-25 (59 days)", "drop_refused, order_failed"),
]
GIVES_WAY = ("valid until", "host", "from", "valid until")


def entries(*rows: tuple[str, ...]) -> list[list[Entry]]:
    return [[Entry(text, text[:10] if " (" in text else "") for text in row] for row in rows]


def drawn(table: Table) -> list[str]:
    lines = []
    for row in table.rows:
        for pieces in row:
            line = ""
            for piece in pieces:
                line = line.ljust(piece.offset) + piece.text
            lines.append(line)
    return lines


def shown(table: Table) -> list[str]:
    return [HEADERS[column] for column, _ in table.columns]


def fitted(width: int, *rows: tuple[str, ...]) -> Table:
    return fit(HEADERS, entries(*(rows or ROWS)), width, gives_way=GIVES_WAY, wraps=("problems",))


def test_wide_terminal_shows_everything_on_one_line_each() -> None:
    table = fitted(120)
    assert shown(table) == list(HEADERS)
    assert drawn(table) == [
        "main                  mail.example.org      file  2027-11-26 (364 days)  self_signed",
        "webmail.client-a.com  webmail.client-a.com  acme  2027-01-25 (59 days)   drop_refused, order_failed",
    ]


def test_columns_give_way_in_their_order_and_only_as_far_as_needed() -> None:
    assert drawn(fitted(80)) == [
        "main                  file  2027-11-26 (364 days)  self_signed",
        "webmail.client-a.com  acme  2027-01-25 (59 days)   drop_refused, order_failed",
    ]
    assert drawn(fitted(60)) == [
        "main                  2027-11-26   self_signed",
        "webmail.client-a.com  2027-01-25   drop_refused,",
        "                                   order_failed",
    ]
    assert shown(fitted(45)) == ["site", "problems"]


@pytest.mark.parametrize("width", [120, 80, 60], ids=str)
def test_no_name_and_no_date_is_broken(width: int) -> None:
    text = "\n".join(drawn(fitted(width, *ROWS, (LONG, LONG, "main", "", ""))))
    for word in (LONG, "webmail.client-a.com", "2027-11-26", "self_signed", "order_failed"):
        assert word in text


def test_a_name_that_is_too_long_is_shown_in_full_and_its_row_continues_below() -> None:
    table = fit(("site", "state"), entries((LONG, "ok"), ("a.test", "none")), 40)
    assert drawn(table) == [LONG, " " * 35 + "ok", "a.test" + " " * 29 + "none"]


def test_a_name_that_would_stick_out_starts_further_left_and_lower() -> None:
    table = fit(("listener", "name", "result"), entries(("https", LONG, "ok")), 70)
    assert drawn(table) == ["https", " " * (70 - len(LONG)) + LONG, " " * 64 + "ok"]


def test_table_without_rows_has_its_headers() -> None:
    assert fit(("site", "state"), [], 80).columns == ((0, 4), (1, 5))


@given(
    st.lists(st.lists(st.text("ab. -", max_size=70), min_size=4, max_size=4), max_size=6),
    st.integers(1, 130),
    st.lists(st.sampled_from("abcd"), max_size=5),
    st.lists(st.sampled_from("abcd"), max_size=4),
)
def test_every_word_of_a_shown_column_stays_whole_and_apart_from_the_next(
    rows: list[list[str]], width: int, gives_way: list[str], wraps: list[str]
) -> None:
    table = fit("abcd", [[Entry(text) for text in row] for row in rows], width, gives_way=gives_way, wraps=wraps)
    for row, lines in zip(rows, table.rows, strict=True):
        pieces = [piece for line in lines for piece in line]
        for column, _ in table.columns:
            assert " ".join(piece.text for piece in pieces if piece.column == column).split() == row[column].split()
        for line in lines:
            assert all(left.offset + len(left.text) < right.offset for left, right in pairwise(line))
            assert all(each.offset == 0 or each.offset + len(each.text) <= max(width, 1) for each in line)
