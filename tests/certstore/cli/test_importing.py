"""`certedge import` on a store that has sites already: what it says beforehand, and what it leaves alone."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from certstore.model.layout import Layout
from certstore.store.reader import Store
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.cli.command import add_site, certedge, install, on_terminal, open_folder, write_edge
from tests.certstore.cli.test_import_sources import certbot_account, certbot_lineage
from tests.certstore.model.bundles import DAY, NOW

CA = CertificateAuthority()
NEWER = NOW - timedelta(hours=2)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        write_edge(made)
        yield made


def bluemind(folder: Path, **found: Issued) -> Path:
    certs = folder / "certs"
    certs.mkdir(exist_ok=True)
    for name, issued in found.items():
        place = "bm_cert.pem" if name == "main" else f"bm_cert-{name.replace('_', '.')}.pem"
        (certs / place).write_bytes(issued.combined_pem)
    return certs


def live(folder: Path, site: str) -> str:
    version = Store(Layout(folder / "store")).live_version(site)
    assert version is not None
    return version.fingerprint


def store_files(folder: Path) -> dict[str, bytes]:
    """All that is served, and every site.yaml."""
    store = folder / "store"
    places = [store / "archive", store / "main", store / "domains"]
    files = [path for place in places if place.exists() for path in place.rglob("*") if path.is_file()]
    links = {f"live/{path.name}": str(path.readlink()).encode() for path in (store / "live").iterdir()}
    return {str(path.relative_to(store)): path.read_bytes() for path in files} | links


def plan(folder: Path, *words: str | Path) -> dict[str, Any]:
    ran = certedge(folder, "import", *words, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    return {each["site"]: each for each in ran.json["sites"]}


def test_main_that_exists_stays_as_it_is_even_with_yes(folder: Path) -> None:
    ours = CA.issue("mail.edge.test", not_before=NOW - 20 * DAY)
    install(folder, "main", ours)
    certs = bluemind(folder, main=CA.issue("mail.edge.test", not_before=NEWER))
    before = store_files(folder)
    planned = plan(folder, "--bluemind", certs)["main"]
    assert planned["action"] == "keep"
    assert "--overwrite main" in planned["what"][0]
    ran = certedge(folder, "import", "--bluemind", certs, "--yes")
    assert ran.code == 0, ran.err
    assert "nothing to import" in ran.out
    assert live(folder, "main") == ours.fingerprint
    assert store_files(folder) == before


def test_main_is_overwritten_when_it_is_named(folder: Path) -> None:
    install(folder, "main", CA.issue("mail.edge.test", not_before=NOW - 20 * DAY))
    theirs = CA.issue("mx.edge.test", not_before=NEWER)
    certs = bluemind(folder, main=theirs)
    words = plan(folder, "--bluemind", certs, "--overwrite", "main")["main"]
    assert words["action"] == "overwrite"
    said = "; ".join(words["what"])
    assert "version 2 is replaced" in said or "version 1 is replaced" in said
    assert "host mail.edge.test becomes mx.edge.test" in said
    ran = certedge(folder, "import", "--bluemind", certs, "--overwrite", "main", "--yes")
    assert ran.code == 0, ran.err + ran.out
    assert live(folder, "main") == theirs.fingerprint


def test_older_certificate_never_replaces_a_newer_one(folder: Path) -> None:
    ours = CA.issue("mail.edge.test", not_before=NEWER)
    install(folder, "main", ours)
    certs = bluemind(folder, main=CA.issue("mail.edge.test", not_before=NOW - 20 * DAY, not_after=NOW + 300 * DAY))
    before = store_files(folder)
    ran = certedge(folder, "import", "--bluemind", certs, "--overwrite", "main", "--yes")
    assert ran.code == 0, ran.err
    assert "its certificate is newer" in ran.out
    assert store_files(folder) == before


def test_only_the_new_and_the_named_sites_change(folder: Path) -> None:
    kept = CA.issue("a.test", not_before=NOW - 20 * DAY)
    for site in ("a.test", "b.test"):
        add_site(folder, site)
        install(folder, site, kept if site == "a.test" else CA.issue(site, not_before=NOW - 20 * DAY))
    found = {site: CA.issue(site.replace("_", "."), not_before=NEWER) for site in ("a_test", "b_test", "c_test")}
    certs = bluemind(folder, **found)
    actions = {
        site: each["action"] for site, each in plan(folder, "--bluemind", certs, "--overwrite", "b.test").items()
    }
    assert actions == {"a.test": "keep", "b.test": "overwrite", "c.test": "add"}
    ran = certedge(folder, "import", "--bluemind", certs, "--overwrite", "b.test", "--yes", "--json")
    assert ran.code == 0, ran.err
    assert {each["site"]: each["outcome"] for each in ran.json["sites"]} == {
        "a.test": "noted",
        "b.test": "done",
        "c.test": "done",
    }
    assert live(folder, "a.test") == kept.fingerprint
    assert live(folder, "b.test") == found["b_test"].fingerprint
    assert live(folder, "c.test") == found["c_test"].fingerprint


def test_folder_that_no_service_has_read_yet_is_a_site_that_exists(folder: Path) -> None:
    site = folder / "store/domains/a.test"
    site.mkdir(parents=True)
    (site / "site.yaml").write_text("host: a.test\nupstream: http://10.0.0.7:80\n")
    certs = bluemind(folder, a_test=CA.issue("a.test"))
    assert plan(folder, "--bluemind", certs)["a.test"]["action"] == "keep"
    assert certedge(folder, "import", "--bluemind", certs, "--yes").code == 0
    assert yaml.safe_load((site / "site.yaml").read_text()) == {"host": "a.test", "upstream": "http://10.0.0.7:80"}


def test_main_without_a_certificate_gets_its_first_one_and_keeps_its_host(folder: Path) -> None:
    theirs = CA.issue("imap.edge.test", "mail.edge.test")
    certs = bluemind(folder, main=theirs)
    planned = plan(folder, "--bluemind", certs)["main"]
    assert (planned["action"], planned["names"]) == ("fill", ["mail.edge.test", "imap.edge.test"])
    assert certedge(folder, "import", "--bluemind", certs, "--yes").code == 0
    assert live(folder, "main") == theirs.fingerprint
    assert yaml.safe_load((folder / "store/main/site.yaml").read_text())["host"] == "mail.edge.test"


def test_main_without_a_certificate_is_not_given_another_host_unasked(folder: Path) -> None:
    certs = bluemind(folder, main=CA.issue("mail.other.test"))
    certedge(folder, "site", "list")
    ran = certedge(folder, "import", "--bluemind", certs, "--yes")
    assert "--overwrite main" in ran.out
    assert yaml.safe_load((folder / "store/main/site.yaml").read_text()) == {"host": "mail.edge.test"}


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_without_a_terminal_it_needs_yes(folder: Path, more: tuple[str, ...]) -> None:
    certs = bluemind(folder, a_test=CA.issue("a.test"))
    ran = certedge(folder, "import", "--bluemind", certs, *more)
    assert ran.code == 2
    assert "confirm with --yes" in ran.err
    assert not (folder / "store/domains/a.test").exists()


@pytest.mark.parametrize(("typed", "is_done"), [(b"n\n", False), (b"y\n", True)])
def test_on_a_terminal_it_asks(folder: Path, typed: bytes, is_done: bool) -> None:
    certs = bluemind(folder, a_test=CA.issue("a.test"))
    ran = on_terminal(folder, typed, "import", "--bluemind", str(certs))
    assert "Do this?" in ran.out
    assert ran.code == (0 if is_done else 1)
    assert (folder / "store/domains/a.test").exists() is is_done


def test_site_that_was_not_found_can_t_be_overwritten(folder: Path) -> None:
    certs = bluemind(folder, a_test=CA.issue("a.test"))
    ran = certedge(folder, "import", "--bluemind", certs, "--overwrite", "z.test", "--yes")
    assert ran.code == 2
    assert "nothing was found for this site" in ran.err
    assert not (folder / "store/domains/a.test").exists()


def test_plan_names_what_is_not_taken_over(folder: Path) -> None:
    certbot = folder / "letsencrypt"
    certbot_lineage(certbot, "a.test", CA.issue("a.test", key_type="rsa2048"))
    with (certbot / "renewal/a.test.conf").open("a") as conf:
        conf.write("reuse_key = True\nrenew_hook = systemctl reload postfix\n")
    url = certbot_account(certbot)
    ran = certedge(folder, "import", "--certbot", certbot, "--dry-run")
    assert ran.code == 0, ran.err
    assert "a.test: the key type rsa2048 is not taken over" in ran.out
    assert "a.test: key reuse" in ran.out
    assert "renew_hook = systemctl reload postfix" in ran.out
    assert f"{url} is imported" in ran.out
    assert certedge(folder, "import", "--certbot", certbot, "--yes").code == 0
    again = certedge(folder, "import", "--certbot", certbot, "--dry-run")
    assert "is not taken over: an account at this CA exists here and is kept" in again.out


def test_user_who_can_t_read_the_store_is_not_told_that_everything_is_new(folder: Path) -> None:
    install(folder, "main", CA.issue("mail.edge.test"))
    certs = bluemind(folder, main=CA.issue("mail.edge.test", not_before=NEWER))
    (certs / "bm_cert.pem").chmod(0o644)
    ran = certedge(folder, "import", "--bluemind", certs, "--dry-run", user=65534)
    assert ran.code == 1
    assert "Permission denied" in ran.err
