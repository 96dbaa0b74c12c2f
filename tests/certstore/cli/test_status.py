import datetime as dt
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from certstore.model.cluster.standing import ClusterStanding
from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import add_site, certedge, install, on_terminal, write_edge
from tests.certstore.control.control_process import running_control

HOST = "webmail.client-a.test"
MAIN = "mail.edge.test"
CA = CertificateAuthority()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with a real main certificate, so that nothing is wrong at first."""
    write_edge(tmp_path)
    (tmp_path / "store/main/all.pem").write_bytes(CA.issue(MAIN).combined_pem)
    add_site(tmp_path, HOST)
    return tmp_path


def install_for(folder: Path, days: float) -> None:
    """A certificate of a usual lifetime that ends in so many days."""
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    install(folder, HOST, CA.issue(HOST, not_before=end - dt.timedelta(days=90), not_after=end))


def test_the_facts_have_the_agreed_shape(folder: Path) -> None:
    install_for(folder, 80)
    ran = certedge(folder, "status", "--json")
    assert ran.code == 0, ran.out
    assert set(ran.json) == {"control", "service", "sites", "ignored"}
    by_site = {each["site"]: each for each in ran.json["sites"]}
    assert list(by_site) == ["main", HOST]
    assert set(by_site[HOST]) == {
        "site", "host", "names", "source", "version", "fingerprint", "dns_names", "not_after", "state", "problems",
        "last_attempt",
    }  # fmt: skip
    assert (by_site[HOST]["state"], by_site[HOST]["problems"]) == ("ok", [])
    assert by_site[HOST]["last_attempt"]["outcome"] == "done"


CLUSTER = {"engine": ["https://127.0.0.1:2379"], "ca_file": "ca.pem", "client_cert": "client.pem"}


@pytest.mark.parametrize(
    ("problems", "code", "words"),
    [
        pytest.param((), 0, "cluster: 2 nodes, in step", id="in step"),
        pytest.param((("engine_full", "the engine is full"),), 3, "cluster: the engine is full", id="a problem"),
    ],
)
def test_a_node_of_a_cluster_says_how_it_stands(
    problems: tuple[tuple[str, str], ...], code: int, words: str, folder: Path
) -> None:
    install_for(folder, 80)
    edge = yaml.safe_load((folder / "edge.yaml").read_text())
    (folder / "edge.yaml").write_text(yaml.safe_dump(edge | {"cluster": CLUSTER}))
    silent = certedge(folder, "status", "--json")
    assert (silent.code, silent.json["cluster"]) == (0, None), "no control process says anything"
    now, layout = dt.datetime.now(dt.UTC), Layout(folder / "store")
    standing = ClusterStanding("edge-a", "c" * 16, now, True, now, "2 nodes, in step", problems=problems)
    layout.worker_reports.mkdir(exist_ok=True)
    layout.cluster_standing.write_text(json.dumps(standing.to_json()))
    ran = certedge(folder, "status", "--json")
    assert (ran.code, ran.json["cluster"]["line"]) == (code, "2 nodes, in step")
    assert words in certedge(folder, "status").out


@pytest.mark.parametrize(("days", "state"), [(80, "ok"), (3, "warning"), (-1, "expired")], ids=str)
def test_a_certificate_that_ends_is_a_problem_with_its_own_exit_code(folder: Path, days: float, state: str) -> None:
    install_for(folder, days)
    ran = certedge(folder, "status", "--json")
    assert ran.json["sites"][1]["state"] == state
    assert ran.code == (0 if state == "ok" else 3)


def test_plain_output_names_each_problem_in_words_and_sums_up(folder: Path) -> None:
    install_for(folder, -1)
    ran = certedge(folder, "status")
    assert ran.code == 3
    assert f"{HOST}: the certificate expired on " in ran.out
    assert ran.out.splitlines()[-1] == "2 sites, 1 with problems"


def test_only_sites_with_problems_are_shown_when_asked(folder: Path) -> None:
    install_for(folder, -1)
    ran = certedge(folder, "status", "--problems", "--json")
    assert [each["site"] for each in ran.json["sites"]] == [HOST]


def test_the_output_says_whether_control_runs(folder: Path) -> None:
    assert certedge(folder, "status").out.startswith("control: not running")
    assert certedge(folder, "status", "--json").json["control"] == {"running": False, "pid": None}
    assert certedge(folder, "site", "set", HOST, "--no-inspect", "--json").json["service_runs"] is False
    with running_control(folder) as control:
        assert certedge(folder, "status").out.startswith(f"control: running (pid {control.process.pid})")
        assert certedge(folder, "status", "--json").json["control"] == {"running": True, "pid": control.process.pid}
        changed = certedge(folder, "site", "set", HOST, "--contact", "ops@client-a.test")
        assert f"now served for {HOST}: main version 1" in changed.out
        assert certedge(folder, "site", "set", HOST, "--inspect", "--json").json["service_runs"] is True
        assert "WARNING control socket" not in control.stderr


def test_an_entry_of_domains_that_is_not_a_site_is_listed_and_is_not_a_problem_of_a_site(folder: Path) -> None:
    domains = folder / "store/domains"
    (domains / "WebMail.X.test").mkdir()
    (domains / "Upper.test.pem").touch()
    (domains / f"{HOST}.pem").touch()
    plain, facts = certedge(folder, "status", "--problems"), certedge(folder, "status", "--json")
    assert (plain.code, facts.code) == (0, 0)
    told = {"Upper.test.pem": "rename it to upper.test.pem", "WebMail.X.test": "rename it to webmail.x.test"}
    for name, what in told.items():
        assert f"{domains / name} is ignored: {what}\n" in plain.out
    assert plain.out.endswith("2 sites, no problems\n")
    assert facts.json["ignored"] == [{"path": str(domains / name), "what_to_do": what} for name, what in told.items()]


def test_a_store_that_no_service_has_opened_yet_is_reported(tmp_path: Path) -> None:
    write_edge(tmp_path)
    ran = certedge(tmp_path, "status")
    assert ran.code == 1
    assert f"the store {tmp_path / 'store'} is new" in ran.err
    assert "certedge run" in ran.err
    shutil.rmtree(tmp_path / "store")
    gone = certedge(tmp_path, "site", "list").err
    assert "there is no store" in gone
    assert "certedge init" in gone


@pytest.mark.parametrize("columns", [120, 80, 60], ids=str)
@pytest.mark.parametrize("words", ["status", "site list", f"cert history {HOST}"], ids=str)
def test_a_narrow_terminal_breaks_no_name_and_no_date(folder: Path, words: str, columns: int) -> None:
    long = "webmail-and-autodiscover.of-a-subsidiary.client-a.test"
    add_site(folder, long)
    issued = CA.issue(HOST, f"autodiscover.{HOST}")
    install(folder, HOST, issued)
    shown = on_terminal(folder, b"", *words.split(), columns=columns).out
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines()]
    table = [line for line in lines if ": " not in line]  # sentences below a table wrap as the terminal likes
    assert max(map(len, table)) <= columns, shown
    assert f"{issued.not_after:%Y-%m-%d}" in shown
    assert HOST in shown
    assert (long in shown) == (not words.startswith("cert"))
