"""The service is killed or restarted in the middle of an order or a preflight: who looks on is told, and sees it end.

A real edge with a real CA that takes some seconds; the page in a real browser, the rules of taking up over the API.
"""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from certstore.admin.live.jobs import BEGUN_AGAIN_MOST, JobRequest, LeftOver
from certstore.files.keyed_state import KeyedState
from certstore.model.console.people import Role
from certstore.model.layout import Layout
from certstore.people.access import Access
from certstore.people.passwords import Passwords
from certstore.store.versions import live_number
from tests.certstore.admin.browser import sign_in as sign_in_plainly
from tests.certstore.admin.chromium import chromium, sign_in
from tests.certstore.admin.console import PASSWORD, running_console
from tests.certstore.renewal.care import make_settings
from tests.certstore.stores import MAIN_HOST, SITE, writing
from tests.deadlines import wait_for
from tests.peers.pebble import Pebble
from tests.ports import free_port
from tests.running import RunningEdge, Site, running_edge

PUBLIC = "console.install.test"
SLOW = {"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "5"}
"""Pebble waits 0 to 4 seconds for each name, at random: of six names one is slow enough to be killed meanwhile."""
NAMES = [f"{word}.client-a.test" for word in ("a", "b", "c", "d", "e")]


@dataclass
class Stage:
    edge: RunningEdge
    pebble: Pebble
    page: Page
    address: str

    def version(self) -> int | None:
        return live_number(Layout(self.edge.store), SITE)


@pytest.fixture(params=["directly", "through the edge"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """An ordered site with its first certificate: not due, so that only the job itself can bring the second.

    Through the edge a browser gets 502 while control is away, after which it does not come again by itself.
    """
    pebble, port = Pebble(0, environment=SLOW), free_port()
    with writing(tmp_path / "store") as writer, Access.opened(writer.layout) as access:
        access.users.add("anna", Role.ADMIN, (), Passwords().hash(PASSWORD))
    settings = make_settings(pebble, 0) | {
        "listeners": [{"kind": "http"}, {"kind": "https"}],
        "admin": {"listen": f"127.0.0.1:{port}", "public_host": PUBLIC},
    }
    upstream = {"url": f"https://127.0.0.1:{port}", "name": MAIN_HOST, "ca_file": "store/live/main/fullchain.pem"}
    sites = {
        "main": Site(settings={"host": MAIN_HOST}),
        SITE: Site(settings={"host": SITE, "additional_names": NAMES, "certificate": "acme"}),
        PUBLIC: Site(settings={"host": PUBLIC, "certificate": "main", "upstream": upstream}),
    }
    with contextlib.ExitStack() as stack:
        edge = stack.enter_context(running_edge(tmp_path, settings, sites))
        pebble.http_port = edge.port("http")
        stack.enter_context(pebble)
        address = f"https://127.0.0.1:{port}"
        wait_for(lambda: f"the console is on {address}" in edge.stderr, "the console")
        if request.param != "directly":
            address = f"https://{PUBLIC}"
        rule = f"--host-resolver-rules=MAP {PUBLIC}:443 127.0.0.1:{edge.port('https')}"
        browser = stack.enter_context(chromium(rule))
        page = sign_in(browser.new_context(ignore_https_errors=True), address)
        found = Stage(edge, pebble, page, address)
        page.goto(f"{address}/sites/{SITE}")
        page.get_by_role("button", name="Order now").click()
        expect(page.get_by_text("The new certificate is served")).to_be_visible(timeout=60_000)
        yield found


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "restarted"])
def test_order_goes_on_and_its_page_says_so(stage: Stage, number: int) -> None:
    page, before = stage.page, stage.version()
    page.goto(f"{stage.address}/sites/{SITE}")
    page.get_by_role("button", name="Order now").click()
    page.wait_for_url(re.compile("/jobs/"))
    job = page.url
    expect(page.locator("#steps")).to_contain_text("through our own port 80")
    os.kill(stage.edge.control_pid(), number)
    expect(page.locator("#lost")).to_contain_text("goes on by itself")
    expect(page.locator("#steps")).to_contain_text("the service was restarted meanwhile", timeout=60_000)
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.get_by_text("The new certificate is served")).to_be_visible(timeout=60_000)
    assert page.url == job
    assert stage.version() != before


@pytest.mark.peer
@pytest.mark.slow
def test_page_of_a_job_that_ended_before_the_restart_leads_to_its_outcome(stage: Stage) -> None:
    page = stage.page
    assert "/jobs/" in page.url
    control = stage.edge.control_pid()
    os.kill(control, signal.SIGKILL)
    wait_for(lambda: stage.edge.control_pid() != control, "another control process")
    wait_for(lambda: stage.edge.stderr.count("the console is on") == 2, "the console again")
    page.reload()
    expect(page.get_by_role("status").first).to_contain_text("not kept over a restart")
    expect(page.get_by_text("Order: done").or_(page.get_by_text("Renewal: done")).first).to_be_visible()


def left_over(times: int, age: timedelta) -> LeftOver:
    return LeftOver("0" * 32, JobRequest(SITE, "cert.order", "user anna", "192.0.2.1"), datetime.now(UTC) - age, times)


def test_what_is_old_or_ended_the_service_each_time_is_not_begun_again() -> None:
    now = datetime.now(UTC)
    assert left_over(0, timedelta(minutes=5)).is_worth_it(now)
    assert not left_over(0, timedelta(hours=2)).is_worth_it(now)
    assert not left_over(BEGUN_AGAIN_MOST, timedelta(minutes=5)).is_worth_it(now)


def test_what_is_not_begun_again_is_in_the_audit_log_and_its_page_leads_to_the_site(tmp_path: Path) -> None:
    job_request: dict[str, Any] = {"site": SITE, "action": "cert.order", "who": "user anna", "address": "192.0.2.1"}
    with writing(tmp_path / "store") as writer:
        kept = KeyedState(writer.layout.admin / "jobs.jsonl", writer.layout.temporary)
        kept.put("0" * 32, {"errand": job_request, "begun_at": "2020-01-01T00:00:00+00:00", "times": 0})
        kept.close()
    with running_console(tmp_path / "store") as console:
        (entry,) = console.audit()
        assert (entry["action"], entry["from"], entry["outcome"]) == ("cert.order", "192.0.2.1", "failed")
        assert "the service ended" in entry["detail"]
        console.add_user("anna")
        console.api().send("PUT", f"/api/v1/sites/{SITE}/settings", {"host": SITE})
        client = sign_in_plainly(console)
        answer = client.get(f"/sites/{SITE}/jobs/{'0' * 32}")
        assert (answer.status, answer.headers["Location"]) == (303, f"/sites/{SITE}")
        assert "not kept over a restart" in client.get(f"/sites/{SITE}").text
        assert client.get(f"/sites/nothing.test/jobs/{'0' * 32}").status == 404


@pytest.mark.parametrize("facts", [{"errand": {"site": SITE}, "begun_at": "2026-01-01T00:00:00+00:00"}, {}, 5, None])
def test_job_that_another_release_has_left_keeps_no_console_from_starting(facts: Any, tmp_path: Path) -> None:
    with writing(tmp_path / "store") as writer:
        kept = KeyedState(writer.layout.admin / "jobs.jsonl", writer.layout.temporary)
        kept.put("0" * 32, facts)
        kept.close()
    with running_console(tmp_path / "store") as console:
        assert console.client().get("/healthz").status == 200
        assert console.audit() == []
