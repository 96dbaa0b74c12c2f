"""`certedge cluster front-access`, and what an administrator does with it: up to a front that has joined."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.certstore.cli.command import Ran, certedge, write_edge
from tests.peers.etcd import Etcd


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd(1) as running:
        yield running


@pytest.fixture
def first(tmp_path: Path, etcd: Etcd) -> Path:
    folder = tmp_path / "a"
    folder.mkdir()
    write_edge(folder)
    words = ("--engine", etcd.endpoints[0], "--ca-file", str(etcd.ca_file), "--client-cert", str(etcd.client_cert))
    assert certedge(folder, "cluster", "init", *words, "--node", "edge-a").code == 0
    return folder


def set_up(folder: Path, etcd: Etcd) -> None:
    """As the command says: the script, the full node's password, then access control."""
    reach = {"ENDPOINTS": etcd.endpoints[0], "CACERT": etcd.ca_file, "CERT": etcd.client_cert, "KEY": etcd.client_cert}
    environment = {f"ETCDCTL_{name}": str(value) for name, value in reach.items()} | {"PATH": os.environ["PATH"]}
    subprocess.run(["sh", "access/setup"], cwd=folder, env=environment, check=True, capture_output=True, timeout=60)
    settings = yaml.safe_load((folder / "edge.yaml").read_text())
    settings["cluster"] |= {"username": "certedge", "password_file": "access/certedge"}
    (folder / "edge.yaml").write_text(yaml.safe_dump(settings))
    etcd.control("auth", "enable")


def invite(folder: Path, etcd: Etcd, *words: str) -> Ran:
    credential = ("--username", "edge-f", "--password-file", "access/edge-f", "--client-cert", str(etcd.client_cert))
    return certedge(folder, "cluster", "invite", "edge-f", "--front", *credential, *words)


@pytest.mark.peer
def test_a_front_joins_with_a_credential_of_its_own(first: Path, etcd: Etcd, tmp_path: Path) -> None:
    ran = certedge(first, "cluster", "front-access", "edge-f", "--out", "access")
    assert ran.code == 0, ran.err
    assert "sh access/setup" in ran.out
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (first / "access").iterdir()}
    assert files == {"setup": 0o700, "root": 0o600, "certedge": 0o600, "edge-f": 0o600}
    refused = certedge(first, "cluster", "invite", "edge-f", "--front")
    assert refused.code == 1
    assert "certedge cluster front-access edge-f" in refused.err
    set_up(first, etcd)
    text = invite(first, etcd).out
    second = tmp_path / "f"
    second.mkdir()
    write_edge(second)
    joined = certedge(second, "cluster", "join", "-", given=text.encode())
    assert joined.code == 0, joined.err
    section = yaml.safe_load((second / "edge.yaml").read_text())["cluster"]
    assert (section["username"], section["password_file"]) == ("edge-f", "cluster/engine-password")
    added = certedge(second, "site", "add", "webmail.client-a.test")
    assert added.code == 1
    assert "edge-f is a front, which changes nothing" in added.err
    assert "do it on a full node, e.g. edge-a" in added.err
    status = certedge(first, "cluster", "status", "--json").json
    assert [(each["name"], each["role"]) for each in status["nodes"]] == [("edge-a", "edge"), ("edge-f", "front")]
    another = certedge(first, "cluster", "front-access", "edge-g", "--out", "another", "--json").json
    assert another["files"] == ["edge-g", "setup"], "the full nodes have their user already"
    assert "auth enable" not in certedge(first, "cluster", "front-access", "edge-h", "--out", "third").out
    rotated = certedge(first, "cluster", "rotate-key", "--json").json
    assert "records sealed anew" in rotated["message"]
    removed = certedge(first, "cluster", "remove", "edge-f", "--compromised")
    assert removed.code == 0, removed.err
    assert "edge-f has left the cluster" in removed.out
    assert "take the credential of edge-f for the engine away" in removed.out
    assert certedge(second, "cluster", "status").code == 3, "it was not given the new key"
    status = certedge(first, "cluster", "status", "--json").json
    assert [each["name"] for each in status["nodes"]] == ["edge-a"]


def test_wrong_usage_writes_nothing(tmp_path: Path) -> None:
    write_edge(tmp_path)
    for words in (("../x",), ("root",), ("certedge",)):
        ran = certedge(tmp_path, "cluster", "front-access", *words, "--out", "access")
        assert ran.code == 2, ran.err
        assert not (tmp_path / "access").exists()
