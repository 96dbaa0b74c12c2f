"""The console in Debian's real Chromium: set-up, uploads, an order at a real Pebble, a preflight check, users.

No page may break its content security policy, log an error, or scroll sideways on a phone, and axe-core must find no
serious fault in it, light or dark.
"""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as PlaywrightError

from certstore.control.upkeep import Upkeep
from certstore.model.console.people import Role
from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.acme.workshop import Responder
from tests.certstore.admin.chromium import PHONE, TABLET, WIDE, chromium, sign_in
from tests.certstore.admin.clusters import SECTION, standing_of, write_standing
from tests.certstore.admin.console import PASSWORD, RunningConsole, running_console
from tests.certstore.admin.fifty import filled_console
from tests.certstore.admin.screenshots import (
    PAGES,
    THEMES,
    scene,
    take_conflict,
    take_entrance,
    take_jobs,
    take_uploads,
)
from tests.certstore.renewal.scene import make_settings
from tests.certstore.stores import OTHER, SITE, served
from tests.deadlines import wait_for
from tests.peers import do_without, require_peer
from tests.peers.pebble import Pebble
from tests.running import served_fingerprint

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's source, fetched by npm."""
    npm = str(require_peer("npm"))
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    source = folder / "node_modules/axe-core/axe.min.js"
    if done.returncode != 0 or not source.exists():
        do_without("axe-core (apt install npm, and a registry that npm reaches)")
    return source.read_text()


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store") as running:
        yield running


@contextlib.contextmanager
def browsing(browser: Browser, console: RunningConsole, name: str | None = "anna", **options: Any) -> Iterator[Page]:
    """A signed-in page. At its end the browser's console must have no errors."""
    context = browser.new_context(ignore_https_errors=True, **{"viewport": WIDE, **options})
    context.set_default_timeout(60_000)
    complaints: list[str] = []
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    page = sign_in(context, console.address, name) if name is not None else context.new_page()
    yield page
    context.close()
    # A page that answers 4xx with what is wrong is logged by Chromium as a resource that failed to load.
    assert [each for each in complaints if "the server responded with a status of 4" not in each] == []


def write_pair(folder: Path, issued: Issued) -> list[Path]:
    issued.write_to(folder)
    return [folder / "fullchain.pem", folder / "privkey.pem"]


def test_a_page_that_breaks_its_policy_would_be_noticed(browser: Browser, console: RunningConsole) -> None:
    """The negative control for all other tests here."""
    console.add_user("anna")
    with pytest.raises(AssertionError, match="Content Security Policy"), browsing(browser, console) as page:
        page.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "window.broken = true";
            document.body.append(script);
        }""")


def test_from_set_up_to_a_served_certificate_without_a_shell(
    browser: Browser, console: RunningConsole, ca: CertificateAuthority, tmp_path: Path
) -> None:
    with browsing(browser, console, None) as page:
        page.goto(console.address + console.first_link())
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("Repeat password").fill(PASSWORD)
        page.get_by_role("button", name="Create account").click()
        page.get_by_role("link", name="Add a site").click()
        page.get_by_label("Host").fill(SITE)
        page.get_by_label("From uploaded or dropped files").check()
        page.get_by_role("button", name="Add site").click()
        expect(page.get_by_role("heading", name=SITE)).to_be_visible()

        page.get_by_role("link", name="Get a certificate").click()
        page.get_by_label("Choose files").set_input_files(write_pair(tmp_path / "wrong", ca.issue(OTHER)))
        page.get_by_role("button", name="Check files").click()
        expect(page.get_by_role("heading", name="These files can't be installed")).to_be_visible()
        expect(page.get_by_text("covers no name of this site")).to_be_visible()
        assert served(tmp_path / "store", SITE) is None

        page.get_by_role("link", name="Choose other files").click()
        issued = ca.issue(SITE)
        page.get_by_label("Choose files").set_input_files(write_pair(tmp_path / "right", issued))
        expect(page.locator(".chosen")).to_have_text("fullchain.pem, privkey.pem")
        page.get_by_role("button", name="Check files").click()
        expect(page.get_by_role("heading", name="Ready to install")).to_be_visible()
        page.get_by_role("button", name="Install and serve").click()
        expect(page.get_by_role("status").first).to_contain_text("Version 1 is live")
        assert served(tmp_path / "store", SITE) == issued.fingerprint


def test_files_that_are_dragged_onto_the_page_are_chosen(
    browser: Browser, console: RunningConsole, ca: CertificateAuthority, tmp_path: Path
) -> None:
    console.add_user("anna")
    files = [str(path) for path in write_pair(tmp_path / "dragged", ca.issue("edge.test"))]
    with browsing(browser, console) as page:
        page.goto(f"{console.address}/sites/main/certificate")
        box = page.locator(".drop").bounding_box()
        assert box is not None
        # At the edge of the frame: all of it takes files, not its button alone.
        where = {"x": box["x"] + box["width"] - 4, "y": box["y"] + box["height"] - 4}
        data = {"items": [], "files": files, "dragOperationsMask": 1}
        devtools = page.context.new_cdp_session(page)
        for kind in ("dragEnter", "dragOver", "drop"):
            devtools.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})
        expect(page.locator(".chosen")).to_have_text("fullchain.pem, privkey.pem")
        page.get_by_role("button", name="Check files").click()
        expect(page.get_by_role("heading", name="Ready to install")).to_be_visible()


def test_file_that_can_be_no_certificate_is_not_even_sent(
    browser: Browser, console: RunningConsole, tmp_path: Path
) -> None:
    console.add_user("anna")
    (tmp_path / "big.pem").write_bytes(b"A" * 1_000_001)
    with browsing(browser, console) as page:
        page.goto(f"{console.address}/sites/main/certificate")
        page.get_by_label("Choose files").set_input_files(tmp_path / "big.pem")
        expect(page.locator(".chosen")).to_contain_text("larger than 1 MB")
        page.get_by_role("button", name="Check files").click()
        assert page.url.endswith("/certificate")


def test_order_is_followed_step_by_step_until_the_certificate_is_served(browser: Browser, tmp_path: Path) -> None:
    """The preflight check finds a name that leads nowhere; once that is fixed, a real CA issues."""
    root = tmp_path / "store"
    responder = Responder(Layout(root))
    with contextlib.ExitStack() as stack:
        stack.enter_context(responder.running())
        pebble = stack.enter_context(Pebble(responder.port))
        settings = make_settings(pebble, responder.port)
        console = stack.enter_context(running_console(root, settings, upkeep=Upkeep))
        console.add_user("anna")
        pebble.dns.set_servfail(SITE)
        page = stack.enter_context(browsing(browser, console))
        page.goto(f"{console.address}/sites/new")
        page.get_by_label("Host").fill(SITE)
        page.get_by_label("Order and renew automatically").check()
        page.get_by_role("button", name="Add site").click()
        page.get_by_role("button", name="Preflight check").click()
        page.wait_for_url(re.compile("/jobs/"))
        expect(page.locator(".notice.failing").first).to_contain_text(SITE, timeout=60_000)
        expect(page.locator(".notice.failing").first).to_contain_text("Ask the zone's DNS provider")

        pebble.dns.clear_servfail(SITE)
        page.get_by_role("button", name="Try again").click()
        # No CA on the internet could reach this machine's own address, which a preflight may only doubt: here one can.
        expect(page.locator(".notice.warning").first).to_contain_text("which no CA on the internet", timeout=60_000)
        # Each name's result as it came in.
        expect(page.locator("#steps")).to_contain_text(f"doubtful: {SITE} has the address")
        expect(page.locator(".notice.failing")).to_have_count(0)
        page.get_by_role("link", name="Back to the site").click()
        page.get_by_role("link", name="Get a certificate").click()
        page.get_by_label("Contacts").fill("ops@client-a.test")
        page.get_by_role("button", name="Order now").click()
        expect(page.get_by_text("The new certificate is served")).to_be_visible(timeout=90_000)
        assert page.locator("#steps li").count() >= 3
        fingerprint = served(root, SITE)
        assert fingerprint is not None
        page.get_by_role("link", name="Back to the site").click()
        expect(page.get_by_text("ordered from").first).to_be_visible()
        assert console.audit()[0]["action"] == "cert.order"


def test_open_overview_follows_what_happens_and_searches_while_typing(
    browser: Browser, console: RunningConsole
) -> None:
    console.add_user("anna")
    admin = console.api()
    with browsing(browser, console) as page:
        admin.send("PUT", f"/api/v1/sites/{SITE}/settings", {"host": SITE})
        expect(page.get_by_role("link", name=SITE)).to_be_visible()
        admin.send("PUT", f"/api/v1/sites/{OTHER}/settings", {"host": OTHER})
        expect(page.get_by_role("link", name=OTHER)).to_be_visible()
        page.get_by_placeholder("Search names").press_sequentially("client-b")
        expect(page.get_by_role("link", name=SITE)).to_have_count(0)
        expect(page.get_by_role("link", name=OTHER)).to_be_visible()
        assert "search=" in page.url


def test_rollback_is_one_click(
    browser: Browser, console: RunningConsole, ca: CertificateAuthority, tmp_path: Path
) -> None:
    from certstore.model.certificate.dropped_file import DroppedFile

    console.add_user("anna")
    first, second = ca.issue("mail.install.test"), ca.issue("mail.install.test")
    for each in (first, second):
        console.writer.install_files("main", [DroppedFile("all.pem", each.combined_pem)], source="upload")
    with browsing(browser, console) as page:
        page.goto(f"{console.address}/sites/main")
        page.get_by_role("button", name="Make live: version 2").click()
        expect(page.get_by_role("status").first).to_contain_text("Version 2 is live")
    assert served_fingerprint(console.port, None) == first.fingerprint


def test_domain_administrator_is_shown_the_own_sites_only(browser: Browser, console: RunningConsole) -> None:
    admin = console.api()
    for site in (SITE, OTHER):
        admin.send("PUT", f"/api/v1/sites/{site}/settings", {"host": site})
    console.add_user("bert", Role.DOMAIN, SITE)
    with browsing(browser, console, "bert") as page:
        expect(page.get_by_role("link", name=SITE)).to_be_visible()
        expect(page.get_by_text(OTHER)).to_have_count(0)
        for link in ("Users", "Audit", "Service", "Add a site"):
            expect(page.get_by_role("link", name=link)).to_have_count(0)
        page.goto(f"{console.address}/sites/{OTHER}")
        expect(page.get_by_role("heading", name="Not found")).to_be_visible()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    settings = {
        "listeners": [{"kind": "https", "listen": "127.0.0.1:1"}],
        "acme": {"directory": "https://127.0.0.1:1/directory"},
        "cluster": SECTION,
    }
    with filled_console(tmp_path_factory.mktemp("filled"), settings) as running:
        write_standing(running, standing_of(running))
        yield running


TOO_WIDE = """[...document.querySelectorAll("main .card, main table, main form")]
    .filter((each) => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX !== "auto")
    .map((each) => `${each.tagName} ${each.className}: ${each.scrollWidth} in ${each.clientWidth}`)"""
"""What is wider inside than outside, and can't be scrolled by itself."""


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_phone_and_a_tablet(browser: Browser, filled: RunningConsole, name: str) -> None:
    """Also in cards, which would hide what is too wide for them."""
    with browsing(browser, filled, viewport=PHONE) as page:
        for size in (PHONE, TABLET):
            page.set_viewport_size(size)
            page.goto(filled.address + PAGES[name])
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], size
            wide = page.evaluate(TOO_WIDE)
            assert wide == [], size


def test_chart_says_how_many_certificates_expire(browser: Browser, filled: RunningConsole) -> None:
    with browsing(browser, filled) as page:
        page.goto(filled.address)
        chart = page.locator(".timeline svg").bounding_box()
        counts = page.locator(".timeline text.count")
        assert chart is not None
        assert counts.count() >= 2
        for count in counts.all():
            label = count.locator("xpath=..").get_attribute("aria-label") or ""
            assert f": {count.text_content()} expire" in label
            place = count.bounding_box()
            assert place is not None
            assert chart["y"] <= place["y"], "it is cut off"


@dataclass
class Inspector:
    """Checks a page as the camera takes it: in both themes, and as on a phone."""

    axe: str
    faults: list[str] = field(default_factory=list)

    def take(self, page: Page, name: str) -> None:
        # The page of something under way is loaded anew when that ends, maybe while it is inspected.
        for is_last in (False, False, True):
            try:
                self._look_at(page, name)
            except PlaywrightError as error:
                is_reloaded = "context was destroyed" in error.message or "axe is not defined" in error.message
                if is_last or not is_reloaded:
                    raise
                page.wait_for_load_state()
            else:
                return

    def _look_at(self, page: Page, name: str) -> None:
        page.wait_for_load_state()  # its styles too
        page.evaluate(self.axe)
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            self.faults += [
                f"{name}, {theme}: {each['id']}: {node['html'][:160]}: {node['failureSummary'][:200]}"
                for each in result["violations"]
                if each["impact"] in ("serious", "critical")
                for node in each["nodes"][:3]
            ]
        before = page.viewport_size
        page.set_viewport_size(PHONE)
        widest = page.evaluate("document.documentElement.scrollWidth")
        if widest > PHONE["width"]:
            self.faults.append(f"{name}: {widest} px wide")
        page.set_viewport_size(before or WIDE)


def test_pages_of_unfinished_work_have_no_serious_fault_either(
    browser: Browser, console: RunningConsole, axe: str, tmp_path: Path
) -> None:
    """Set-up, failed sign-in, previews, a conflict of two editors, running, done and failed orders, a check."""
    inspector = Inspector(axe)
    take_entrance(inspector, browser, console)
    with scene(tmp_path / "filled") as (filled, pebble, responder), browsing(browser, filled) as page:
        take_uploads(inspector, page, filled.address, tmp_path)
        take_conflict(inspector, page, filled)
        take_jobs(inspector, page, filled.address, pebble, responder)
    assert inspector.faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault_on_any_page(
    browser: Browser, filled: RunningConsole, axe: str, theme: Literal["light", "dark"]
) -> None:
    faults: list[str] = []
    with browsing(browser, filled, color_scheme=theme) as page:
        for path in PAGES.values():
            page.goto(filled.address + path)
            page.evaluate(axe)
            result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            faults += [
                f"{path}: {each['id']}: {node['html'][:160]}: {node['failureSummary'][:200]}"
                for each in result["violations"]
                if each["impact"] in ("serious", "critical")
                for node in each["nodes"][:3]
            ]
    with browsing(browser, filled, None, color_scheme=theme, viewport=PHONE) as page:
        page.goto(f"{filled.address}/signin")
        page.evaluate(axe)
        result = page.evaluate("axe.run()")
        faults += [each["id"] for each in result["violations"] if each["impact"] in ("serious", "critical")]
    assert faults == []


def test_every_page_works_by_keyboard_to_its_main_action(browser: Browser, filled: RunningConsole) -> None:
    with browsing(browser, filled) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        page.goto(f"{filled.address}{PAGES['certificate']}")
        wait_for(lambda: page.locator("input[type=file]").count() == 1, "the form")
        page.locator("input[type=file]").focus()
        outline = page.locator(".drop").evaluate("node => getComputedStyle(node).outlineStyle")
        assert outline == "solid"
