"""What monitoring asks of the admin listener: numbers for those with a token, readiness for anybody."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certstore.control.upkeep import Upkeep
from certstore.model.console.authorization import Scope
from certstore.model.console.sign_in import FREE_FAILURES
from certstore.model.service_state import ServiceState, Verdict
from certstore.monitoring.service_report import start_of, write_report
from tests.certstore.admin.browser import sign_in, try_sign_in
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


def test_problems_of_the_service_are_wherever_one_looks(console: RunningConsole) -> None:
    layout, pid = console.writer.layout, os.getpid()
    state = ServiceState(
        pid, start_of(pid), "/etc/edge.yaml", "d", console.clock(), 2, 2, Verdict.REFUSED, "no such key: listners",
        ("the listener [::]:443 (https) serves IPv6 only",),
    )  # fmt: skip
    write_report(layout, state)
    ready = console.client().get("/readyz")
    assert (ready.status, [each["code"] for each in ready.json["problems"]]) == (503, ["listener_incomplete"])
    api = console.api(Scope.READ)
    assert [each["code"] for each in api.get("/api/v1/service").json["problems"]] == [
        "listener_incomplete",
        "settings_refused",
    ]
    families = text_string_to_metric_families(api.get("/metrics").text)
    (family,) = [each for each in families if each.name == "certedge_service_problems"]
    assert {each.labels["code"]: each.value for each in family.samples} == {
        "listener_incomplete": 1.0,
        "settings_refused": 1.0,
    }
    console.add_user("anna")
    browser = sign_in(console)
    for page in "/", "/service":
        text = browser.get(page).text
        assert "serves IPv6 only" in text
        assert "no such key: listners" in text
