"""The API of a real console: commands as JSON, errors as problem documents, ETags, pages, audit, health."""

import base64
import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from certstore.model.console.authorization import Scope
from certstore.model.console.people import Role
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.admin.browser import sign_in
from tests.certstore.admin.console import Answer, Client, RunningConsole, running_console
from tests.certstore.stores import OTHER, SITE, served

SITES = "/api/v1/sites"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store") as running:
        yield running


@pytest.fixture
def admin(console: RunningConsole) -> Client:
    return console.api()


def add_site(client: Client, site: str, **settings: Any) -> Answer:
    return client.send("PUT", f"{SITES}/{site}/settings", {"host": site, **settings})


def upload(issued: Issued, **more: Any) -> dict[str, Any]:
    files = {"cert.pem": issued.fullchain_pem, "key.pem": issued.privkey_pem}
    packed = [{"name": name, "content": base64.b64encode(content).decode()} for name, content in files.items()]
    return {"files": packed, **more}


def test_site_is_added_once_and_put_again_changes_nothing(console: RunningConsole, admin: Client) -> None:
    assert add_site(admin, SITE).status == 201
    again = add_site(admin, SITE)
    assert (again.status, again.json["message"]) == (200, "nothing to change")
    assert SITE in console.writer.sites()
    assert console.performed.count("site.set") == 0


def test_site_is_changed_only_by_who_has_seen_its_settings(console: RunningConsole, admin: Client) -> None:
    seen = add_site(admin, SITE).headers["ETag"]
    first = admin.send("PUT", f"{SITES}/{SITE}/settings", {"host": SITE, "contact": ["a@x.test"]}, If_Match=seen)
    later = admin.send("PUT", f"{SITES}/{SITE}/settings", {"host": SITE, "contact": ["b@x.test"]}, If_Match=seen)
    assert (first.status, later.status) == (200, 412)
    assert later.headers["Content-Type"] == "application/problem+json"
    settings = console.writer.settings(SITE)
    assert settings is not None
    assert settings.contact == ("a@x.test",)


def test_keys_that_are_not_given_again_are_gone(console: RunningConsole, admin: Client) -> None:
    add_site(admin, SITE, contact=["a@x.test"])
    assert add_site(admin, SITE).status == 200
    assert admin.get(f"{SITES}/{SITE}/settings").json == {"host": SITE}


def test_if_none_match_adds_only_what_is_not_there(admin: Client) -> None:
    path, settings = f"{SITES}/{SITE}/settings", {"host": SITE}
    assert admin.send("PUT", path, settings, If_None_Match="*").status == 201
    assert admin.send("PUT", path, settings, If_None_Match="*").status == 412


def test_bad_settings_are_refused_in_the_words_of_the_settings(console: RunningConsole, admin: Client) -> None:
    answer = add_site(admin, SITE, certificate="acme", additional_names=["*.test"])
    assert answer.status == 422
    assert "wildcard" in answer.json["detail"]
    assert SITE not in console.writer.sites()


def test_certificate_is_previewed_then_installed_then_noted(
    console: RunningConsole, admin: Client, ca: CertificateAuthority, tmp_path: Path
) -> None:
    add_site(admin, SITE, additional_names=[OTHER])
    issued = ca.issue(SITE)
    looked = admin.send("POST", f"{SITES}/{SITE}/certificate/preview", upload(issued)).json
    assert (looked["accepted"], looked["covered"], looked["missing"]) == (True, [SITE], [OTHER])
    assert served(tmp_path / "store", SITE) is None, "a preview changes nothing"
    taken = admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(issued))
    again = admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(issued))
    assert (taken.status, taken.json["outcome"], again.json["outcome"]) == (200, "done", "noted")
    assert served(tmp_path / "store", SITE) == issued.fingerprint


def test_key_of_another_certificate_is_refused_and_changes_nothing(
    console: RunningConsole, admin: Client, ca: CertificateAuthority, tmp_path: Path
) -> None:
    add_site(admin, SITE)
    wrong = Issued(ca.issue(SITE).certificate, ca.issue(SITE).private_key, ())
    answer = admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(wrong))
    assert answer.status == 422
    assert answer.json["reason"] == "key_mismatch"
    assert "PRIVATE" not in answer.text
    assert served(tmp_path / "store", SITE) is None


def test_refused_upload_leaves_the_source_of_a_site_as_it_was(
    console: RunningConsole, admin: Client, ca: CertificateAuthority
) -> None:
    add_site(admin, SITE, certificate="main")
    refused = admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(ca.issue(OTHER)))
    assert (refused.status, refused.json["reason"]) == (422, "wrong_name")
    assert admin.get(f"{SITES}/{SITE}").json["source"] == "main"
    taken = admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(ca.issue(SITE)))
    assert taken.status == 200
    assert admin.get(f"{SITES}/{SITE}").json["source"] == "file"


def test_certificate_of_other_names_is_installed_only_by_force(admin: Client, ca: CertificateAuthority) -> None:
    add_site(admin, SITE)
    wrong = ca.issue(OTHER)
    looked = admin.send("POST", f"{SITES}/{SITE}/certificate/preview", upload(wrong)).json
    assert (looked["accepted"], looked["is_forcible"]) == (False, True)
    assert admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(wrong)).status == 422
    assert admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(wrong, force=True)).status == 200


def test_earlier_version_is_made_live_again(admin: Client, ca: CertificateAuthority, tmp_path: Path) -> None:
    add_site(admin, SITE)
    first, second = ca.issue(SITE), ca.issue(SITE)
    for each in (first, second):
        assert admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(each)).status == 200
    assert admin.send("PUT", f"{SITES}/{SITE}/versions/1/live").status == 200
    assert served(tmp_path / "store", SITE) == first.fingerprint
    versions = admin.get(f"{SITES}/{SITE}/versions").json
    assert [(each["version"], each["is_live"]) for each in versions] == [(2, False), (1, True)]
    assert admin.send("PUT", f"{SITES}/{SITE}/versions/9/live").status == 404


def test_public_chain_is_given_and_no_key(admin: Client, ca: CertificateAuthority) -> None:
    add_site(admin, SITE)
    issued = ca.issue(SITE)
    admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(issued))
    assert admin.get(f"{SITES}/{SITE}/certificate/chain.pem").body == issued.fullchain_pem


def test_removed_site_is_archived_and_its_names_go_back_to_main(
    console: RunningConsole, admin: Client, ca: CertificateAuthority
) -> None:
    add_site(admin, SITE)
    admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(ca.issue(SITE)))
    assert admin.send("DELETE", f"{SITES}/{SITE}").status == 204
    assert admin.get(f"{SITES}/{SITE}").status == 404
    assert not console.writer.layout.live(SITE).is_symlink()
    assert console.writer.layout.version(SITE, 1).is_dir()
    assert admin.send("DELETE", f"{SITES}/main").status == 422


def test_sites_are_listed_in_pages_and_found_by_name(admin: Client) -> None:
    for number in range(5):
        add_site(admin, f"mail{number}.client.test")
    page = admin.get(f"{SITES}?limit=2&offset=2")
    assert [each["site"] for each in page.json["sites"]] == ["mail2.client.test", "mail3.client.test"]
    assert (page.json["total"], page.headers["X-Total-Count"]) == (5, "5")
    assert page.json["main"]["site"] == "main"
    assert [each["site"] for each in admin.get(f"{SITES}?search=MAIL4").json["sites"]] == ["mail4.client.test"]


def test_list_that_has_not_changed_is_not_sent_again(admin: Client) -> None:
    add_site(admin, SITE)
    tag = admin.get(SITES).headers["ETag"]
    again = admin.get(SITES, If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")
    add_site(admin, OTHER)
    assert admin.get(SITES, If_None_Match=tag).status == 200
    tag = admin.get(f"{SITES}/{SITE}").headers["ETag"]
    assert admin.get(f"{SITES}/{SITE}", If_None_Match=tag).status == 304
    add_site(admin, SITE, contact=["a@x.test"])
    assert admin.get(f"{SITES}/{SITE}", If_None_Match=tag).status == 200


def events_of(console: RunningConsole, path: str, client: Client) -> Iterator[tuple[str, Any]]:
    """Yields (event, data) as they arrive."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", console.port, timeout=60, context=context)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {client.token}"})
        answer = connection.getresponse()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        while line := answer.readline():
            if line.startswith(b"event: "):
                yield line[7:].strip().decode(), json.loads(answer.readline().removeprefix(b"data: "))


def test_changes_are_sent_as_they_happen(console: RunningConsole, admin: Client) -> None:
    events = events_of(console, "/api/v1/events", admin)
    kind, first = next(events)
    assert kind == "changed"
    add_site(admin, SITE)
    kind, second = next(events)
    assert second["generation"] > first["generation"]


def test_job_is_followed_to_its_end_and_belongs_to_its_site(console: RunningConsole, admin: Client) -> None:
    add_site(admin, SITE)
    begun = admin.send("POST", f"{SITES}/{SITE}/preflights")
    assert begun.status == 202
    path = begun.headers["Location"]
    *_, (kind, end) = events_of(console, f"{path}/events", admin)
    assert (kind, end["state"]) == ("end", "failed"), "there is nobody here to perform it"
    assert admin.get(path).json["failure"]["fault"] == "internal"
    ended, started = (entry for entry in console.audit() if entry["action"] == "site.preflight")
    assert (started["outcome"], ended["outcome"]) == ("started", "failed")
    add_site(admin, OTHER)
    assert console.api(Scope.ADMIN, OTHER).get(path).status == 404


def test_without_a_token_nothing_is_answered(console: RunningConsole) -> None:
    for path in ("/me", "/sites", "/users", "/audit", "/events", "/sites/main/certificate/chain.pem"):
        answer = console.client().get(f"/api/v1{path}")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="certedge"'), path
    assert console.client("cet_000000000000_" + "A" * 43).get("/api/v1/me").status == 401


def test_removed_token_is_refused(console: RunningConsole, admin: Client) -> None:
    made = admin.send("POST", "/api/v1/tokens", {"name": "ci", "scope": "read"}).json
    program = console.client(made["secret"])
    assert program.get("/api/v1/me").json["scope"] == "read"
    assert admin.send("DELETE", f"/api/v1/tokens/{made['token']['key']}").status == 204
    assert program.get("/api/v1/me").status == 401
    stored = "".join(path.read_text() for path in console.writer.layout.admin.iterdir())
    assert made["secret"].rpartition("_")[2] not in stored


def test_domain_bound_token_finds_no_other_site_not_even_that_it_exists(
    console: RunningConsole, admin: Client, ca: CertificateAuthority
) -> None:
    add_site(admin, SITE)
    add_site(admin, OTHER)
    bound = console.api(Scope.OPERATE, SITE)
    assert [each["site"] for each in bound.get(SITES).json["sites"]] == [SITE]
    assert bound.get(SITES).json["main"] is None
    there = bound.get(f"{SITES}/{OTHER}")
    nowhere = bound.get(f"{SITES}/nowhere.test")
    assert (there.status, nowhere.status) == (404, 404)
    assert there.text.replace(OTHER, "X") == nowhere.text.replace("nowhere.test", "X")
    for target in (OTHER, "nowhere.test"):
        put = bound.send("PUT", f"{SITES}/{target}/settings", {"host": target})
        assert put.status == 404, target
        assert bound.send("PUT", f"{SITES}/{target}/certificate", upload(ca.issue(OTHER))).status == 404, target


def test_operator_chooses_the_source_but_declares_no_names(console: RunningConsole, admin: Client) -> None:
    add_site(admin, SITE)
    bound = console.api(Scope.OPERATE, SITE)
    assert add_site(bound, SITE, certificate="main").status == 200
    assert add_site(bound, SITE, certificate="main", additional_names=["other.test"]).status == 403
    assert add_site(bound, SITE, certificate="main", upstream="http://10.0.0.1:80").status == 403


def test_everything_that_changed_or_was_denied_is_in_the_audit_log(
    console: RunningConsole, admin: Client, ca: CertificateAuthority
) -> None:
    add_site(admin, SITE)
    admin.send("PUT", f"{SITES}/{SITE}/certificate", upload(ca.issue(SITE), password="a secret word"))
    console.api(Scope.READ).send("DELETE", f"{SITES}/{SITE}")
    entries = [(each["action"], each["site"], each["outcome"]) for each in console.audit()]
    assert entries == [("site.remove", SITE, "denied"), ("cert.install", SITE, "done"), ("site.add", SITE, "done")]
    raw = admin.get("/api/v1/audit.jsonl").text
    assert "a secret word" not in raw
    assert "PRIVATE" not in raw
    shown = admin.get("/api/v1/audit?limit=2").json
    assert len(shown["entries"]) == 2
    assert admin.get(f"/api/v1/audit?before={shown['before']}").json["entries"][-1]["action"] == "site.add"


def test_users_are_managed_and_the_last_administrator_stays(console: RunningConsole, admin: Client) -> None:
    console.add_user("anna")
    add_site(admin, SITE)
    assert admin.send("PUT", "/api/v1/users/bert", {"role": "domain", "sites": [SITE]}).status == 201
    assert admin.send("PUT", "/api/v1/users/bert", {"role": "domain", "sites": ["no.such.test"]}).status == 422
    assert admin.send("POST", "/api/v1/users/bert/invitation").json["path"].startswith("/setup?link=")
    assert admin.send("DELETE", "/api/v1/users/anna").status == 422
    assert admin.send("DELETE", "/api/v1/users/bert").status == 204
    assert [each["name"] for each in admin.get("/api/v1/users").json] == ["anna"]
    assert console.access.users.get("anna").role is Role.ADMIN


def test_large_body_is_answered_with_what_to_do(admin: Client) -> None:
    body = b'{"files": [{"name": "x", "content": "' + b"A" * (50 << 20) + b'"}]}'
    answer = admin.request("PUT", f"{SITES}/main/certificate", body, {"Content-Type": "application/json"})
    assert (answer.status, answer.json["type"]) == (413, "urn:certedge:problem:too_large")


def test_openapi_document_names_every_path_and_asks_for_a_token(console: RunningConsole) -> None:
    document = console.client().get("/api/v1/openapi.json").json
    assert f"{SITES}/{{site}}/certificate" in document["paths"]
    assert document["info"]["title"] == "certedge"


def test_every_shape_of_the_openapi_document_has_an_example_that_fits_it(console: RunningConsole) -> None:
    document = console.client().get("/api/v1/openapi.json").json
    shapes = {name: schema for name, schema in document["components"]["schemas"].items() if "properties" in schema}
    assert len(shapes) > 30
    for name, schema in shapes.items():
        assert "examples" in schema, name
        for example in schema["examples"]:
            whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
            jsonschema_rs.validate(whole, example)
            assert set(example) == set(schema["properties"]), name


def test_workers_are_shown_with_how_far_they_have_read(console: RunningConsole, admin: Client) -> None:
    layout = console.writer.layout
    layout.worker_reports.mkdir(parents=True, exist_ok=True)

    def report(pid: int, size: int, age: float) -> None:
        at, inode = console.clock().timestamp() - age, layout.snapshot_journal.stat().st_ino
        facts = {"id": f"w{pid}", "pid": pid, "at": at, "is_draining": False, "journal": [inode, size], "samples": []}
        (layout.worker_reports / f"worker-{pid}.json").write_text(json.dumps(facts))

    size = layout.snapshot_journal.stat().st_size
    report(11, size, 0)
    report(12, size - 5, 0)
    report(13, size, 10_000)
    workers = admin.get("/api/v1/service").json["workers"]
    assert [(each["pid"], each["is_up_to_date"]) for each in workers] == [(11, True), (12, False)]
    console.add_user("anna")
    anna = sign_in(console)
    assert "not up to date" in anna.get("/service").text
    assert "1 of 2 workers not up to date" in anna.get("/").text
    report(12, size, 0)
    assert "2 workers serve the latest certificates" in anna.get("/").text


def test_health_check_shows_that_control_is_alive(console: RunningConsole) -> None:
    answer = console.client().get("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


def test_foreign_host_name_is_not_answered(console: RunningConsole, admin: Client) -> None:
    assert admin.get("/api/v1/me", Host="evil.test").status == 421
    assert admin.get("/api/v1/me", Host="mail.install.test:8443").status == 200
    assert admin.get("/api/v1/me", Host=f"localhost:{console.port}").status == 200


def test_every_answer_has_the_headers_that_bind_browsers(console: RunningConsole) -> None:
    for path in ("/healthz", "/api/v1/me", "/nothing"):
        headers = console.client().get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
