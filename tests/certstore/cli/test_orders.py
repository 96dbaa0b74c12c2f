"""The commands that order, renew, check, warn and take over, against a real Pebble; without a control process."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from certstore.model.layout import Layout
from certstore.store.writer import Store
from tests.certificates import CertificateAuthority
from tests.certstore.acme.workshop import Responder
from tests.certstore.cli.command import Ran, certedge
from tests.certstore.cli.test_import_sources import certbot_account, certbot_lineage
from tests.certstore.renewal.care import make_settings
from tests.peers.mail_server import MailServer
from tests.peers.pebble import Pebble

pytestmark = pytest.mark.peer
CA = CertificateAuthority()


@dataclass
class Desk:
    folder: Path
    responder: Responder
    pebble: Pebble

    def run(self, *words: str | Path, trusted: Path | None = None) -> Ran:
        """`trusted` holds the roots that the command trusts instead of the system's."""
        if trusted is None:
            return certedge(self.folder, *words)
        return certedge(self.folder, *words, SSL_CERT_FILE=str(trusted))

    @property
    def store(self) -> Store:
        return Store(Layout(self.folder / "store"))

    def configure(self, **changes: object) -> None:
        facts = make_settings(self.pebble, self.responder.port) | changes
        (self.folder / "edge.yaml").write_text(yaml.safe_dump(facts))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    layout = Layout(tmp_path / "store")
    layout.root.mkdir()
    responder = Responder(layout)
    with responder.running(), Pebble(responder.port) as pebble:
        made = Desk(tmp_path, responder, pebble)
        made.configure()
        yield made
        assert not layout.challenges.exists() or list(layout.challenges.iterdir()) == []


def add(desk: Desk, host: str, *additional: str, certificate: str = "acme") -> None:
    names = [word for name in additional for word in ("--name", name)]
    ran = desk.run("site", "add", host, "--certificate", certificate, *names)
    assert ran.code == 0, ran.err


def test_certificate_is_ordered_by_one_command(desk: Desk) -> None:
    add(desk, "a.test")
    ran = desk.run("cert", "request", "a.test")
    assert ran.code == 0, ran.err
    assert "version 1 of a.test" in ran.out
    assert "note: it is served once the service runs (certedge run)" in ran.out
    live = desk.store.live_version("a.test")
    assert live is not None
    assert live.dns_names == ("a.test",)
    again = desk.run("cert", "request", "a.test", "--json")
    assert (again.json["outcome"], again.json["version"]) == ("done", 2)


def test_site_that_does_not_say_acme_is_not_ordered_for(desk: Desk) -> None:
    add(desk, "a.test", certificate="main")
    ran = desk.run("cert", "request", "a.test")
    assert ran.code == 2
    assert "certedge site set a.test --certificate acme" in ran.err
    assert desk.pebble.orders() == 0


def test_failed_order_says_cause_remedy_and_next_try(desk: Desk) -> None:
    desk.responder.unhelpful = {"a.test"}
    add(desk, "a.test")
    ran = desk.run("cert", "request", "a.test")
    assert ran.code == 1
    assert "our own listener does not answer" in ran.err
    assert "to do:" in ran.err
    assert "tried again by itself" in ran.err
    assert "if the service runs then (certedge run)" in ran.err
    as_json = desk.run("cert", "request", "a.test", "--json")
    assert as_json.code == 1
    assert as_json.json["cause"] == "own_listener"


def test_failed_order_is_a_problem_in_status_until_one_succeeds(desk: Desk) -> None:
    desk.responder.unhelpful = {"a.test"}
    add(desk, "a.test")
    desk.run("cert", "request", "a.test")
    assert desk.run("site", "set", "a.test", "--contact", "ops@a.test").code == 0
    ran = desk.run("status")
    assert ran.code == 3
    assert "a.test: the order failed (own_listener; next try 2" in ran.out
    assert "order_failed" in [each["code"] for each in desk.run("site", "show", "a.test", "--json").json["problems"]]
    desk.responder.unhelpful = set()
    assert desk.run("cert", "request", "a.test").code == 0
    assert "order_failed" not in desk.run("status").out


def test_unknown_site_is_said(desk: Desk) -> None:
    said = desk.run("cert", "request", "nowhere.test").err
    assert "there is no site nowhere.test" in said
    assert "a new one: certedge site add" in said


def test_renew_leaves_alone_what_is_not_due_and_force_does_not(desk: Desk) -> None:
    add(desk, "a.test")
    add(desk, "b.test")
    add(desk, "file.test", certificate="file")
    first = desk.run("renew", "--json")
    assert first.code == 0, first.err
    assert {each["site"]: each["outcome"] for each in first.json["sites"]} == {"a.test": "done", "b.test": "done"}
    second = desk.run("renew", "--json")
    assert {each["outcome"] for each in second.json["sites"]} == {"not_due"}
    assert re.search(r"a\.test +not due +not due before \d{4}-\d\d-\d\d \d\d:\d\d UTC", desk.run("renew").out)
    assert desk.pebble.orders() == 2
    third = desk.run("renew", "a.test", "--force")
    assert third.code == 0, third.err
    assert desk.pebble.orders() == 3


def test_preflight_orders_nothing_and_ends_with_three_where_it_finds_something(desk: Desk) -> None:
    add(desk, "a.test", "broken.a.test")
    desk.pebble.dns.set_servfail("broken.a.test")
    ran = desk.run("preflight", "a.test")
    assert ran.code == 3
    assert "FATAL: the DNS answers SERVFAIL for broken.a.test" in ran.out
    facts = desk.run("preflight", "a.test", "--json").json
    assert "dns_server_failure" in {each["code"] for each in facts["findings"]}
    assert desk.pebble.orders() == 0


def test_preflight_says_which_step_towards_the_ca_fails(desk: Desk) -> None:
    add(desk, "a.test")
    desk.pebble.stop()
    ran = desk.run("preflight", "a.test", "--json")
    assert ran.code == 3
    assert "directory_tcp" in {each["code"] for each in ran.json["findings"]}


def test_account_is_registered_shown_and_made_once(desk: Desk) -> None:
    acme = make_settings(desk.pebble, desk.responder.port)["acme"]
    desk.configure(acme=acme | {"agree_to_terms": False})
    assert desk.run("account", "show", "--json").json["accounts"][0]["url"] is None
    refused = desk.run("account", "register")
    assert refused.code == 1
    assert "terms of service" in refused.err
    agreed = desk.run("account", "register", "--agree-to-terms", "--json")
    assert agreed.code == 0, agreed.err
    shown = desk.run("account", "show", "--json")
    assert shown.json == agreed.json
    assert shown.json["accounts"][0]["contact"] == ["admin@example.org"]
    add(desk, "a.test")
    assert desk.run("cert", "request", "a.test").code == 0
    assert desk.pebble.accounts() == 1


def test_test_mail_reaches_the_mailbox_or_says_why_not(desk: Desk, tmp_path: Path) -> None:
    with MailServer(tmp_path) as server:
        desk.configure(notify=server.settings())
        ran = desk.run("notify", "test", trusted=server.ca_file)
        assert ran.code == 0, ran.err
        assert "admin@example.org" in ran.out
        assert len(server.messages) == 1
        server.refuse = {"nobody@example.org"}
        refused = desk.run("notify", "test", "--to", "nobody@example.org", trusted=server.ca_file)
        assert refused.code == 1
        assert "there is nobody of that name" in refused.err
        odd = desk.run("notify", "test", "--to", "a@example.org\nBcc: b@example.org", trusted=server.ca_file)
        assert odd.code == 2
        assert "expected one plain mail address" in odd.err
    down = desk.run("notify", "test")
    assert down.code == 1
    assert "to do: correct notify.smtp" in down.err


def test_notify_without_a_mail_server_says_what_to_set(desk: Desk) -> None:
    ran = desk.run("notify", "test", "--to", "a@example.org")
    assert ran.code == 1
    assert "notify.smtp is not set" in ran.err


def test_certbot_is_taken_over_and_nothing_is_ordered_before_its_time(desk: Desk, tmp_path: Path) -> None:
    certbot = tmp_path / "letsencrypt"
    issued = CA.issue("a.test", "www.a.test", not_after=datetime.now(UTC) + timedelta(days=80))
    certbot_lineage(certbot, "a.test", issued)
    directory = desk.pebble.directory.removeprefix("https://")
    url = certbot_account(certbot, directory=directory)
    plan = desk.run("import", "--certbot", certbot, "--dry-run")
    assert plan.code == 0, plan.err
    assert "a.test" in plan.out
    assert url in plan.out
    assert not Layout(tmp_path / "store").live("a.test").exists()
    done = desk.run("import", "--certbot", certbot)
    assert "note: it is served once the service runs (certedge run)" in done.out
    assert done.code == 0, done.err + done.out
    live = desk.store.live_version("a.test")
    assert live is not None
    assert (live.fingerprint, live.source) == (issued.fingerprint, "import:certbot")
    site = yaml.safe_load(Layout(tmp_path / "store").site_yaml("a.test").read_text())
    assert (site["certificate"], site["additional_names"]) == ("acme", ["www.a.test"])
    account = desk.run("account", "show", "--json").json["accounts"][0]
    assert account["url"] == url
    renewed = desk.run("renew", "--json")
    assert [each["outcome"] for each in renewed.json["sites"]] == ["not_due"]
    assert desk.pebble.orders() == 0


def test_import_twice_changes_nothing_and_keeps_our_account(desk: Desk, tmp_path: Path) -> None:
    certbot = tmp_path / "letsencrypt"
    certbot_lineage(certbot, "a.test", CA.issue("a.test"))
    certbot_account(certbot, directory=desk.pebble.directory.removeprefix("https://"))
    assert desk.run("account", "register").code == 0
    ours = desk.run("account", "show", "--json").json
    for _ in range(2):
        ran = desk.run("import", "--certbot", certbot, "--json")
        assert ran.code == 0, ran.err
    assert desk.run("account", "show", "--json").json == ours
    assert [version.number for version in desk.store.versions("a.test")] == [1]


def test_bluemind_main_certificate_becomes_ours(desk: Desk, tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    main = CA.issue("mail.provider.test", "imap.provider.test")
    (certs / "bm_cert.pem").write_bytes(main.combined_pem)
    (certs / "bm_cert-a.test.pem").write_bytes(CA.issue("webmail.a.test").combined_pem)
    ran = desk.run("import", "--bluemind", certs)
    assert ran.code == 0, ran.err + ran.out
    live = desk.store.live_version("main")
    assert live is not None
    assert live.fingerprint == main.fingerprint
    explained = json.loads(desk.run("explain", "webmail.a.test", "--json").out)
    assert (explained["certificate"], explained["reason"]) == ("webmail.a.test", "exact_name")


def test_import_needs_one_source_and_says_what_is_not_there(desk: Desk, tmp_path: Path) -> None:
    assert desk.run("import").code == 2
    missing = desk.run("import", "--certbot", tmp_path / "nowhere")
    assert missing.code == 1
    assert "No such file" in missing.err
