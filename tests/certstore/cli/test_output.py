import datetime as dt
import json

import pytest

from certstore.cli.failure import printable
from certstore.cli.output import Cell, aligned, print_facts, print_json, print_lines, print_table, remaining, short, utc

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


def test_columns_are_aligned_and_an_empty_cell_can_be_counted() -> None:
    rows = [[Cell("a"), Cell(""), Cell("ok")], [Cell("longer"), Cell("x y"), Cell("")]]
    assert aligned(["site", "names", "state"], rows) == [
        "site    names  state",
        "a       -      ok",
        "longer  x y    -",
    ]


def test_styles_do_not_show_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(Cell("bad", "bold red"), "plain")
    print_table(("a",), [(Cell("x", "green"),)])
    print_facts([("name", Cell("value", "green")), ("left out", ""), ("longer name", "v")])
    assert capsys.readouterr().out == "bad\nplain\na\nx\nname:         value\nlonger name:  v\n"


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "a\rb", "\x07", "a\u202eb"], ids=ascii)
def test_names_from_strangers_send_no_commands_to_a_terminal(text: str) -> None:
    assert printable(text).isprintable()


def test_json_is_ascii_whatever_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"server_name": "\udcff\x9b31m", "issuer": "Bücher \u202e"}
    print_json(facts)
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == facts


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (dt.timedelta(days=80, hours=3), "80 days"),
        (dt.timedelta(days=2), "2 days"),
        (dt.timedelta(hours=47), "47 hours"),
        (dt.timedelta(minutes=90), "90 minutes"),
        (dt.timedelta(0), "expired"),
        (dt.timedelta(days=-3), "expired"),
    ],
    ids=str,
)
def test_the_remaining_time_is_shown_in_the_unit_that_matters(left: dt.timedelta, said: str) -> None:
    assert remaining(NOW + left, NOW) == said


def test_times_are_shown_in_utc() -> None:
    assert utc(NOW.astimezone(dt.timezone(dt.timedelta(hours=5)))) == "2026-03-01 12:00 UTC"


def test_a_fingerprint_is_cut_and_none_is_empty() -> None:
    assert short("ab" * 32) == "ab" * 8
    assert short(None) == ""
