"""Pictures of every page with fifty sites in all states, taken by Debian's Chromium.

    python -m tests.certstore.admin.screenshots FOLDER

Light and dark, wide and as on a phone. Also checks nothing: it is for people to look at.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from certstore.service.caretaker import Caretaker
from tests.certificates import CertificateAuthority
from tests.certstore.admin.console import PASSWORD, RunningConsole, running_console
from tests.certstore.admin.fifty import NAMES, fill, make_caretaker
from tests.peers import require_peer

WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
FAILING, SUGGESTED, ENDING = (f"webmail.{NAMES[number]}.test" for number in (0, 8, 2))


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # The sandbox needs user namespaces that containers and root do not have.
        browser = playwright.chromium.launch(executable_path=require_peer("chromium"), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def sign_in(context: BrowserContext, console: RunningConsole, name: str = "anna") -> Page:
    page = context.new_page()
    page.goto(f"{console.address}/signin")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{console.address}/")
    return page


@contextlib.contextmanager
def filled_console(folder: Path, settings: dict[str, Any] | None = None) -> Iterator[RunningConsole]:
    caretakers: list[Caretaker] = []

    def make(*args: Any) -> Caretaker:
        caretakers.append(make_caretaker(*args))
        return caretakers[0]

    with running_console(folder / "store", settings, caretaker=make) as console:
        fill(console, caretakers[0], CertificateAuthority("Example Trust"))
        console.add_user("anna")
        yield console


def take_all(folder: Path) -> None:
    settings = {
        "listeners": [{"kind": "http", "listen": "0.0.0.0:80"}, {"kind": "https", "listen": "0.0.0.0:443"}],
        "acme": {"directory": "https://127.0.0.1:1/directory", "contact": ["admin@install.test"]},
        "notify": {"to": ["admin@install.test"], "from": "edge@install.test", "smtp": {"host": "mail.install.test"}},
    }
    with tempfile.TemporaryDirectory() as base, filled_console(Path(base), settings) as console, chromium() as browser:
        for theme in THEMES:
            for form, size in (("wide", WIDE), ("phone", PHONE)):
                context = browser.new_context(
                    viewport=size,  # type: ignore[arg-type]
                    color_scheme=theme,
                    ignore_https_errors=True,
                    device_scale_factor=1 if form == "wide" else 2,
                )
                page = context.new_page()
                page.goto(f"{console.address}/signin")
                page.screenshot(path=folder / f"signin-{theme}-{form}.png")
                page.close()
                page = sign_in(context, console)
                for name, path in PAGES.items():
                    page.goto(console.address + path)
                    page.screenshot(path=folder / f"{name}-{theme}-{form}.png", full_page=True)
                context.close()


THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PAGES = {
    "overview": "/",
    "site": f"/sites/{SUGGESTED}",
    "site-failing": f"/sites/{FAILING}",
    "certificate": f"/sites/{ENDING}/certificate",
    "settings": f"/sites/{ENDING}/settings",
    "new": "/sites/new",
    "remove": f"/sites/{ENDING}/remove",
    "service": "/service",
    "people": "/people",
    "profile": "/profile",
    "audit": "/audit",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    take_all(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
