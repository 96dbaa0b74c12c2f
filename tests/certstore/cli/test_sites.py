import os
from pathlib import Path

import pytest
import yaml

from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import add_site, certedge, install, on_terminal, write_edge

HOST = "webmail.client-a.test"
CA = CertificateAuthority()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_edge(tmp_path)
    return tmp_path


def site_yaml(folder: Path, site: str = HOST) -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load((folder / "store/domains" / site / "site.yaml").read_text())
    return loaded


def names(folder: Path, site: str = HOST) -> list[str]:
    shown: list[str] = certedge(folder, "site", "show", site, "--json").json["names"]
    return shown


def test_an_added_site_is_written_and_listed(folder: Path) -> None:
    words = ("--name", "autodiscover.client-a.test", "--upstream", "http://10.0.0.5:8080", "--contact", "ops@a.test")
    ran = certedge(folder, "site", "add", HOST, *words)
    assert ran.code == 0, ran.err
    assert f"site {HOST} added: {HOST}, autodiscover.client-a.test" in ran.out
    assert f"served for {HOST} once the service runs (certedge run): main version 1" in ran.out
    assert site_yaml(folder) == {
        "host": HOST,
        "additional_names": ["autodiscover.client-a.test"],
        "upstream": "http://10.0.0.5:8080",
        "contact": ["ops@a.test"],
    }
    listed = certedge(folder, "site", "list", "--json").json["sites"]
    assert [each["site"] for each in listed] == ["main", HOST]
    assert set(listed[1]) == {"site", "host", "names", "source", "version", "not_after", "state"}


def test_a_site_set_to_acme_says_when_its_certificate_is_ordered(folder: Path) -> None:
    ran = certedge(folder, "site", "add", HOST, "--certificate", "acme")
    step = "the certificate is ordered once the service runs (certedge run)"
    assert f"next: {step}; to check for obstacles: certedge preflight {HOST}\n" in ran.out
    assert certedge(folder, "site", "set", HOST, "--certificate", "acme", "--json").json["source"] == "acme"


def test_a_key_that_is_not_a_host_name_needs_a_host(folder: Path) -> None:
    ran = certedge(folder, "site", "add", "client-a")
    assert ran.code == 2
    assert "--host" in ran.err
    assert certedge(folder, "site", "add", "client-a", "--host", HOST).code == 0
    assert site_yaml(folder, "client-a") == {"host": HOST}


def test_an_existing_site_is_not_added_again(folder: Path) -> None:
    add_site(folder, HOST)
    ran = certedge(folder, "site", "add", HOST, "--name", "b.test")
    assert ran.code == 1
    assert f"to change it: certedge site set {HOST}" in ran.err
    assert names(folder) == [HOST]


def test_set_changes_what_is_named_and_nothing_else(folder: Path) -> None:
    add_site(folder, HOST, additional_names=["a.test"], inspect=True)
    ran = certedge(folder, "site", "set", HOST, "--add-name", "b.test", "--remove-name", "a.test")
    assert ran.code == 0, ran.err
    assert "new names: b.test; removed names: a.test" in ran.out
    assert site_yaml(folder) == {"host": HOST, "additional_names": ["b.test"], "inspect": True}
    certedge(folder, "site", "set", HOST, "--no-inspect", "--name", "c.test", "--name", "d.test")
    assert site_yaml(folder) == {"host": HOST, "additional_names": ["c.test", "d.test"]}
    certedge(folder, "site", "set", HOST, "--unset", "additional_names")
    assert site_yaml(folder) == {"host": HOST}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no change was given"),
        (("--unset", "host"), "--unset host: allowed:"),
        (("--certificate", "files"), "certificate: found 'files'; allowed:"),
        (("--name", "bad name"), "is not a host name"),
        (("--certificate", "acme", "--name", "*.test"), "this wildcard can't be ordered"),
        (("--remove-name", "z.test"), "z.test is not an additional name of the site"),
    ],
    ids=["nothing", "unset host", "choice", "name", "wildcard by ACME", "name not there"],
)
def test_wrong_settings_are_wrong_usage_and_change_nothing(folder: Path, words: tuple[str, ...], said: str) -> None:
    add_site(folder, HOST)
    ran = certedge(folder, "site", "set", HOST, *words)
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert site_yaml(folder) == {"host": HOST}


def test_a_linked_site_yaml_is_not_changed(folder: Path) -> None:
    add_site(folder, HOST)
    path = folder / "store/domains" / HOST / "site.yaml"
    path.rename(folder / "managed.yaml")
    path.symlink_to(folder / "managed.yaml")
    ran = certedge(folder, "site", "set", HOST, "--add-name", "b.test")
    assert ran.code == 1
    assert f"is a link to {folder / 'managed.yaml'}; change that file instead" in ran.err
    assert site_yaml(folder) == {"host": HOST}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_a_tenant_wrote_is_applied_when_it_is_adopted(folder: Path) -> None:
    add_site(folder, HOST)
    path = Layout(folder / "store").site_yaml(HOST)
    path.write_text(f"host: {HOST}\nadditional_names: [a.test]\n")
    os.chown(path.parent, 4711, 4711)
    shown = certedge(folder, "site", "set", HOST, "--contact", "ops@a.test")
    assert shown.code == 0
    path.write_text(f"host: {HOST}\nadditional_names: [b.test]\n")
    ran = certedge(folder, "site", "adopt", HOST)
    assert ran.code == 0
    assert f"settings adopted: names {HOST}, b.test" in ran.out
    missing = certedge(folder, "site", "adopt", "no.such.test")
    assert missing.code == 2
    assert "there is no" in missing.err


def test_a_removed_site_gets_main_and_is_gone_from_the_list(folder: Path) -> None:
    add_site(folder, HOST)
    ran = certedge(folder, "site", "remove", HOST, "--yes")
    assert ran.code == 0
    assert "no site declares this name" in ran.out
    assert [each["site"] for each in certedge(folder, "site", "list", "--json").json["sites"]] == ["main"]


def test_without_a_terminal_nothing_is_removed_unasked(folder: Path) -> None:
    add_site(folder, HOST)
    ran = certedge(folder, "site", "remove", HOST)
    assert ran.code == 2
    assert "--yes" in ran.err
    assert names(folder) == [HOST]


def test_on_a_terminal_the_command_asks_first(folder: Path) -> None:
    add_site(folder, HOST)
    no = on_terminal(folder, b"n\n", "site", "remove", HOST)
    assert no.code == 1
    assert f"Remove {HOST}?" in no.out
    assert names(folder) == [HOST]
    assert on_terminal(folder, b"y\n", "site", "remove", HOST).code == 0


def test_a_terminal_gets_colours_and_a_pipe_does_not(folder: Path) -> None:
    add_site(folder, HOST)
    assert "\x1b[" in on_terminal(folder, b"", "site", "list").out
    plain = certedge(folder, "site", "list").out
    assert "\x1b" not in plain
    assert [line.split()[0] for line in plain.splitlines()] == ["site", "main", HOST]


def test_show_prints_everything_about_one_site(folder: Path) -> None:
    add_site(folder, HOST)
    issued = CA.issue(HOST)
    install(folder, HOST, issued)
    out = certedge(folder, "site", "show", HOST).out
    assert f"fingerprint:       {issued.fingerprint}" in out
    assert "intake done: version 1 is live" in out
    missing = certedge(folder, "site", "show", "nowhere.test")
    assert missing.code == 1
    assert "there is no site 'nowhere.test'" in missing.err
    assert f"did you mean {HOST}?" in certedge(folder, "site", "show", f"{HOST}x").err


@pytest.mark.parametrize("columns", [120, 80, 60], ids=str)
def test_a_narrow_terminal_breaks_no_name_of_a_site(folder: Path, columns: int) -> None:
    names = [f"autodiscover-{number}.client-a.test" for number in range(9)]
    add_site(folder, HOST, additional_names=names)
    shown = on_terminal(folder, b"", "site", "show", HOST, columns=columns).out
    assert max(map(len, shown.splitlines())) <= columns
    for name in names:
        assert name in shown
