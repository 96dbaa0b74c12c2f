"""What is calculated from the values: ratios, verdicts, spread, tables and the page."""

from pathlib import Path

import pytest

from tests.bench import page
from tests.bench.chart import draw
from tests.bench.figures import DROP, EDGE, HANDSHAKE, HTTP2, IDLE, START, Results, spread, verdicts
from tests.bench.report import Circumstances, cell

CIRCUMSTANCES = Circumstances("2026-01-01", "tiny", "2 cores", 0.1, {"nginx": "1.22"}, {})


def results(**values: dict[str, tuple[float, ...]]) -> Results:
    made = Results()
    figures = {figure.key: figure for figure in (HANDSHAKE, HTTP2, IDLE.at(10_000), START.at(10_000))}
    for key, by_peer in values.items():
        for peer, each in by_peer.items():
            for value in each:
                made.add(figures[key], peer, value)
    return made


def test_a_ratio_is_taken_round_by_round() -> None:
    # The third round was disturbed, for both.
    found = results(handshake={EDGE: (120, 130, 900), "nginx": (100, 100, 800)})

    assert found.ratio(HANDSHAKE, EDGE, "nginx") == pytest.approx(1.2)


def test_a_ratio_of_unequal_rounds_is_that_of_the_medians() -> None:
    found = results(handshake={EDGE: (120,), "nginx": (90, 100, 110)})

    assert found.ratio(HANDSHAKE, EDGE, "nginx") == pytest.approx(1.2)
    assert found.ratio(HANDSHAKE, EDGE, "Caddy") is None


@pytest.mark.parametrize(
    ("key", "values", "title", "is_met"),
    [
        ("handshake", {EDGE: (120.0,), "nginx": (100.0,)}, "full handshake", True),
        ("handshake", {EDGE: (121.0,), "nginx": (100.0,)}, "full handshake", False),
        ("handshake", {EDGE: (120.0,)}, "full handshake", None),
        ("http2", {EDGE: (200.0,), "mitmdump": (3000.0,)}, "GET over HTTP/2, per CPU second", True),
        ("http2", {EDGE: (200.0,), "mitmdump": (2999.0,)}, "GET over HTTP/2, per CPU second", False),
    ],
)
def test_a_verdict_compares_what_was_found_with_what_must_be_reached(
    key: str, values: dict[str, tuple[float, ...]], title: str, is_met: bool | None
) -> None:
    verdict = next(each for each in verdicts(results(**{key: values})) if each.title == title)

    assert verdict.is_met is is_met


def test_limits_of_the_edge_alone_are_checked() -> None:
    made = Results()
    made.add(IDLE.at(10_000), EDGE, 25.1)
    made.add(START.at(10_000), EDGE, 2.4)

    judged = {each.reach: each.is_met for each in verdicts(made)}

    assert judged["≤ 25 KB"] is False
    assert judged["≤ 2.4 s"] is True


def test_spread_is_half_the_range_as_a_part_of_the_median() -> None:
    assert spread((90.0, 100.0, 110.0)) == pytest.approx(0.1)
    assert spread((0.0, 0.0)) == 0


def test_a_cell_shows_median_spread_and_note() -> None:
    made = Results()
    for value in (1000.0, 1100.0, 1200.0):
        made.add(HANDSHAKE, EDGE, value)
    made.note(HANDSHAKE, EDGE, "half of them")
    made.note(HANDSHAKE, "nginx", "failed")

    assert cell(HANDSHAKE, made.found(HANDSHAKE, EDGE)) == "1,100 ±9% (half of them)"
    assert cell(HANDSHAKE, made.found(HANDSHAKE, "nginx")) == "failed"
    assert cell(HANDSHAKE, made.found(HANDSHAKE, "Caddy")) == "–"


def test_the_chart_marks_the_edge_and_cuts_bars_that_dwarf_it() -> None:
    svg = draw(results(handshake={EDGE: (600.0,), "mitmdump": (7800.0,)}), [EDGE, "mitmdump"], "here & now")

    assert svg.count('class="e"') == 1
    assert svg.count("<path") == 1, "one bar is cut"
    assert "7,800" in svg
    assert "here &amp; now" in svg


def test_the_chart_leaves_out_servers_without_values_and_shows_what_one_needed() -> None:
    made = Results()
    made.add(DROP.at(10_000), EDGE, 0.05)
    made.add(DROP.at(10_000), "nginx", 21.5)
    made.note(DROP.at(10_000), "nginx", "file not seen; reload")
    made.note(DROP.at(10_000), "Envoy", "file not seen; needs a restart")

    svg = draw(made, [EDGE, "nginx", "Envoy", "mitmdump"], "caption")

    assert "21.500, reload" in svg
    assert ">file not seen<" in svg
    assert "mitmdump" not in svg


def test_the_page_keeps_the_text_around_the_figures(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{page.BEGIN}\nold figures\n{page.END}\nafter\n")

    page.update(results(handshake={EDGE: (600.0,)}), CIRCUMSTANCES, [EDGE], "caption", folder=tmp_path)

    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| full handshake (µs CPU) | 600 |" in text
    assert "old figures" not in text
    assert (tmp_path / "chart.svg").read_text().startswith("<svg")


def test_a_page_without_its_marks_stays_unchanged(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing here")

    with pytest.raises(ValueError, match="marks"):
        page.update(results(), CIRCUMSTANCES, [EDGE], "caption", folder=tmp_path)

    assert (tmp_path / "README.md").read_text() == "nothing here"
