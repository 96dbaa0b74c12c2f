"""What monitoring asks of the admin listener: numbers for those with a token, readiness for anybody."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certstore.control.upkeep import Upkeep
from certstore.model.console.authorization import Scope
from certstore.model.console.sign_in import FREE_FAILURES
from tests.certstore.admin.browser import try_sign_in
from tests.certstore.admin.console import RunningConsole, running_console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store", upkeep=Upkeep) as running:
        yield running


def test_metrics_are_for_a_token_that_may_read_everything(console: RunningConsole) -> None:
    answer = console.api(Scope.READ).get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert "certedge_certificate_remaining_seconds" in names


@pytest.mark.slow
def test_bounds_that_were_reached_are_counted(console: RunningConsole) -> None:
    def counted() -> dict[str, float]:
        families = text_string_to_metric_families(console.api(Scope.READ).get("/metrics").text)
        samples = [each for family in families for each in family.samples]
        return {each.labels["cause"]: each.value for each in samples if each.name == "certedge_events_total"}

    causes = {
        "sign_in_throttled",
        "audit_entry_counted",
        "upload_refused",
        "job_refused",
        "slow_order",
        "notice_postponed",
    }
    assert dict.fromkeys(causes, 0.0).items() <= counted().items()
    console.add_user("anna")
    for _ in range(FREE_FAILURES + 3):
        try_sign_in(console.client(), "anna", "a guess")
    assert counted()["sign_in_throttled"] >= 1


def test_matters_that_stand_are_counted_by_kind_until_they_are_solved(console: RunningConsole) -> None:
    def standing() -> dict[str, float]:
        families = text_string_to_metric_families(console.api(Scope.READ).get("/metrics").text)
        samples = [each for family in families for each in family.samples]
        return {each.labels["kind"]: each.value for each in samples if each.name == "certedge_warnings"}

    assert standing() == dict.fromkeys(("failing", "degraded", "expiring", "expired", "stalled"), 0.0)
    console.clock.forward(days=4000)
    assert standing()["expired"] == 1, "main's, which is self-signed and ends after a year"


def test_metrics_are_for_nobody_else(console: RunningConsole) -> None:
    assert console.client().get("/metrics").status == 401
    assert console.client("cet_wrong").get("/metrics").status == 401
    assert console.api(Scope.ADMIN, "a.test").get("/metrics").status == 403


def test_readiness_is_for_anybody_and_says_why_not(console: RunningConsole) -> None:
    ready = console.client().get("/readyz")
    assert (ready.status, ready.json) == (200, {"status": "ready", "problems": []})
    console.clock.forward(days=4000)
    expired = console.client().get("/readyz")
    assert expired.status == 503
    assert "main_expired" in {problem["code"] for problem in expired.json["problems"]}
    assert expired.headers["Cache-Control"] == "no-store"


def test_a_service_with_listeners_needs_workers(tmp_path: Path) -> None:
    settings = {"listeners": [{"kind": "https", "listen": "127.0.0.1:0"}]}
    with running_console(tmp_path / "store", settings, upkeep=Upkeep) as console:
        answer = console.client().get("/readyz")
    assert [problem["code"] for problem in answer.json["problems"]] == ["no_workers"]
