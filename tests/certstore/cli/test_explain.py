from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import add_site, certedge, install, write_edge

HOST = "webmail.client-a.test"
CA = CertificateAuthority()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No process runs on this store: explain needs none."""
    folder = tmp_path_factory.mktemp("explain")
    write_edge(folder)
    add_site(folder, HOST, additional_names=["*.client-a.test"])
    install(folder, HOST, CA.issue(HOST, "*.client-a.test"))
    return folder


@pytest.mark.parametrize(
    ("words", "certificate", "reason"),
    [
        ((HOST,), HOST, "exact_name"),
        (("WebMail.Client-A.Test.",), HOST, "exact_name"),
        (("anything.client-a.test",), HOST, "wildcard_name"),
        (("a.b.client-a.test",), "main", "unknown_name"),
        (("",), "main", "no_server_name"),
        (("192.0.2.1",), "main", "not_a_host_name"),
        (("mail.edge.test",), "main", "main_name"),
        ((HOST, "--kind", "imaps"), "main", "mail_listener"),
        ((HOST, "--kind", "submission"), "main", "mail_listener"),
        ((HOST, "--kind", "lmtp"), "main", "mail_listener"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "none",
)
def test_the_choice_of_the_workers_is_explained(
    folder: Path, words: tuple[str, ...], certificate: str, reason: str
) -> None:
    facts = certedge(folder, "explain", *words, "--json").json
    assert set(facts) == {"server_name", "kind", "certificate", "reason", "fingerprint", "version"}
    assert (facts["certificate"], facts["reason"]) == (certificate, reason)
    assert facts["server_name"] == (words[0] or None)
    assert facts["kind"] == (words[2] if len(words) > 1 else "https")


def test_plain_output_says_why_in_words(folder: Path) -> None:
    ran = certedge(folder, "explain", "other.test")
    assert ran.code == 0
    assert "reason:           no site declares this name\n" in ran.out
    assert "covers the name:  no\n" in ran.out


@pytest.mark.parametrize("kind", ["http", "health", "gopher"])
def test_a_kind_without_tls_is_wrong_usage(folder: Path, kind: str) -> None:
    ran = certedge(folder, "explain", HOST, "--kind", kind)
    assert ran.code == 2
    assert "allowed: https, imap, imaps" in ran.err


def test_a_drop_that_was_refused_is_named_where_a_site_has_no_certificate(folder: Path) -> None:
    site = "webmail.client-b.test"
    add_site(folder, site, certificate="file")
    assert "last_attempt" not in certedge(folder, "explain", site, "--json").json
    (folder / "key.pem").write_bytes(CA.issue(site).privkey_pem)
    assert certedge(folder, "cert", "install", site, "--pem", "key.pem").code == 1
    ran = certedge(folder, "explain", site)
    assert "the site has no certificate yet" in ran.out
    assert f"{site}: the last drop was refused at " in ran.out
    assert "key.pem is missing; add it" in ran.out.splitlines()[-1]
    assert certedge(folder, "explain", site, "--json").json["last_attempt"]["outcome"] == "refused"
