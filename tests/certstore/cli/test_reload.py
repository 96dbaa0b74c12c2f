"""`certedge reload` with a running service."""

import getpass
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.certstore.cli.command import certedge, write_edge
from tests.deadlines import wait_for
from tests.edge_addon.clients import Client
from tests.ports import listening_socket
from tests.running import RunningEdge, running_edge


def change(edge: RunningEdge, **keys: Any) -> None:
    edge.config.write_text(yaml.safe_dump(yaml.safe_load(edge.config.read_text()) | keys))


def test_new_settings_are_served_when_the_command_ends(tmp_path: Path) -> None:
    with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}) as edge:
        before = edge.worker_pids()
        change(edge, workers=2)
        ran = certedge(tmp_path, "reload")
        assert (ran.code, ran.out.startswith("serving http on 127.0.0.1:")) == (0, True), ran.err
        assert "with 2 workers" in ran.out
        assert len(set(edge.worker_pids()) - set(before)) == 2
        assert certedge(tmp_path, "reload", "--json").json["verdict"] == "serving"
        log = edge.store / "admin" / "audit.jsonl"
        wait_for(lambda: log.exists() and log.read_text().count("service.reload") == 2, "who asked for the reloads")
        noted = [json.loads(line) for line in log.read_text().splitlines()]
        # The second changed nothing.
        assert [each["who"] for each in noted if each["action"] == "settings.apply"] == ["service"]
        assert {each["who"] for each in noted if each["action"] == "service.reload"} == {f"unix {getpass.getuser()}"}


def test_settings_with_faults_fail_before_the_service_is_asked(tmp_path: Path) -> None:
    with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}) as edge:
        settings = edge.config.read_text()
        edge.config.write_text(settings.replace("listeners", "listners"))
        ran = certedge(tmp_path, "reload")
        assert ran.code == 2
        assert "listners" in ran.err
        assert "the service continues with the settings that it has" in ran.err
        assert "reloading" not in edge.stderr


def test_settings_that_the_service_refuses_fail_and_the_state_says_so(tmp_path: Path) -> None:
    with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}) as edge, listening_socket() as taken:
        settings = yaml.safe_load(edge.config.read_text())
        health = {"kind": "health", "listen": f"127.0.0.1:{taken.getsockname()[1]}"}
        change(edge, listeners=[*settings["listeners"], health])
        ran = certedge(tmp_path, "reload")
        assert ran.code == 1
        assert "the port is in use by" in ran.err
        assert certedge(tmp_path, "reload", "--json").json["verdict"] == "refused"
        status = certedge(tmp_path, "status")
        assert status.code == 3
        assert "the last reload was refused" in status.out
        with Client(edge.port("http")) as client:
            assert client.is_served()
        edge.config.write_text(yaml.safe_dump(settings))
        assert certedge(tmp_path, "reload").code == 0
        assert "refused" not in certedge(tmp_path, "status").out


def test_service_without_control_is_not_whole(tmp_path: Path) -> None:
    with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}) as edge:
        journal = edge.store / "tmp"
        journal.rename(edge.store / "tmp.away")
        journal.write_text("no folder: control can't start")
        ran = certedge(tmp_path, "reload")
        assert ran.code == 1
        assert "without control" in ran.err
        journal.unlink()
        (edge.store / "tmp.away").rename(journal)


@pytest.mark.parametrize("words", [["--timeout", "1"], []])
def test_without_a_service_there_is_nothing_to_reload(tmp_path: Path, words: list[str]) -> None:
    write_edge(tmp_path)
    ran = certedge(tmp_path, "reload", *words)
    assert ran.code == 1
    assert "no service runs on the store" in ran.err


def test_service_with_another_file_is_named(tmp_path: Path) -> None:
    with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}) as edge:
        other = tmp_path / "other"
        other.mkdir()
        (other / "edge.yaml").write_text(yaml.safe_dump({"store": str(edge.store)}))
        ran = certedge(other, "reload")
        assert ran.code == 2
        assert f"certedge reload --config {edge.config}" in ran.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs processes of two users")
def test_root_signals_no_process_that_another_user_named(tmp_path: Path) -> None:
    with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}) as edge:
        (report,) = wait_for(lambda: list((edge.store / "state").rglob("service*.json")), "the service's report")
        os.chown(report, 65534, -1)
        ran = certedge(tmp_path, "reload")
        assert ran.code == 1
        assert "names a process of another user" in ran.err
        assert "reloading" not in edge.stderr
