"""Pictures of every page with fifty sites in all states, taken by Debian's Chromium.

    python -m tests.certstore.admin.screenshots FOLDER

Light and dark, wide and 360 px narrow. Orders and preflights are real ones, at a Pebble. It checks nothing: the
pictures are for people to look at. Those whose names begin with `readme-` are the ones in `deploy/console`.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from playwright.sync_api import Browser, Page, ViewportSize

from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority
from tests.certstore.acme.workshop import Responder
from tests.certstore.admin.chromium import PHONE, WIDE, chromium, sign_in
from tests.certstore.admin.console import RunningConsole, running_console
from tests.certstore.admin.fifty import NAMES, filled_console
from tests.peers.pebble import Pebble

FAILING, SUGGESTED, ENDING, REFUSED, UNCOVERED, FORGETFUL, RENEWED = (
    f"webmail.{NAMES[number]}.test" for number in (0, 8, 2, 6, 3, 4, 38)
)
PAGES = {
    "overview": "/",
    "overview-nothing-found": "/?search=nothing-at-all",
    "site": f"/sites/{SUGGESTED}",
    "site-failing": f"/sites/{FAILING}",
    "site-refused-drop": f"/sites/{REFUSED}",
    "site-not-covered": f"/sites/{UNCOVERED}",
    "site-renewed": f"/sites/{RENEWED}",
    "site-main": "/sites/main",
    "certificate": f"/sites/{ENDING}/certificate",
    "settings": f"/sites/{ENDING}/settings",
    "new": "/sites/new",
    "remove": f"/sites/{ENDING}/remove",
    "service": "/service",
    "nodes": "/nodes",
    "people": "/people",
    "profile": "/profile",
    "audit": "/audit",
    "problem": "/sites/nothing.test",
}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

README: dict[str, tuple[Literal["light", "dark"], ViewportSize]] = {
    "overview": ("light", {"width": 1180, "height": 900}),
    "site-renewed": ("dark", {"width": 1180, "height": 900}),
    "job-preflight": ("light", {"width": 360, "height": 860}),
}


class Visitor(Protocol):
    """Gets each page in the state that it is in."""

    def take(self, page: Page, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Camera:
    folder: Path

    def take(self, page: Page, name: str) -> None:
        """Four pictures of the page as it is, without loading it again."""
        for theme in THEMES:
            for form, size in (("wide", WIDE), ("phone", PHONE)):
                page.emulate_media(color_scheme=theme)
                page.set_viewport_size(size)
                page.screenshot(path=self.folder / f"{name}-{theme}-{form}.png", full_page=True)
        page.set_viewport_size(WIDE)
        if name in README:
            theme, size = README[name]
            page.emulate_media(color_scheme=theme)
            page.set_viewport_size(size)
            page.screenshot(path=self.folder / f"readme-{name}.png")
            page.set_viewport_size(WIDE)


def take_entrance(camera: Visitor, browser: Browser, console: RunningConsole) -> None:
    """A new installation: set-up, and an overview with nothing but a self-signed main certificate."""
    page = browser.new_page(ignore_https_errors=True)
    page.goto(console.address + console.first_link())
    camera.take(page, "setup")
    page.goto(f"{console.address}/setup?link=used-before")
    camera.take(page, "setup-used")
    page.goto(f"{console.address}/signin")
    camera.take(page, "signin")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    camera.take(page, "signin-wrong")
    page.close()
    console.add_user("anna")
    page = sign_in(browser.new_context(ignore_https_errors=True), console.address)
    camera.take(page, "overview-new")
    page.context.close()


def take_pages(camera: Visitor, page: Page, address: str) -> None:
    for name, path in PAGES.items():
        page.goto(address + path)
        if path.startswith("/sites/webmail") and path.count("/") == 2:
            page.get_by_text("From a handshake with each listener").wait_for()
        camera.take(page, name)


def take_uploads(camera: Visitor, page: Page, address: str, folder: Path) -> None:
    ca = CertificateAuthority("Example Trust")
    good = ca.issue(ENDING, *(f"{word}.{NAMES[2]}.test" for word in ("autodiscover", "caldav")))
    for name, issued in {"preview": good, "preview-refused": ca.issue("webmail.other.test")}.items():
        issued.write_to(folder / name)
        page.goto(f"{address}/sites/{ENDING}/certificate")
        files = [folder / name / "fullchain.pem", folder / name / "privkey.pem"]
        page.get_by_label("Choose files").set_input_files(files)
        page.get_by_role("button", name="Check files").click()
        page.get_by_role("heading", name=re.compile("Ready to install|can't be installed")).wait_for()
        camera.take(page, name)


def take_conflict(camera: Visitor, page: Page, console: RunningConsole) -> None:
    page.goto(f"{console.address}/sites/{ENDING}/settings")
    settings = {"host": ENDING, "certificate": "file", "contact": ["bert@client.test"]}
    console.api().send("PUT", f"/api/v1/sites/{ENDING}/settings", settings)
    page.get_by_label("Contacts").fill("anna@client.test")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Current settings").wait_for()
    camera.take(page, "settings-conflict")


def take_jobs(camera: Visitor, page: Page, address: str, pebble: Pebble, responder: Responder) -> None:
    """A running order, a finished one, and one that the CA refused; a preflight check with findings."""
    page.goto(f"{address}/sites/{SUGGESTED}")
    page.get_by_role("button", name="Order now").click()
    page.locator("#steps li").nth(2).wait_for()
    camera.take(page, "job-running")
    page.get_by_text("The new certificate is served").wait_for(timeout=90_000)
    camera.take(page, "job-done")
    responder.unhelpful.add(FORGETFUL)
    page.goto(f"{address}/sites/{FORGETFUL}/certificate")
    page.get_by_role("button", name="Order now").click()
    page.get_by_text("No certificate was issued").or_(page.get_by_text("Could not start")).wait_for(timeout=90_000)
    camera.take(page, "job-failed")
    pebble.dns.set_servfail(FAILING)
    page.goto(f"{address}/sites/{FAILING}")
    page.get_by_role("button", name="Preflight check").click()
    page.locator(".notice.failing").first.wait_for(timeout=90_000)
    camera.take(page, "job-preflight")


@contextlib.contextmanager
def scene(base: Path) -> Iterator[tuple[RunningConsole, Pebble, Responder]]:
    """Fifty sites, and a CA that takes some seconds for a validation, as real ones do."""
    with contextlib.ExitStack() as stack:
        responder = stack.enter_context(Responder(Layout(base / "store")).running())
        slow = {"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "4"}
        pebble = stack.enter_context(Pebble(responder.port, environment=slow))
        settings: dict[str, Any] = {
            "listeners": [{"kind": "http", "listen": f"127.0.0.1:{responder.port}"}],
            "acme": {
                "directory": pebble.directory,
                "ca_file": str(pebble.ca_file),
                "agree_to_terms": True,
                "contact": ["admin@install.test"],
                "resolver": pebble.dns.address,
            },
            "notify": {
                "to": ["admin@install.test"],
                "from": "edge@install.test",
                "smtp": {"host": "mail.install.test"},
            },
        }
        yield stack.enter_context(filled_console(base, settings)), pebble, responder


def take_all(folder: Path) -> None:
    camera = Camera(folder)
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        base = Path(name)
        with running_console(base / "new" / "store") as console:
            take_entrance(camera, browser, console)
        with scene(base / "filled") as (console, pebble, responder):
            page = sign_in(browser.new_context(ignore_https_errors=True, viewport=WIDE), console.address)
            take_pages(camera, page, console.address)
            take_uploads(camera, page, console.address, base)
            take_conflict(camera, page, console)
            take_jobs(camera, page, console.address, pebble, responder)
            page.context.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    take_all(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
