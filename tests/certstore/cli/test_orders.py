"""The commands that order, renew, check, warn and import, against a real Pebble; without a control process."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from certstore.model.layout import Layout
from certstore.store.reader import Store
from tests.certificates import CertificateAuthority
from tests.certstore.acme.workshop import Responder
from tests.certstore.cli.command import Ran, certedge
from tests.certstore.cli.test_import_sources import certbot_account, certbot_lineage
from tests.certstore.renewal.scene import make_settings
from tests.peers.mail_server import MailServer
from tests.peers.pebble import Pebble

pytestmark = pytest.mark.peer
CA = CertificateAuthority()


@dataclass
class Actions:
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
def actions(tmp_path: Path) -> Iterator[Actions]:
    layout = Layout(tmp_path / "store")
    layout.root.mkdir()
    responder = Responder(layout)
    with responder.running(), Pebble(responder.port) as pebble:
        made = Actions(tmp_path, responder, pebble)
        made.configure()
        yield made
        assert not layout.challenges.exists() or list(layout.challenges.iterdir()) == []


def add(actions: Actions, host: str, *additional: str, certificate: str = "acme") -> None:
    names = [word for name in additional for word in ("--name", name)]
    ran = actions.run("site", "add", host, "--certificate", certificate, *names)
    assert ran.code == 0, ran.err


def test_certificate_is_ordered_by_one_command(actions: Actions) -> None:
    add(actions, "a.test")
    ran = actions.run("cert", "request", "a.test")
    assert ran.code == 0, ran.err
    assert "version 1 of a.test" in ran.out
    assert "note: the certificate is served once the service runs (certedge run)" in ran.out
    live = actions.store.live_version("a.test")
    assert live is not None
    assert live.dns_names == ("a.test",)
    again = actions.run("cert", "request", "a.test", "--json")
    assert (again.json["outcome"], again.json["version"]) == ("done", 2)


def test_nothing_is_ordered_for_a_site_without_certificate_acme(actions: Actions) -> None:
    add(actions, "a.test", certificate="main")
    ran = actions.run("cert", "request", "a.test")
    assert ran.code == 2
    assert "certedge site set a.test --certificate acme" in ran.err
    assert actions.pebble.orders() == 0


def test_a_node_whose_service_is_stopped_orders_only_if_you_insist(actions: Actions) -> None:
    """It can't ask the other nodes of its cluster."""
    add(actions, "a.test")
    engine = {"engine": ["https://127.0.0.1:1"], "ca_file": "ca.pem", "client_cert": "client.pem"}
    actions.configure(cluster=engine)
    refused = actions.run("cert", "request", "a.test")
    assert refused.code != 0
    assert "the service does not run on this node, and another node may be ordering" in refused.err
    assert actions.pebble.orders() == 0
    assert actions.run("cert", "request", "a.test", "--detached").code == 0
    assert actions.pebble.orders() == 1


def test_failed_order_says_cause_remedy_and_next_try(actions: Actions) -> None:
    actions.responder.unhelpful = {"a.test"}
    add(actions, "a.test")
    ran = actions.run("cert", "request", "a.test")
    assert ran.code == 1
    assert "this edge's own port 80 listener does not answer" in ran.err
    assert "to do:" in ran.err
    assert "the next automatic attempt is at" in ran.err
    assert "if the service runs then (certedge run)" in ran.err
    as_json = actions.run("cert", "request", "a.test", "--json")
    assert as_json.code == 1
    assert as_json.json["cause"] == "own_listener"


def test_failed_order_is_a_problem_in_status_until_one_succeeds(actions: Actions) -> None:
    actions.responder.unhelpful = {"a.test"}
    add(actions, "a.test")
    actions.run("cert", "request", "a.test")
    assert actions.run("site", "set", "a.test", "--contact", "ops@a.test").code == 0
    ran = actions.run("status")
    assert ran.code == 3
    assert "a.test: the order failed (own_listener; next attempt 2" in ran.out
    assert "order_failed" in [each["code"] for each in actions.run("site", "show", "a.test", "--json").json["problems"]]
    actions.responder.unhelpful = set()
    assert actions.run("cert", "request", "a.test").code == 0
    assert "order_failed" not in actions.run("status").out


def test_an_unknown_site_is_reported(actions: Actions) -> None:
    said = actions.run("cert", "request", "nowhere.test").err
    assert "there is no site nowhere.test" in said
    assert "a new one: certedge site add" in said


def test_renew_leaves_alone_what_is_not_due_and_force_does_not(actions: Actions) -> None:
    add(actions, "a.test")
    add(actions, "b.test")
    add(actions, "file.test", certificate="file")
    first = actions.run("renew", "--json")
    assert first.code == 0, first.err
    assert {each["site"]: each["outcome"] for each in first.json["sites"]} == {"a.test": "done", "b.test": "done"}
    second = actions.run("renew", "--json")
    assert {each["outcome"] for each in second.json["sites"]} == {"not_due"}
    assert re.search(r"a\.test +not due +not due before \d{4}-\d\d-\d\d \d\d:\d\d UTC", actions.run("renew").out)
    assert actions.pebble.orders() == 2
    third = actions.run("renew", "a.test", "--force")
    assert third.code == 0, third.err
    assert actions.pebble.orders() == 3


def test_preflight_orders_nothing_and_ends_with_three_where_it_finds_something(actions: Actions) -> None:
    add(actions, "a.test", "broken.a.test")
    actions.pebble.dns.set_servfail("broken.a.test")
    ran = actions.run("preflight", "a.test")
    assert ran.code == 3
    assert "FATAL: the DNS answered SERVFAIL for broken.a.test" in ran.out
    facts = actions.run("preflight", "a.test", "--json").json
    assert "dns_server_failure" in {each["code"] for each in facts["findings"]}
    assert actions.pebble.orders() == 0


def test_preflight_and_explain_say_how_a_name_is_proven_and_why(actions: Actions) -> None:
    add(actions, "a.test", "gone.a.test")
    actions.pebble.dns.set_servfail("gone.a.test")
    facts = actions.run("preflight", "a.test", "--json").json
    ways = {each["name"]: (each["way"], each["why"]) for each in facts["ways"]}
    assert ways["a.test"][0] == "http-01"
    assert "no CA on the internet can reach" in ways["a.test"][1]
    assert ways["gone.a.test"][0] == ""
    shown = " ".join(actions.run("preflight", "a.test").out.split())
    assert "name proven by why" in shown
    assert re.search(r"gone\.a\.test none no way: http-01", shown)
    assert "proven_by" not in actions.run("explain", "a.test", "--json").json, "nothing was ordered yet"
    actions.pebble.dns.clear_servfail("gone.a.test")
    ran = actions.run("cert", "request", "a.test")
    assert ran.code == 0, ran.err
    explained = actions.run("explain", "gone.a.test", "--json").json
    assert explained["proven_by"] == "http-01"
    assert re.search(r"proven to the CA: +by http-01: ", actions.run("explain", "a.test").out)


def test_ways_to_prove_a_site_s_names_are_set_and_unset_by_command(actions: Actions) -> None:
    add(actions, "a.test")
    ran = actions.run("site", "set", "a.test", "--challenge", "tls-alpn-01", "--challenge", "http-01")
    assert ran.code == 0, ran.err
    path = Layout(actions.folder / "store").site_yaml("a.test")
    assert yaml.safe_load(path.read_text())["challenges"] == ["tls-alpn-01", "http-01"]
    refused = actions.run("site", "set", "a.test", "--challenge", "smoke-01")
    assert refused.code != 0
    assert "dns-01" in refused.err
    assert actions.run("site", "set", "a.test", "--unset", "challenges").code == 0
    assert "challenges" not in yaml.safe_load(path.read_text())


def test_preflight_says_which_step_towards_the_ca_fails(actions: Actions) -> None:
    add(actions, "a.test")
    actions.pebble.stop()
    ran = actions.run("preflight", "a.test", "--json")
    assert ran.code == 3
    assert "directory_tcp" in {each["code"] for each in ran.json["findings"]}


def found_codes(actions: Actions) -> set[str]:
    return {each["code"] for each in actions.run("preflight", "a.test", "--json").json["findings"]}


def test_preflight_says_what_the_first_account_lacks(actions: Actions) -> None:
    acme = make_settings(actions.pebble, actions.responder.port)["acme"]
    external = {"key_id": "k", "hmac_key_file": "missing"}
    actions.configure(acme=acme | {"agree_to_terms": False, "external_account": external})
    add(actions, "a.test")
    ran = actions.run("preflight", "a.test")
    assert ran.code == 3
    assert "FATAL: the CA's terms of service have not been agreed to" in ran.out
    assert "certedge account register --agree-to-terms" in ran.out
    assert "no obstacles" not in ran.out
    assert found_codes(actions) >= {"terms", "settings"}, "and the key of the external account can't be read"
    actions.configure()
    assert found_codes(actions).isdisjoint({"terms", "settings"})
    actions.configure(acme=acme | {"agree_to_terms": False})
    assert actions.run("account", "register", "--agree-to-terms").code == 0
    assert "terms" not in found_codes(actions), "who has an account has agreed"


def test_account_is_registered_shown_and_made_once(actions: Actions) -> None:
    acme = make_settings(actions.pebble, actions.responder.port)["acme"]
    actions.configure(acme=acme | {"agree_to_terms": False})
    assert actions.run("account", "show", "--json").json["accounts"][0]["url"] is None
    refused = actions.run("account", "register")
    assert refused.code == 1
    assert "terms of service" in refused.err
    add(actions, "b.test")
    assert actions.run("cert", "request", "b.test").code == 1
    assert "; to do: Read the CA's terms of service, then run: certedge account register" in actions.run("status").out
    agreed = actions.run("account", "register", "--agree-to-terms", "--json")
    assert agreed.code == 0, agreed.err
    shown = actions.run("account", "show", "--json")
    assert shown.json == agreed.json
    assert shown.json["accounts"][0]["contact"] == ["admin@example.org"]
    add(actions, "a.test")
    assert actions.run("cert", "request", "a.test").code == 0
    assert actions.pebble.accounts() == 1


def test_test_mail_reaches_the_mailbox_or_says_why_not(actions: Actions, tmp_path: Path) -> None:
    with MailServer(tmp_path) as server:
        actions.configure(notify=server.settings())
        ran = actions.run("notify", "test", trusted=server.ca_file)
        assert ran.code == 0, ran.err
        assert "admin@example.org" in ran.out
        assert len(server.messages) == 1
        server.refuse = {"nobody@example.org"}
        refused = actions.run("notify", "test", "--to", "nobody@example.org", trusted=server.ca_file)
        assert refused.code == 1
        assert "there is nobody of that name" in refused.err
        odd = actions.run("notify", "test", "--to", "a@example.org\nBcc: b@example.org", trusted=server.ca_file)
        assert odd.code == 2
        assert "expected one plain mail address" in odd.err
    down = actions.run("notify", "test")
    assert down.code == 1
    assert "to do: correct `notify`" in down.err


def test_notify_without_a_mail_server_says_what_to_set(actions: Actions) -> None:
    ran = actions.run("notify", "test", "--to", "a@example.org")
    assert ran.code == 1
    assert "neither notify.smtp nor notify.webhook is set" in ran.err
    assert "to do: correct `notify` in edge.yaml: certedge docs acme" in ran.err


def test_certbot_is_imported_and_nothing_is_ordered_before_it_is_due(actions: Actions, tmp_path: Path) -> None:
    certbot = tmp_path / "letsencrypt"
    issued = CA.issue("a.test", "www.a.test", not_after=datetime.now(UTC) + timedelta(days=80))
    certbot_lineage(certbot, "a.test", issued)
    directory = actions.pebble.directory.removeprefix("https://")
    url = certbot_account(certbot, directory=directory)
    plan = actions.run("import", "--certbot", certbot, "--dry-run")
    assert plan.code == 0, plan.err
    assert "a.test" in plan.out
    assert url in plan.out
    assert not Layout(tmp_path / "store").live("a.test").exists()
    done = actions.run("import", "--certbot", certbot, "--yes")
    assert "note: the certificate is served once the service runs (certedge run)" in done.out
    assert done.code == 0, done.err + done.out
    live = actions.store.live_version("a.test")
    assert live is not None
    assert (live.fingerprint, live.source) == (issued.fingerprint, "import:certbot")
    site = yaml.safe_load(Layout(tmp_path / "store").site_yaml("a.test").read_text())
    assert (site["certificate"], site["additional_names"]) == ("acme", ["www.a.test"])
    account = actions.run("account", "show", "--json").json["accounts"][0]
    assert account["url"] == url
    renewed = actions.run("renew", "--json")
    assert [each["outcome"] for each in renewed.json["sites"]] == ["not_due"]
    assert actions.pebble.orders() == 0


def test_import_twice_changes_nothing_and_keeps_our_account(actions: Actions, tmp_path: Path) -> None:
    certbot = tmp_path / "letsencrypt"
    certbot_lineage(certbot, "a.test", CA.issue("a.test"))
    certbot_account(certbot, directory=actions.pebble.directory.removeprefix("https://"))
    assert actions.run("account", "register").code == 0
    ours = actions.run("account", "show", "--json").json
    for _ in range(2):
        ran = actions.run("import", "--certbot", certbot, "--json", "--yes")
        assert ran.code == 0, ran.err
    assert actions.run("account", "show", "--json").json == ours
    assert [version.number for version in actions.store.versions("a.test")] == [1]


def test_bluemind_main_certificate_becomes_ours(actions: Actions, tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    main = CA.issue("mail.provider.test", "imap.provider.test")
    (certs / "bm_cert.pem").write_bytes(main.combined_pem)
    (certs / "bm_cert-a.test.pem").write_bytes(CA.issue("webmail.a.test").combined_pem)
    ran = actions.run("import", "--bluemind", certs, "--yes")
    assert ran.code == 0, ran.err + ran.out
    live = actions.store.live_version("main")
    assert live is not None
    assert live.fingerprint == main.fingerprint
    explained = json.loads(actions.run("explain", "webmail.a.test", "--json").out)
    assert (explained["certificate"], explained["reason"]) == ("webmail.a.test", "exact_name")


def test_import_needs_one_source_and_says_what_is_not_there(actions: Actions, tmp_path: Path) -> None:
    assert actions.run("import").code == 2
    missing = actions.run("import", "--certbot", tmp_path / "nowhere")
    assert missing.code == 1
    assert "No such file" in missing.err


def test_account_gets_a_new_key_after_a_question(actions: Actions) -> None:
    none = actions.run("account", "rollover", "--yes")
    assert none.code == 2
    assert "there is no account yet" in none.err
    assert actions.run("account", "register").code == 0
    path = next((actions.folder / "store/accounts").glob("*/key.pem"))
    before, url = path.read_bytes(), actions.run("account", "show", "--json").json["accounts"][0]["url"]
    assert actions.run("account", "rollover").code == 2
    assert path.read_bytes() == before
    done = actions.run("account", "rollover", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["accounts"][0]["url"] == url
    assert path.read_bytes() != before
    add(actions, "a.test")
    assert actions.run("cert", "request", "a.test").code == 0
    assert actions.pebble.accounts() == 1
