"""The service is killed or restarted during an order: the order continues, and the open page shows how it ends.

A real edge with a real CA that takes some seconds; the page in a real browser.
"""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from certstore.model.console.people import Role
from certstore.model.layout import Layout
from certstore.people.access import Access
from certstore.people.passwords import Passwords
from certstore.store.versions import live_number
from tests.certstore.admin.browser import sign_in as sign_in_plainly
from tests.certstore.admin.chromium import chromium, sign_in
from tests.certstore.admin.console import PASSWORD, running_console
from tests.certstore.renewal.scene import make_settings
from tests.certstore.stores import MAIN_HOST, SITE, writing
from tests.deadlines import wait_for
from tests.peers.pebble import Pebble
from tests.ports import free_port
from tests.running import RunningEdge, Site, running_edge

PUBLIC = "console.install.test"
SLOW = {"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "5"}
"""Pebble waits 0 to 4 seconds for each name, at random: one of six names is slow enough for a kill in between."""
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
    """An ordered site with its first certificate: no renewal is due, so only the user's order can bring the second.

    Through the edge a browser gets 502 while control is down, after which it does not reconnect by itself.
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
def test_order_continues_and_the_open_page_shows_its_outcome(stage: Stage, number: int) -> None:
    page, before, orders = stage.page, stage.version(), stage.pebble.orders()
    page.goto(f"{stage.address}/sites/{SITE}")
    page.get_by_role("button", name="Order now").click()
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.locator("#steps")).to_contain_text("self-check of the http-01 challenge")
    os.kill(stage.edge.control_pid(), number)
    expect(page.locator("#lost")).to_contain_text("continues after a restart")
    page.wait_for_url(f"{stage.address}/sites/{SITE}", timeout=60_000)
    expect(page.get_by_role("status").first).to_contain_text("no longer available")
    assert before is not None
    # The open page follows what happens.
    expect(page.locator(".attempts")).to_contain_text(f"Version {before + 1} is live", timeout=60_000)
    assert stage.version() == before + 1
    assert stage.pebble.orders() == orders + 1, "the interrupted order itself was finished"


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
    expect(page.get_by_role("status").first).to_contain_text("no longer available")
    expect(page.get_by_text("Order: done").or_(page.get_by_text("Renewal: done")).first).to_be_visible()


def test_page_of_an_unknown_job_leads_to_the_site(tmp_path: Path) -> None:
    with running_console(tmp_path / "store") as console:
        console.add_user("anna")
        console.api().send("PUT", f"/api/v1/sites/{SITE}/settings", {"host": SITE})
        client = sign_in_plainly(console)
        answer = client.get(f"/sites/{SITE}/jobs/{'0' * 32}")
        assert (answer.status, answer.headers["Location"]) == (303, f"/sites/{SITE}")
        assert "no longer available" in client.get(f"/sites/{SITE}").text
        assert client.get(f"/sites/nothing.test/jobs/{'0' * 32}").status == 404
