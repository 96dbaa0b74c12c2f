import datetime as dt
import os
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import add_site, certedge, install, open_folder, write_edge

HOST = "webmail.client-a.test"
CA = CertificateAuthority()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with the site HOST, never served yet."""
    write_edge(tmp_path)
    add_site(tmp_path, HOST)
    return tmp_path


def served(folder: Path) -> bytes | None:
    path = Layout(folder / "store").live(HOST) / "fullchain.pem"
    return path.read_bytes() if path.exists() else None


def test_a_pair_of_files_is_installed_and_the_output_says_what_is_served(folder: Path) -> None:
    issued = CA.issue(HOST)
    issued.write_to(folder / "in")
    ran = certedge(
        folder, "cert", "install", HOST, "--fullchain", "in/fullchain.pem", "--privkey", folder / "in/privkey.pem"
    )
    assert ran.code == 0, ran.err
    assert f"version 1 is live: {HOST}" in ran.out
    what = f"{HOST} version 1 ({issued.fingerprint[:16]}…)"
    assert f"served for {HOST} once the service runs (certedge run): {what}" in ran.out
    assert "now" not in ran.out
    assert served(folder) == issued.fullchain_pem


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(b"pass word\n", id="plain"),
        pytest.param(b"\xef\xbb\xbfpass word\r\n", id="with a byte order mark"),
        pytest.param("pass word\r\n".encode("utf-16"), id="in UTF-16"),
    ],
)
def test_a_pkcs12_file_is_installed_with_a_password_from_a_file_or_from_stdin(folder: Path, written: bytes) -> None:
    issued = CA.issue(HOST)
    (folder / "a.p12").write_bytes(issued.pkcs12(b"pass word"))
    (folder / "password").write_bytes(written)
    by_file = certedge(folder, "cert", "install", HOST, "--p12", "a.p12", "--password-file", "password", "--json")
    assert by_file.json["fingerprint"] == issued.fingerprint
    (folder / "b.p12").write_bytes(CA.issue(HOST).pkcs12(b"other"))
    by_stdin = certedge(
        folder, "cert", "install", HOST, "--p12", "b.p12", "--password-file", "-", "--json", given=b"other\n"
    )
    assert by_stdin.json["version"] == 2
    wrong = certedge(folder, "cert", "install", HOST, "--p12", "b.p12", "--password-file", "-", given=b"secret-guess")
    assert wrong.code == 1
    assert "secret-guess" not in wrong.err + wrong.out


def test_no_option_takes_a_password_itself(folder: Path) -> None:
    assert certedge(folder, "cert", "install", HOST, "--p12", "a.p12", "--password", "x").code == 2


def test_a_refused_pair_changes_nothing_and_every_reason_is_on_stderr(folder: Path) -> None:
    install(folder, HOST, CA.issue(HOST))
    before = served(folder)
    (folder / "bad.pem").write_bytes(CA.issue(HOST).fullchain_pem + CA.issue(HOST).privkey_pem)
    ran = certedge(folder, "cert", "install", HOST, "--pem", "bad.pem", "--json")
    assert ran.code == 1
    assert f"certedge: could not install a certificate for {HOST}\n  found: " in ran.err
    assert "  to do: nothing has changed; clients get the same certificate as before" in ran.err
    assert "--force" not in ran.err
    assert ran.json["findings"][0]["code"] == "key_mismatch"
    assert served(folder) == before


def test_force_is_offered_and_works_only_where_a_person_may_be_right(folder: Path) -> None:
    expired = CA.issue(HOST, not_after=dt.datetime.now(dt.UTC) - dt.timedelta(days=2))
    (folder / "expired.pem").write_bytes(expired.combined_pem)
    refused = certedge(folder, "cert", "install", HOST, "--pem", "expired.pem")
    assert refused.code == 1
    assert "To install it anyway: --force" in refused.err
    forced = certedge(folder, "cert", "install", HOST, "--pem", "expired.pem", "--force")
    assert forced.code == 0
    assert "note: " in forced.out
    (folder / "bad.pem").write_bytes(CA.issue(HOST).fullchain_pem + CA.issue(HOST).privkey_pem)
    assert certedge(folder, "cert", "install", HOST, "--pem", "bad.pem", "--force").code == 1


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--fullchain", "a.pem"),
        ("--privkey", "a.pem"),
        ("--pem", "a.pem", "--p12", "b.p12"),
        ("--fullchain", "a.pem", "--privkey", "b.pem", "--pem", "c.pem"),
    ],
    ids=["no file", "no key", "no certificate", "two ways", "three files"],
)
def test_options_that_do_not_name_the_files_are_wrong_usage(folder: Path, options: tuple[str, ...]) -> None:
    ran = certedge(folder, "cert", "install", HOST, *options)
    assert ran.code == 2
    assert "--p12 FILE --password-file FILE" in ran.err


def test_a_file_that_is_not_there_or_too_large_is_named(folder: Path) -> None:
    missing = certedge(folder, "cert", "install", HOST, "--pem", "missing.pem")
    assert missing.code == 1
    assert "missing.pem: No such file or directory" in missing.err
    assert f"to do: check the name; a relative one counts from {folder}" in missing.err
    (folder / "large.pem").write_bytes(bytes(10_000_000))
    large = certedge(folder, "cert", "install", HOST, "--pem", "large.pem")
    assert large.code == 1
    assert "large.pem is larger than 1000000 bytes" in large.err


def test_history_lists_versions_newest_first_and_marks_the_live_one(folder: Path) -> None:
    for _ in range(2):
        install(folder, HOST, CA.issue(HOST))
    facts = certedge(folder, "cert", "history", HOST, "--json").json
    assert [(each["version"], each["is_live"]) for each in facts["versions"]] == [(2, True), (1, False)]
    assert facts["attempts"][0]["outcome"] == "done"
    lines = certedge(folder, "cert", "history", HOST).out.splitlines()
    assert lines[0].split()[:2] == ["version", "made"]
    assert lines[1].split()[:2] == ["2", "live"]


def test_rollback_goes_to_the_version_before_or_to_the_one_named(folder: Path) -> None:
    contents = [CA.issue(HOST) for _ in range(3)]
    for issued in contents:
        install(folder, HOST, issued)
    back = certedge(folder, "cert", "rollback", HOST)
    assert back.code == 0
    assert "version 2 is live" in back.out
    assert served(folder) == contents[1].fullchain_pem
    assert certedge(folder, "cert", "rollback", HOST, "1", "--json").json["served"]["version"] == 1
    absent = certedge(folder, "cert", "rollback", HOST, "7")
    assert absent.code == 1
    assert f"{HOST} has no version 7; kept: 1, 2, 3\n" in absent.err
    assert f"see: certedge cert history {HOST}" in absent.err


def test_export_writes_once_and_says_when_nothing_has_changed(folder: Path) -> None:
    install(folder, HOST, CA.issue(HOST))
    first = certedge(folder, "cert", "export", HOST, "out", "--json").json
    assert first["changed"]
    assert str(Path("out/privkey.pem")) in first["files"]
    again = certedge(folder, "cert", "export", HOST, "out")
    assert again.code == 0
    assert "already" in again.out


def test_export_of_a_site_without_a_certificate_points_to_main(folder: Path) -> None:
    ran = certedge(folder, "cert", "export", HOST, "out")
    assert ran.code == 1
    assert "certedge cert export main DIR" in ran.err
    assert not (folder / "out").exists()


@pytest.mark.parametrize("words", [("history",), ("rollback",), ("export", "out")], ids=lambda words: words[0])
def test_an_unknown_site_is_reported(folder: Path, words: tuple[str, ...]) -> None:
    ran = certedge(folder, "cert", words[0], "nowhere.test", *words[1:])
    assert ran.code == 1
    assert "there is no site nowhere.test" in ran.err
    slip = certedge(folder, "cert", words[0], f"{HOST}x", *words[1:])
    assert f"did you mean {HOST}?" in slip.err


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("../main", "a key is a host name, or letters"),
        ("a b", "a key is a host name, or letters"),
        ("under_score.test", "is not a host name"),
        ("*.a.test", "is a wildcard"),
    ],
)
def test_an_invalid_site_key_is_wrong_usage(folder: Path, key: str, meant: str) -> None:
    ran = certedge(folder, "cert", "history", key)
    assert ran.code == 2
    assert "is not a valid site key" in ran.err
    assert meant in ran.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_history_for_a_user_who_may_not_read_the_store_says_who_may() -> None:
    with open_folder() as folder:
        write_edge(folder)
        add_site(folder, HOST)
        ran = certedge(folder, "cert", "history", HOST, user=65534)
    assert ran.code == 1
    assert "Permission denied" in ran.err
    assert "as the user that runs the service" in ran.err
