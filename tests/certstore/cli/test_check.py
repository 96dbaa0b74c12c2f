import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.cluster.engine_files import Authority
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import certedge, open_folder, write_edge


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_edge(tmp_path)
    return tmp_path


def test_settings_without_a_fault_pass(folder: Path) -> None:
    ran = certedge(folder, "check-config")
    assert ran.code == 0
    assert ran.out == "2 files checked, no errors\n"


def test_a_fault_names_file_line_key_value_and_what_is_allowed(folder: Path) -> None:
    (folder / "edge.yaml").write_text("store: store\nworkers: many\n")
    ran = certedge(folder, "check-config", "--json")
    assert ran.code == 2
    (fault,) = ran.json["errors"]
    assert fault["file"] == str(folder / "edge.yaml")
    assert (fault["line"], fault["key"], fault["value"]) == (2, "workers", "'many'")
    assert "auto" in fault["allowed"]
    assert f"{folder / 'edge.yaml'}:2: workers: found 'many'; allowed:" in ran.err


def test_every_site_yaml_is_checked_and_all_faults_come_together(folder: Path) -> None:
    for site, text in (
        ("a.test", "host: a.test\n"),
        ("b.test", "hots: b.test\n"),
        ("c.test", "host: c.test\nupstream: 3"),
    ):
        (folder / "store/domains" / site).mkdir(parents=True)
        (folder / "store/domains" / site / "site.yaml").write_text(text)
    (folder / "store/domains/bare.test").mkdir()
    ran = certedge(folder, "check-config", "--json")
    assert ran.code == 2
    assert len(ran.json["files"]) == 5
    faulty = {Path(fault["file"]).parent.name for fault in ran.json["errors"]}
    assert faulty == {"b.test", "c.test"}
    assert "did you mean host?" in ran.err


def test_missing_files_that_settings_name_are_faults(folder: Path) -> None:
    (folder / "edge.yaml").write_text("upstream: {url: 'https://127.0.0.1:1', ca_file: missing.pem}\n")
    ran = certedge(folder, "check-config", "--json")
    assert ran.code == 2
    assert ran.json["errors"][0]["key"] == "upstream[0].ca_file"
    (folder / "missing.pem").write_text("")
    assert certedge(folder, "check-config").code == 0


def test_files_and_programs_of_acme_dns_are_checked(folder: Path) -> None:
    (folder / "tsig.key").write_text("hunter2 is no base64")
    zones = {
        "a.test": "{rfc2136: {server: 127.0.0.1, tsig_name: k, tsig_secret_file: tsig.key}}",
        "b.test": "{rfc2136: {server: 127.0.0.1, tsig_name: k, tsig_secret_file: gone.key}}",
        "c.test": "{exec: [/nowhere/hook]}",
        "d.test": "{lexicon: {provider: cloudflair}}",
    }
    lines = "".join(f"      {zone}: {way}\n" for zone, way in zones.items())
    (folder / "edge.yaml").write_text(f"store: store\nacme:\n  dns:\n    zones:\n{lines}")
    ran = certedge(folder, "check-config", "--json")
    assert ran.code == 2
    assert {each["key"]: each["found"].partition(".")[0] for each in ran.json["errors"]}.keys() == {
        "acme.dns.zones.a.test.rfc2136.tsig_secret_file",
        "acme.dns.zones.b.test.rfc2136.tsig_secret_file",
        "acme.dns.zones.c.test.exec",
        "acme.dns.zones.d.test.lexicon.provider",
    }
    assert "hunter2" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("acme", "site", "is_noted"),
    [
        ("{}", "", True),
        ("{dns: {exec: [/bin/true]}}", "", False),
        ("{dns: {exec: [/bin/true]}, challenges: [http-01]}", "", True),
        ("{dns: {exec: [/bin/true]}, challenges: [http-01]}", "challenges: [dns-01]\n", False),
    ],
    ids=["not set up", "set up", "not chosen", "chosen by the site"],
)
def test_wildcards_that_nothing_can_prove_are_noted(folder: Path, acme: str, site: str, is_noted: bool) -> None:
    (folder / "edge.yaml").write_text(f"store: store\nacme: {acme}\n")
    (folder / "store/domains/a.test").mkdir(parents=True)
    text = f"host: a.test\nadditional_names: ['*.a.test']\ncertificate: acme\n{site}"
    (folder / "store/domains/a.test/site.yaml").write_text(text)
    ran = certedge(folder, "check-config")
    assert ran.code == 0
    assert ("note: a.test: *.a.test can't be ordered" in ran.out) is is_noted


@pytest.mark.parametrize(
    ("listeners", "challenges", "note"),
    [
        (["http 0.0.0.0:80"], "tls-alpn-01", "needs a listener of kind https on port 443, and there is none"),
        (["https 0.0.0.0:443"], "http-01", "http-01 needs a listener of kind http on port 80, and there is none"),
        (["https [::]:8443"], "tls-alpn-01", "on port 443: something has to forward it to [::]:8443"),
        (["https 127.0.0.1:443", "https 0.0.0.0:8443"], "tls-alpn-01", "where only this machine can connect"),
        (["http 0.0.0.0:80"], "dns-01", "dns-01 is not set up (acme.dns)"),
        (["http 127.0.0.1:80", "http 0.0.0.0:80"], "http-01", None),
        (["https [::]:443"], "tls-alpn-01", None),
        (["http 0.0.0.0:80"], None, None),
    ],
)
@pytest.mark.parametrize("is_of_site", [False, True], ids=["acme.challenges", "a site's"])
def test_challenge_types_that_no_listener_can_answer_are_noted(
    folder: Path, listeners: list[str], challenges: str | None, note: str | None, is_of_site: bool
) -> None:
    written = [f"{{kind: {kind}, listen: '{address}'}}" for kind, address in map(str.split, listeners)]
    acme, site = "", "host: a.test\n"
    if challenges is not None:
        acme = "" if is_of_site else f"acme: {{challenges: [{challenges}]}}\n"
        site += f"challenges: [{challenges}]\n" if is_of_site else ""
    (folder / "edge.yaml").write_text(f"store: store\nlisteners: [{', '.join(written)}]\n{acme}")
    (folder / "store/domains/a.test").mkdir(parents=True)
    (folder / "store/domains/a.test/site.yaml").write_text(site)
    ran = certedge(folder, "check-config", "--json")
    assert ran.code == 0, ran.err
    if note is None:
        assert ran.json["notes"] == []
        return
    (noted,) = ran.json["notes"]
    assert noted.startswith("a.test: challenges: " if is_of_site else "acme.challenges: ")
    assert noted.endswith(note)
    assert f"note: {noted}" in certedge(folder, "check-config").out.replace("\n", "")


def test_missing_files_of_a_cluster_are_faults(folder: Path) -> None:
    section = "engine: ['https://10.0.0.11'], ca_file: ca.pem, client_cert: c.pem, username: a, password_file: p"
    (folder / "edge.yaml").write_text(f"cluster: {{{section}, key_file: k}}\n")
    ran = certedge(folder, "check-config", "--json")
    assert ran.code == 2
    keys = ["cluster.ca_file", "cluster.client_cert", "cluster.password_file", "cluster.key_file"]
    assert [each["key"] for each in ran.json["errors"]] == keys


@pytest.mark.parametrize(
    ("changed", "content", "said"),
    [
        ("ca.pem", b"no certificate", "cluster.ca_file: it can't be used"),
        ("client.pem", b"no certificate", "cluster.client_cert: it can't be used"),
        ("client.pem", CertificateAuthority().issue("edge-a").combined_pem, "it has a CommonName"),
    ],
    ids=["an authority", "a credential", "a name"],
)
def test_certificates_for_the_engine_that_can_not_be_used_are_faults(
    folder: Path, changed: str, content: bytes, said: str
) -> None:
    authority = Authority(datetime.now(UTC))
    certificate, key = authority.issue_client("edge-a")
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    (folder / "client.pem").write_bytes(key + certificate)
    (folder / "password").write_text("x")
    section = "engine: ['https://10.0.0.11'], ca_file: ca.pem, client_cert: client.pem"
    (folder / "edge.yaml").write_text(f"cluster: {{{section}, username: edge-a, password_file: password}}\n")
    assert certedge(folder, "check-config").code == 0
    (folder / changed).write_bytes(content)
    ran = certedge(folder, "check-config")
    assert ran.code == 2
    assert said in ran.err


def test_a_missing_group_is_a_fault(folder: Path) -> None:
    (folder / "edge.yaml").write_text("store: store\nkeys_group: no-such-group\n")
    ran = certedge(folder, "check-config", "--json")
    assert ran.code == 2
    assert [each["key"] for each in ran.json["errors"]] == ["keys_group"]


def test_a_missing_store_is_noted(folder: Path) -> None:
    (folder / "edge.yaml").write_text("store: stroe\n")
    ran = certedge(folder, "check-config")
    assert ran.code == 0
    assert f"note: there is no store {folder / 'stroe'} yet" in ran.out


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"listeners: [", "edge.yaml:"), (b"\xff\xfe\x00", "not UTF-8"), (b"- a\n", "a list instead of keys")],
    ids=["yaml", "bytes", "a list"],
)
def test_a_file_that_holds_no_settings_at_all_is_a_fault(folder: Path, content: bytes, said: str) -> None:
    (folder / "edge.yaml").write_bytes(content)
    ran = certedge(folder, "check-config")
    assert ran.code == 2
    assert said in ran.err


def test_a_missing_settings_file_is_a_fault(tmp_path: Path) -> None:
    ran = certedge(tmp_path, "check-config")
    assert ran.code == 2
    assert "No such file" in ran.err


@pytest.mark.parametrize("command", ["status", "verify"])
def test_other_commands_refuse_bad_settings_with_the_same_words(folder: Path, command: str) -> None:
    (folder / "edge.yaml").write_text("workers: many\n")
    ran = certedge(folder, command)
    assert ran.code == 2
    assert "edge.yaml:1: workers: found 'many'" in ran.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_settings_file_that_may_not_be_read_is_a_fault() -> None:
    with open_folder() as folder:
        write_edge(folder)
        (folder / "edge.yaml").chmod(0o600)
        ran = certedge(folder, "check-config", user=65534)
    assert ran.code == 2
    assert "Permission denied" in ran.err


def test_an_inspected_site_may_have_an_upstream_on_a_unix_socket(folder: Path) -> None:
    site = folder / "store" / "domains" / "a.test"
    site.mkdir(parents=True)
    (site / "site.yaml").write_text("host: a.test\ninspect: true\nupstream: unix:/run/web.sock\n")
    assert certedge(folder, "check-config").code == 0


def test_entries_of_domains_that_belong_to_no_site_are_listed_with_what_to_do(folder: Path) -> None:
    domains = folder / "store" / "domains"
    for name in (
        "WebMail.X.test",
        "trailing.test.",
        "bücher.test",
        "main",
        "two words",
        "good.test",
        ".hidden",
        "shop",
        "a-client",
    ):
        (domains / name).mkdir(parents=True)
    for name in ("main.pem", "Upper.test.pem", "good2.test.pem", "by-host.test.pem", "notes.txt", "nothing.pem"):
        (domains / name).write_text("")
    (domains / "shop/site.yaml").write_text("host: by-host.test\n")
    expected = {
        "Upper.test.pem": "rename it to upper.test.pem",
        "WebMail.X.test": "rename it to webmail.x.test",
        "a-client": "it has no site.yaml: run `certedge site add a-client --host NAME`, or rename it to its host name",
        "bücher.test": "rename it to xn--bcher-kva.test",
        "main": f"move it to {folder / 'store/main'}, the main site's place",
        "main.pem": f"move it to {folder / 'store/main.pem'}, the main site's place",
        "nothing.pem": "rename it to the host name, as in mail.example.com.pem, or to the name of the site's folder",
        "trailing.test.": "rename it to trailing.test",
        "two words": "rename it to the host name, as in mail.example.com",
    }
    ran = certedge(folder, "check-config")
    assert ran.code == 0, "it is not a fault in the settings"
    assert ran.out.splitlines() == [
        *(f"{domains / name} is ignored: {what}" for name, what in expected.items()),
        "3 files checked, no errors in them",
    ]
    assert certedge(folder, "check-config", "--json").json["ignored"] == [
        {"path": str(domains / name), "what_to_do": what} for name, what in expected.items()
    ]


def test_a_rename_is_not_advised_if_the_right_name_exists_already(folder: Path) -> None:
    domains = folder / "store" / "domains"
    for name in ("A.test", "a.test"):
        (domains / name).mkdir(parents=True)
    ran = certedge(folder, "check-config")
    assert f"{domains / 'A.test'} is ignored: a.test exists already; move its contents there" in ran.out


def test_without_a_file_it_says_how_to_make_one(tmp_path: Path) -> None:
    ran = certedge(tmp_path, "check-config")
    assert ran.code == 2
    assert "to do: name the file with --config, or create one with: certedge init" in ran.err
