"""What `certedge status` says of the service behind a store."""

from pathlib import Path

import yaml

from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import certedge
from tests.deadlines import wait_for
from tests.edge_addon.clients import Client
from tests.ports import free_port
from tests.running import MAIN_HOST, Site, running_edge

CA = CertificateAuthority()


def test_settings_that_were_changed_or_broken_since_are_named(tmp_path: Path) -> None:
    sites = {"main": CA.issue(MAIN_HOST)}
    with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}, sites) as edge:
        settings = edge.config.read_text()
        ran = certedge(tmp_path, "status", "--json")
        assert (ran.code, ran.json["service"]["settings"], ran.json["service"]["pid"]) == (0, "applied", edge.pid)
        edge.config.write_text(settings + "# a comment\n")
        assert certedge(tmp_path, "status", "--json").json["service"]["settings"] == "applied"
        edge.config.write_text(settings + "sweep_seconds: 30\n")
        ran = certedge(tmp_path, "status")
        assert ran.code == 0
        assert "was changed after the service read it" in ran.out
        edge.config.write_text(settings + "sweep_seconds: [30\n")
        ran = certedge(tmp_path, "status")
        assert ran.code == 3, ran.err
        assert "edge.yaml can't be used" in ran.out
        assert "the service runs with the settings of" in ran.out
        assert MAIN_HOST in ran.out
        assert certedge(tmp_path, "status", "--json").json["service"]["settings"] == "broken"


def test_faults_without_a_store_are_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("listners: []\n")
    assert certedge(tmp_path, "status").code == 2


def test_web_and_mail_servers_that_are_down_are_problems(tmp_path: Path) -> None:
    web, mail = free_port(), free_port()
    settings = {
        "listeners": [{"kind": "http"}, {"kind": "smtp", "upstream": f"127.0.0.1:{mail}"}],
        "upstream": f"http://127.0.0.1:{web}",
        "http": {"redirect_to_https": False},
    }
    with running_edge(tmp_path, settings, {"main": Site(CA.issue(MAIN_HOST))}) as edge:
        assert certedge(tmp_path, "status").code == 0
        with Client(edge.port("http")) as client:
            assert client.ask().startswith(b"HTTP/1.1 502")
        with Client(edge.port("smtp")) as client:
            client.socket.sendall(b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\n")
            while b"\r\n421 " not in b"\r\n" + client.socket.recv(4096):
                pass

        def codes() -> list[str]:
            return [each["code"] for each in certedge(tmp_path, "status", "--json").json["service"]["problems"]]

        wait_for(lambda: codes() == ["upstream_down"] * 2, "both servers to be reported")
        ran = certedge(tmp_path, "status")
        assert ran.code == 3
        assert f"the web server http://127.0.0.1:{web} has been down since" in ran.out
        assert f"the mail server 127.0.0.1:{mail} has been down since" in ran.out


def test_other_file_without_faults_opens_as_ever(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text(yaml.safe_dump({"store": "nowhere"}))
    assert certedge(tmp_path, "status").code == 1
