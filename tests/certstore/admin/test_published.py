"""The console published behind a real edge under its own host, with the settings from `deploy/console`."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import expect
from starlette.types import Receive, Scope, Send

from certstore.admin.http.guard import Guard, Origins
from certstore.admin.http.identity import COOKIE
from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from tests.certificates import CertificateAuthority
from tests.certstore.admin.browser import hidden, try_sign_in
from tests.certstore.admin.chromium import chromium
from tests.certstore.admin.console import PASSWORD, Client
from tests.deadlines import wait_for
from tests.ports import free_port
from tests.running import MAIN_HOST, RunningEdge, Site, running_edge

HOST, ELSEWHERE = "console.edge.test", "elsewhere.edge.test"
DOCUMENTED = Path(__file__).parents[3] / "deploy" / "console"
BALANCER, SOMEBODY, ANOTHER = "127.0.0.9", "127.0.0.2", "127.0.0.3"


def documented(port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """`admin` of edge.yaml and the console's site.yaml, as documented, with this test's names and port."""
    page = (DOCUMENTED / "README.md").read_text()
    found = re.search(r"```yaml\n# store/domains/console.example.org/site.yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    texts = [found[1], (DOCUMENTED / "edge.yaml").read_text()]
    for old, new in {"console.example.org": HOST, "mail.example.org": MAIN_HOST, "8443": str(port)}.items():
        texts = [text.replace(old, new) for text in texts]
    site, settings = map(yaml.safe_load, texts)
    return settings["admin"], site


@pytest.fixture
def edge(tmp_path: Path, ca: CertificateAuthority) -> Iterator[RunningEdge]:
    port = free_port()
    (tmp_path / "ca.pem").write_bytes(ca.root_pem)
    admin, site = documented(port)
    upstream = site["upstream"] | {"ca_file": "ca.pem"}
    settings = {"listeners": [{"kind": "https"}], "trusted_proxies": [f"{BALANCER}/32"], "admin": admin}
    sites = {
        "main": Site(ca.issue(MAIN_HOST)),
        HOST: Site(ca.issue(HOST), site | {"certificate": "file", "upstream": upstream}),
        ELSEWHERE: Site(ca.issue(ELSEWHERE), {"host": ELSEWHERE, "upstream": upstream}),
    }
    with running_edge(tmp_path, settings, sites) as running:
        yield running


def set_up_link(edge: RunningEdge) -> str:
    """The path of the set-up link in the log."""
    found: list[str] = wait_for(lambda: re.findall(r"https://\S+(/setup\?link=\S+)", edge.stderr), "the set-up link")
    return found[0]


def client_of(edge: RunningEdge, source: str = SOMEBODY, name: str = HOST) -> Client:
    return Client(edge.port("https"), name=name, source=source)


def signed_up(edge: RunningEdge, source: str = SOMEBODY) -> Client:
    client, link = client_of(edge, source), set_up_link(edge)
    fields = hidden(client.get(link)) | {"name": "anna", "password": PASSWORD, "again": PASSWORD}
    assert client.post_form("/setup", fields).status == 303
    return client


def audit(edge: RunningEdge) -> list[dict[str, Any]]:
    """Newest first."""
    lines = (Layout(edge.store).admin / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in reversed(lines)]


@pytest.mark.peer
@pytest.mark.slow
def test_administrator_sets_up_and_signs_in_again_in_a_browser(edge: RunningEdge) -> None:
    link, origin = set_up_link(edge), f"https://{HOST}"
    with chromium(f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{edge.port('https')}") as browser:
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(origin + link)
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("Repeat password").fill(PASSWORD)
        page.get_by_role("button", name="Create account").click()
        expect(page.get_by_role("link", name=HOST)).to_be_visible()
        cookie = next(each for each in context.cookies() if each["name"] == COOKIE)
        assert (cookie["domain"], cookie["secure"], cookie["httpOnly"]) == (HOST, True, True)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        # Server-sent events come through: a site that is added elsewhere appears by itself.
        expect(page.get_by_role("link", name=HOST)).to_be_visible()
        page.get_by_role("link", name="Add a site").click()
        page.get_by_label("Host").fill("new.edge.test")
        page.get_by_label("Use the main certificate").check()
        overview = context.new_page()
        overview.goto(origin)
        page.get_by_role("button", name="Add site").click()
        expect(overview.get_by_role("link", name="new.edge.test")).to_be_visible()


def test_form_of_another_origin_is_refused_through_the_edge(edge: RunningEdge) -> None:
    client = signed_up(edge)
    fields = {"csrf": hidden(client.get("/profile"))["csrf"], "host": "new.edge.test", "certificate": "main"}
    for origin in ("https://evil.test", f"https://{MAIN_HOST}", f"https://{ELSEWHERE}:{edge.port('https')}"):
        assert client.post_form("/sites/new", fields, Origin=origin).status == 403, origin
    assert client.post_form("/sites/new", fields | {"csrf": "0" * 64}).status == 403
    assert client.post_form("/sites/new", fields, Origin=f"https://{HOST}:{client.port}").status == 303


def test_console_does_not_answer_under_the_name_of_another_site(edge: RunningEdge) -> None:
    link = set_up_link(edge)
    assert client_of(edge, name=ELSEWHERE).get(link).status == 421
    assert client_of(edge, name=ELSEWHERE).get("/api/v1/me").status == 421
    assert client_of(edge).get(link).status == 200


def test_audit_log_names_the_real_client_and_believes_none_about_itself(edge: RunningEdge) -> None:
    client = signed_up(edge)
    assert (audit(edge)[0]["action"], audit(edge)[0]["from"]) == ("set_up", SOMEBODY)
    client.post_form("/sites/new", {"csrf": "x"}, X_Forwarded_For="203.0.113.9")
    try_sign_in(client_of(edge, ANOTHER), "anna", "guessed")
    assert audit(edge)[0]["from"] == ANOTHER

    def failed_from(source: str, claim: str) -> str:
        guesser = client_of(edge, source)
        fields = hidden(guesser.get("/signin")) | {"name": "anna", "password": "guessed"}
        guesser.post_form("/signin", fields, X_Forwarded_For=claim)
        return str(audit(edge)[0]["from"])

    assert failed_from(SOMEBODY, "203.0.113.9") == SOMEBODY
    assert failed_from(BALANCER, "203.0.113.9") == "203.0.113.9"


def test_who_guesses_waits_and_nobody_else_behind_the_edge_does(edge: RunningEdge) -> None:
    signed_up(edge, ANOTHER)
    # Names that nobody has: what counts up is the address alone.
    guesses = [try_sign_in(client_of(edge), f"nobody{number}", "guessed").status for number in range(5)]
    assert guesses[-1] == 429
    assert try_sign_in(client_of(edge), "anna", PASSWORD).status == 429
    assert try_sign_in(client_of(edge, ANOTHER), "anna", PASSWORD).status == 303


@pytest.mark.parametrize(
    ("peer", "host", "forwarded", "expected"),
    [
        pytest.param("127.0.0.1", HOST, "203.0.113.9", "203.0.113.9", id="the edge on this machine is believed"),
        pytest.param("10.0.0.7", HOST, "203.0.113.9", "203.0.113.9", id="a trusted proxy is believed"),
        pytest.param("192.0.2.1", HOST, "203.0.113.9", "192.0.2.1", id="anybody else is not"),
        pytest.param("127.0.0.1", "localhost", "203.0.113.9", "127.0.0.1", id="nor is the edge under another name"),
        pytest.param("127.0.0.1", HOST, "", "127.0.0.1", id="nothing said"),
        pytest.param("127.0.0.1", HOST, "198.51.100.1, 203.0.113.9, 10.0.0.7", "203.0.113.9", id="behind a balancer"),
        pytest.param("127.0.0.1", HOST, "198.51.100.1, 203.0.113.9", "203.0.113.9", id="what the client itself sent"),
        pytest.param("127.0.0.1", HOST, "unknown", "127.0.0.1", id="no address"),
        pytest.param("127.0.0.1", HOST, "evil, 10.0.0.7", "10.0.0.7", id="no address behind a balancer"),
    ],
)
def test_client_address(peer: str, host: str, forwarded: str, expected: str) -> None:
    settings = Settings.model_validate({"admin": {"public_host": HOST}, "trusted_proxies": ["10.0.0.0/8"]})
    assert Origins.of(settings, lambda: ()).client_address(peer, host, forwarded) == expected


def test_what_a_client_claims_in_a_separate_line_is_not_believed() -> None:
    """HAProxy, for example, adds a field line after the client's."""
    settings = Settings.model_validate({"admin": {"public_host": HOST}})
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["state"]["address"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    said = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-for", b"198.51.100.1")]
    scope = {"type": "http", "path": "/", "client": ("127.0.0.1", 1), "headers": [(b"host", HOST.encode()), *said]}
    asyncio.run(Guard(app, Origins.of(settings, lambda: ()))(scope, nothing, nothing))
    assert seen == ["198.51.100.1"]
