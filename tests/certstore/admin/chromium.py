"""Debian's real Chromium, driven by Playwright: started once, with pages of a console in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from tests.certstore.admin.console import PASSWORD
from tests.peers import require_peer

WIDE: ViewportSize = {"width": 1280, "height": 860}
TABLET: ViewportSize = {"width": 768, "height": 1024}
PHONE: ViewportSize = {"width": 360, "height": 740}

expect.set_options(timeout=60_000)  # its own 5 seconds are too few on a busy machine


@contextlib.contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """`arguments` go to the browser's command line."""
    with sync_playwright() as playwright:
        # The sandbox needs user namespaces that containers and root do not have.
        browser = playwright.chromium.launch(
            executable_path=require_peer("chromium"), args=["--no-sandbox", *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()


def sign_in(context: BrowserContext, address: str, name: str = "anna") -> Page:
    page = context.new_page()
    page.goto(f"{address}/signin")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")
    return page
