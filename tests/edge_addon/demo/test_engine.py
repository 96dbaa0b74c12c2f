"""The etcd of the cluster demo."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from certstore.cluster.engine import EngineLost, Put
from certstore.cluster.etcd import EtcdMember
from certstore.cluster.etcd_gateway import engine_context
from edge_addon.demo import engine
from edge_addon.demo.engine import Engine, EngineMissing
from tests.certstore.cluster.engine_contract import written
from tests.deadlines import wait_for
from tests.peers import require_peer


def answers(member: EtcdMember) -> bool:
    try:
        return bool(member.read("/").revision)
    except EngineLost:
        return False


def test_it_keeps_its_data_over_a_kill(tmp_path: Path) -> None:
    require_peer("etcd")
    with Engine(tmp_path, "edge-a", datetime.now(UTC)) as running:
        running.start()
        member = EtcdMember(running.endpoint, engine_context(running.ca_file, running.credential))
        wait_for(lambda: answers(member), "it answers")
        written(member, Put("/a", b"x"))
        running.kill()
        with pytest.raises(EngineLost):
            member.read("/")
        running.start()
        wait_for(lambda: answers(member), "it answers again")
        assert member.read("/").items[0].value == b"x"
        member.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", urlsplit(running.endpoint).port or 0), 5).close()


def test_without_etcd_the_demo_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="apt install etcd-server"):
        Engine(tmp_path, "edge-a", datetime.now(UTC))


def test_an_etcd_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "etcd").chmod(0o755)
    monkeypatch.setattr(engine, "SYSTEM_PATH", str(tmp_path))
    with Engine(tmp_path / "engine", "edge-a", datetime.now(UTC)) as running, pytest.raises(EngineMissing, match="log"):
        running.start()
