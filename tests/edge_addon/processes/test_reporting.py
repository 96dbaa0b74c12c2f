"""The report that the supervisor keeps in the store."""

from pathlib import Path

from certstore.model.layout import Layout
from certstore.model.service_state import Verdict
from certstore.model.settings.models import Settings
from certstore.monitoring.service_report import read_report, settings_digest
from edge_addon.processes.reporting import Reporting


def made(root: Path) -> Settings:
    Layout(root).state.mkdir(parents=True)
    return Settings(store=root)


def test_a_reload_is_counted_before_it_ends(tmp_path: Path) -> None:
    settings, layout = made(tmp_path / "store"), Layout(tmp_path / "store")
    reporting = Reporting(tmp_path / "edge.yaml")
    reporting.begin()
    reporting.applied(settings, ["half"])
    reporting.ended(Verdict.SERVING, "serving")
    first = read_report(layout)
    assert first is not None
    assert (first.begun, first.ended, first.verdict, first.problems) == (1, 1, Verdict.SERVING, ("half",))
    assert first.settings == settings_digest(settings)
    reporting.begin()
    begun = read_report(layout)
    assert begun is not None
    assert (begun.begun, begun.ended) == (2, 1)
    reporting.ended(Verdict.REFUSED, "no")
    refused = read_report(layout)
    assert refused is not None
    assert (refused.ended, refused.verdict, refused.settings) == (2, Verdict.REFUSED, first.settings)
    reporting.close()
    assert read_report(layout) is None


def test_a_store_that_is_not_there_yet_gets_its_report_later(tmp_path: Path) -> None:
    root = tmp_path / "store"
    reporting = Reporting(tmp_path / "edge.yaml")
    reporting.begin()
    reporting.applied(Settings(store=root), ())
    made(root)
    reporting.ended(Verdict.SERVING, "serving")
    assert read_report(Layout(root)) is not None


def test_a_changed_store_takes_the_report_along(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    reporting = Reporting(tmp_path / "edge.yaml")
    reporting.begin()
    reporting.applied(one, ())
    reporting.begin()
    reporting.applied(other, ())
    assert read_report(Layout(tmp_path / "one")) is None
    assert read_report(Layout(tmp_path / "other")) is not None
