"""Pages without a browser: uploads with a preview, sites, users, the limits of a domain administrator, and bad input of
every kind. What needs a real browser is in test_browser.py."""

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import pytest

from certstore.control.upkeep import Upkeep
from certstore.model.certificate.contents import Unlocked
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.console.people import Role
from certstore.model.renewal.revocation import Revocation, RevocationReason
from certstore.model.renewal.state import RenewalState
from certstore.model.renewal.ways import NameWay
from certstore.model.settings.models import Settings
from certstore.store.revocations import note_revoked
from certstore.store.unlocking import Unlocker
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.admin.browser import hidden, sign_in, submit, upload, upload_with
from tests.certstore.admin.console import Answer, Client, RunningConsole, running_console
from tests.certstore.stores import OTHER, SITE, served

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store") as running:
        running.add_user("anna")
        yield running


@pytest.fixture
def anna(console: RunningConsole) -> Client:
    return sign_in(console)


def add(client: Client, host: str, certificate: str = "file", **fields: str) -> Answer:
    return submit(client, "/sites/new", {"host": host, "certificate": certificate, **fields})


def files_of(issued: Issued) -> list[tuple[str, bytes]]:
    return [("fullchain.pem", issued.fullchain_pem), ("privkey.pem", issued.privkey_pem)]


def test_site_is_added_shown_and_removed_only_when_its_name_is_typed(console: RunningConsole, anna: Client) -> None:
    assert add(anna, SITE, names=f"{OTHER}\nautodiscover.client-a.test").headers["Location"] == f"/sites/{SITE}"
    page = anna.get(f"/sites/{SITE}").text
    assert OTHER in page
    assert submit(anna, f"/sites/{SITE}/remove", {"typed": "something else"}).status == 422
    assert SITE in console.writer.sites()
    assert submit(anna, f"/sites/{SITE}/remove", {"typed": SITE}).status == 303
    assert SITE not in console.writer.sites()


def test_site_s_page_says_how_its_names_are_proven_and_why(tmp_path: Path) -> None:
    upkeeps: list[Upkeep] = []

    def make(writer: StoreWriter, settings: Settings, base: Path) -> Upkeep:
        upkeeps.append(Upkeep(writer, settings, base))
        return upkeeps[0]

    with running_console(tmp_path / "store", upkeep=make) as console:
        console.add_user("anna")
        anna = sign_in(console)
        add(anna, SITE, "acme")
        why = f"tls-alpn-01 is open; not http-01 ({HOSTILE})"
        ways = (
            NameWay(SITE, "tls-alpn-01", why),
            *(NameWay(f"n{number}.{SITE}", "", "no way") for number in range(30)),
        )
        upkeeps[0].maintenance.memory.put(SITE, RenewalState(ways=ways))
        page = anna.get(f"/sites/{SITE}").text
    assert "Proven to the CA" in page
    assert "tls-alpn-01 is open; not http-01" in page
    assert HOSTILE not in page
    assert "and 11 more" in page


def test_upload_is_previewed_first_and_served_when_confirmed(
    console: RunningConsole, anna: Client, ca: CertificateAuthority, tmp_path: Path
) -> None:
    add(anna, SITE, names=OTHER)
    issued = ca.issue(SITE)
    shown = upload(anna, f"/sites/{SITE}/certificate/files", files_of(issued))
    assert shown.status == 200
    assert "Ready to install" in shown.text
    assert f"does not cover {OTHER}" in shown.text
    assert served(tmp_path / "store", SITE) is None
    assert submit(anna, f"/sites/{SITE}/certificate/take", {"key": hidden(shown)["key"]}).status == 303
    assert served(tmp_path / "store", SITE) == issued.fingerprint
    assert "Version 1 is live" in anna.get(f"/sites/{SITE}").text


@pytest.mark.parametrize("password", [b"swordfish", None])
def test_pkcs12_is_opened_with_its_password(anna: Client, ca: CertificateAuthority, password: bytes | None) -> None:
    add(anna, SITE)
    given = password.decode() if password else ""
    shown = upload(
        anna, f"/sites/{SITE}/certificate/files", [("a.p12", ca.issue(SITE).pkcs12(password))], password=given
    )
    assert (shown.status, given in shown.text and bool(given)) == (200, False)


def test_files_that_were_previewed_are_installed_without_being_opened_again(
    anna: Client, ca: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bytes] = []
    unlock = Unlocker.__call__

    def count(self: Unlocker, content: bytes, password: bytes | None) -> Unlocked:
        opened.append(content)
        return unlock(self, content, password)

    monkeypatch.setattr(Unlocker, "__call__", count)
    add(anna, SITE, "main")
    issued = ca.issue(SITE)
    shown = upload(anna, f"/sites/{SITE}/certificate/files", [("a.p12", issued.pkcs12(b"right"))], password="right")
    assert submit(anna, f"/sites/{SITE}/certificate/take", {"key": hidden(shown)["key"]}).status == 303
    assert served(tmp_path / "store", SITE) == issued.fingerprint
    assert len(opened) == 1


def test_wrong_password_and_wrong_files_say_what_to_do_and_offer_nothing_to_confirm(
    console: RunningConsole, anna: Client, ca: CertificateAuthority, tmp_path: Path
) -> None:
    add(anna, SITE)
    attempts = {
        "password": [("a.p12", ca.issue(SITE).pkcs12(b"right"))],
        "private key": [("fullchain.pem", ca.issue(SITE).fullchain_pem)],
        "belongs to none": [("c.pem", ca.issue(SITE).cert_pem), ("k.pem", ca.issue(SITE).privkey_pem)],
        "either a certificate": [("cat.jpg", b"\xff\xd8\xff" * 100)],
    }
    for words, files in attempts.items():
        shown = upload(anna, f"/sites/{SITE}/certificate/files", files, password="wrong")
        assert shown.status == 422, words
        assert words in shown.text
        assert "key" not in hidden(shown), words
    assert served(tmp_path / "store", SITE) is None


def test_files_of_another_person_or_site_can_not_be_confirmed(
    console: RunningConsole, anna: Client, ca: CertificateAuthority, tmp_path: Path
) -> None:
    add(anna, SITE)
    add(anna, OTHER)
    console.add_user("bert", Role.DOMAIN, SITE)
    bert = sign_in(console, "bert")
    key = hidden(upload(anna, f"/sites/{SITE}/certificate/files", files_of(ca.issue(SITE))))["key"]
    assert submit(bert, f"/sites/{SITE}/certificate/take", {"key": key}).status == 410
    assert submit(anna, f"/sites/{OTHER}/certificate/take", {"key": key}).status == 410
    console.clock.forward(minutes=16)
    assert submit(anna, f"/sites/{SITE}/certificate/take", {"key": key}).status == 410
    assert served(tmp_path / "store", SITE) is None


def test_rollback_from_the_history(anna: Client, ca: CertificateAuthority, tmp_path: Path) -> None:
    add(anna, SITE)
    first, second = ca.issue(SITE), ca.issue(SITE)
    for each in (first, second):
        shown = upload(anna, f"/sites/{SITE}/certificate/files", files_of(each))
        submit(anna, f"/sites/{SITE}/certificate/take", {"key": hidden(shown)["key"]})
    assert served(tmp_path / "store", SITE) == second.fingerprint
    assert submit(anna, f"/sites/{SITE}/rollback", {"version": "1"}).status == 303
    assert served(tmp_path / "store", SITE) == first.fingerprint
    assert submit(anna, f"/sites/{SITE}/rollback", {"version": "77"}).status == 404


def test_revoked_version_is_marked_and_not_offered_again(
    console: RunningConsole, anna: Client, ca: CertificateAuthority
) -> None:
    add(anna, SITE)
    for _ in range(2):
        files = (DroppedFile("a.pem", ca.issue(SITE).combined_pem),)
        console.writer.install_files(SITE, files, source="upload")
    assert "Make live" in anna.get(f"/sites/{SITE}").text
    first = console.writer.versions(SITE)[-1]
    note = Revocation(console.clock(), RevocationReason.SUPERSEDED, "ca")
    note_revoked(console.writer.layout, first, note)
    page = anna.get(f"/sites/{SITE}").text
    assert "revoked" in page
    assert "Make live" not in page
    assert submit(anna, f"/sites/{SITE}/rollback", {"version": "1"}).status == 404


def test_the_later_of_two_editors_is_told_and_may_look_at_both(console: RunningConsole, anna: Client) -> None:
    add(anna, SITE)
    form = hidden(anna.get(f"/sites/{SITE}/settings"))
    fields = {"host": SITE, "certificate": "file", "etag": form["etag"]}
    assert submit(anna, f"/sites/{SITE}/settings", fields | {"contact": "first@x.test"}).status == 303
    later = submit(anna, f"/sites/{SITE}/settings", fields | {"contact": "later@x.test"})
    assert later.status == 412
    assert "first@x.test" in later.text
    assert "later@x.test" in later.text
    settings = console.writer.settings(SITE)
    assert settings is not None
    assert settings.contact == ("first@x.test",)


def test_settings_keep_what_the_form_does_not_show(console: RunningConsole, anna: Client) -> None:
    upstream = {"url": "https://10.0.0.5", "health": "/up"}
    console.api().send("PUT", f"/api/v1/sites/{SITE}/settings", {"host": SITE, "upstream": upstream})
    etag = hidden(anna.get(f"/sites/{SITE}/settings"))["etag"]
    fields = {"host": SITE, "upstream": "https://10.0.0.5", "contact": "a@x.test", "etag": etag}
    assert submit(anna, f"/sites/{SITE}/settings", fields).status == 303
    settings = console.writer.settings(SITE)
    assert settings is not None
    assert settings.upstream is not None
    assert (settings.upstream[0].health, settings.contact) == ("/up", ("a@x.test",))


def test_session_that_ends_during_an_upload_loses_nothing_but_the_upload(
    console: RunningConsole, anna: Client, ca: CertificateAuthority, tmp_path: Path
) -> None:
    add(anna, SITE)
    console.access.sessions.end_all("anna")
    answer = anna.post_form(f"/sites/{SITE}/certificate/take", {"key": "x", "csrf": "y"})
    assert answer.headers["Location"] == f"/signin?next=%2Fsites%2F{SITE}&ended=1"
    assert "was not carried out" in anna.get(answer.headers["Location"]).text
    files = upload_with("y", anna, f"/sites/{SITE}/certificate/files", files_of(ca.issue(SITE)))
    assert (files.status, files.headers["Location"]) == (303, f"/signin?next=%2Fsites%2F{SITE}&ended=1")
    assert served(tmp_path / "store", SITE) is None


def test_large_upload_is_answered_with_a_page(anna: Client) -> None:
    add(anna, SITE)
    one = upload(anna, f"/sites/{SITE}/certificate/files", [("big.pem", b"A" * 1_500_000)])
    assert (one.status, "larger than 1 MB" in one.text) == (413, True)
    many = upload(anna, f"/sites/{SITE}/certificate/files", [("big.pem", b"A" * (50 << 20))])
    assert (many.status, "larger than 4 MB" in many.text) == (413, True)


def test_a_hundred_names_are_taken_and_ten_thousand_refused_in_words(anna: Client) -> None:
    names = "\n".join(f"n{number}.client-a.test" for number in range(10_000))
    began = time.monotonic()
    assert add(anna, SITE, names="\n".join(names.split("\n")[:99])).status == 303
    assert anna.get(f"/sites/{SITE}").status == 200
    refused = add(anna, OTHER, names=names)
    assert (refused.status, "at most 100 names" in refused.text) == (422, True)
    too_long = add(anna, OTHER, names=names + " x" * 100_000)
    assert too_long.status == 422
    assert "200000" in too_long.text, "what is allowed"
    assert time.monotonic() - began < 20


def test_markup_in_any_field_is_shown_as_text(console: RunningConsole, anna: Client) -> None:
    add(anna, SITE)
    answers = [
        add(anna, HOSTILE, names=HOSTILE, contact=HOSTILE),
        submit(anna, f"/sites/{SITE}/settings", {"host": HOSTILE, "contact": HOSTILE, "etag": HOSTILE}),
        submit(anna, f"/sites/{SITE}/remove", {"typed": HOSTILE}),
        submit(anna, "/people/users", {"name": HOSTILE, "role": "domain", "sites": HOSTILE}),
        submit(anna, "/people/tokens", {"name": HOSTILE, "scope": "read"}),
        upload(anna, f"/sites/{SITE}/certificate/files", [(HOSTILE.replace('"', "%22"), b"nothing")]),
        anna.get(f"/?search={HOSTILE.replace(' ', '+')}"),
        anna.get(f"/sites/{HOSTILE.replace('/', '')}".replace(" ", "%20")),
        anna.get("/people"),
        anna.get("/audit"),
    ]
    for answer in answers:
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert answer.status < 500


def test_odd_addresses_are_answered_with_a_page(anna: Client) -> None:
    for path in ("/?page=x&standing=y&order=z&ends_from=q", "/?page=999999", "/?ends_from=9999-12-31T23:59:59-23:59"):
        assert anna.get(path).status == 200, path
    for path in ("/sites/..%2f..%2fetc", "/sites/%00", "/nothing", "/sites/nothing.test/jobs/x", "/audit?before=x"):
        assert anna.get(path).status in (200, 404), path


def test_domain_administrator_reaches_no_other_site_by_any_page(
    console: RunningConsole, anna: Client, ca: CertificateAuthority, tmp_path: Path
) -> None:
    add(anna, SITE)
    add(anna, OTHER)
    console.add_user("bert", Role.DOMAIN, SITE)
    bert = sign_in(console, "bert")
    assert OTHER not in bert.get("/").text
    assert "mail.install.test" not in bert.get("/").text, "nor main"
    for path in ("", "/settings", "/certificate", "/handshakes", "/remove", "/chain.pem"):
        assert bert.get(f"/sites/{OTHER}{path}").status == 404, path
    for path in (
        "/settings",
        "/remove",
        "/rollback",
        "/renew",
        "/preflight",
        "/certificate/main",
        "/certificate/order",
    ):
        answer = submit(bert, f"/sites/{OTHER}{path}", {"typed": OTHER, "version": "1", "host": OTHER})
        assert answer.status == 404, path
    assert upload(bert, f"/sites/{OTHER}/certificate/files", files_of(ca.issue(OTHER))).status == 404
    for path in ("/people", "/audit", "/service", "/sites/new"):
        assert bert.get(path).status == 403, path
    assert submit(bert, "/people/users", {"name": "bert", "role": "admin"}).status == 403
    assert served(tmp_path / "store", OTHER) is None
    assert OTHER in console.writer.sites()


def test_domain_administrator_replaces_the_own_certificate_and_declares_no_names(
    console: RunningConsole, anna: Client, ca: CertificateAuthority, tmp_path: Path
) -> None:
    add(anna, SITE, names="autodiscover.client-a.test")
    console.add_user("bert", Role.DOMAIN, SITE)
    bert = sign_in(console, "bert")
    shown = upload(bert, f"/sites/{SITE}/certificate/files", files_of(ca.issue(SITE)))
    assert submit(bert, f"/sites/{SITE}/certificate/take", {"key": hidden(shown)["key"]}).status == 303
    assert served(tmp_path / "store", SITE) is not None
    etag = hidden(bert.get(f"/sites/{SITE}/settings"))["etag"]
    fields = {"certificate": "main", "host": OTHER, "names": OTHER, "upstream": "http://10.0.0.1", "etag": etag}
    assert submit(bert, f"/sites/{SITE}/settings", fields).status == 303
    settings = console.writer.settings(SITE)
    assert settings is not None
    assert (settings.host, settings.additional_names, settings.upstream) == (
        SITE,
        ("autodiscover.client-a.test",),
        None,
    )


def test_new_person_gets_a_link_that_is_shown_once(console: RunningConsole, anna: Client) -> None:
    add(anna, SITE)
    made = submit(anna, "/people/users", {"name": "Bert", "role": "domain", "sites": SITE})
    assert f"https://127.0.0.1:{console.port}/setup?link=" in made.text
    assert "/setup?link=" not in anna.get("/people").text


def test_store_that_became_full_is_said_on_the_page(
    console: RunningConsole, anna: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(console.writer.layout.root))

    monkeypatch.setattr("certstore.store.site_changes.write_site_file", no_space)
    answer = add(anna, SITE)
    assert answer.status == 503
    assert "No space left" in answer.text
    assert SITE not in console.writer.sites()
    assert anna.get("/").status == 200


def test_challenges_of_a_site_are_set_in_their_order_and_emptied_by_the_form(
    console: RunningConsole, anna: Client
) -> None:
    assert add(anna, SITE, "acme", challenges="DNS-01, http-01").status == 303
    assert (settings := console.writer.settings(SITE)) is not None
    assert settings.challenges == ("dns-01", "http-01")
    page = anna.get(f"/sites/{SITE}/settings")
    assert 'name="challenges" value="dns-01 http-01"' in page.text
    fields = hidden(page) | {"host": SITE, "certificate": "acme"}
    refused = submit(anna, f"/sites/{SITE}/settings", fields | {"challenges": "dns-01 dns-02"})
    assert refused.status == 422
    assert 'value="dns-01 dns-02"' in refused.text
    assert submit(anna, f"/sites/{SITE}/settings", fields | {"challenges": ""}).status == 303
    assert (settings := console.writer.settings(SITE)) is not None
    assert settings.challenges is None


def test_validity_bar_shows_what_is_left(anna: Client, ca: CertificateAuthority) -> None:
    add(anna, SITE)
    page = upload(anna, f"/sites/{SITE}/certificate/files", files_of(ca.issue(SITE))).text
    found = re.search(
        r'aria-label="(\d+)% of its validity is left">\s*<rect [^>]*/><rect class="left" x="(\d+)" width="(\d+)"', page
    )
    assert found is not None
    left, passed, width = map(int, found.groups())
    assert left == width == 100 - passed


def test_audit_log_is_filtered_in_plain_words(console: RunningConsole, anna: Client) -> None:
    console.access.audit.note("user bert", "192.0.2.9", "cert.order", SITE, "done", "by bert")
    console.access.audit.note("user carl", "192.0.2.8", "site.remove", OTHER, "denied", "by carl")
    everything = anna.get("/audit").text
    assert "Certificate ordered" in everything
    assert "Not allowed" in everything
    day = console.clock().date()
    for query in ("who=carl", "action=site.remove", f"site={OTHER}", f"who=carl&since={day}&until={day}"):
        page = anna.get(f"/audit?{query}").text
        assert "by carl" in page, query
        assert "by bert" not in page, query
    assert "No entries match." in anna.get("/audit?who=carl&until=2001-01-01").text
    assert "by bert" in anna.get("/audit?since=rubbish").text
    for query, number in (("who=bert", 1), ("who=bert&since=2000-01-01&until=2000-01-02", 0)):
        assert len(console.api().get(f"/api/v1/audit?{query}").json["entries"]) == number


def test_token_gets_a_last_day_and_shows_its_last_use(console: RunningConsole, anna: Client) -> None:
    day = (console.clock() + timedelta(days=3)).date()
    made = submit(anna, "/people/tokens", {"name": "panel", "scope": "read", "ends": str(day)})
    token = re.search(r"cet_[0-9a-f]{12}_[\w-]{43}", made.text)
    assert token is not None
    program = console.client(token[0])
    assert "Never" in made.text
    assert program.get("/api/v1/me").status == 200
    (facts,) = console.api().get("/api/v1/tokens").json[:1]
    assert facts["name"] == "panel"
    assert facts["used_at"] is not None
    console.clock.forward(hours=24 * 4)
    assert program.get("/api/v1/me").status == 401
    assert "Ended" in console.signed_in("anna").get("/people").text
    for odd in ("2001-01-01", "soon"):
        assert (
            submit(console.signed_in("anna"), "/people/tokens", {"name": "x", "scope": "read", "ends": odd}).status
            == 422
        )


def test_service_says_its_release(console: RunningConsole, anna: Client) -> None:
    release = metadata.version("mitmproxy-edge")
    assert f"This is release {release}." in anna.get("/service").text
    assert console.api().get("/api/v1/service").json["release"] == release
