"""A front as administrators run it: it serves what the full node has, changes nothing, and can be put out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.edge_addon.whole.test_cluster import certedge, found, wait_in_step, wait_served
from tests.peers.etcd import Etcd
from tests.running import RunningEdge, running_edge, write_site

FIRST, SECOND, THIRD, FOURTH = "client-a.test", "client-b.test", "client-c.test", "client-d.test"


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd(1) as etcd:
        yield etcd


@pytest.fixture
def edges(tmp_path: Path, etcd: Etcd) -> Iterator[tuple[RunningEdge, RunningEdge]]:
    """The full node, and the front, as deploy/cluster says."""
    settings = {"listeners": [{"kind": "http"}, {"kind": "https"}]}
    with ExitStack() as stack:
        running = []
        for name in ("edge-a", "edge-f"):
            (tmp_path / name).mkdir()
            running.append(stack.enter_context(running_edge(tmp_path / name, settings, {})))
        full, front = running
        found(full, etcd)
        access = tmp_path / "access"
        certedge(full, "cluster", "front-access", "edge-f", "--out", str(access))
        reach = {"ENDPOINTS": etcd.endpoints[0], "CACERT": etcd.ca_file, "CERT": etcd.client_cert}
        environment = {f"ETCDCTL_{name}": str(value) for name, value in reach.items()}
        environment |= {"ETCDCTL_KEY": str(etcd.client_cert), "PATH": os.environ["PATH"]}
        subprocess.run(["sh", str(access / "setup")], env=environment, check=True, capture_output=True, timeout=60)
        facts = yaml.safe_load(full.config.read_text())
        facts["cluster"] |= {"username": "certedge", "password_file": str(access / "certedge")}
        full.config.write_text(yaml.safe_dump(facts))
        full.reload()
        etcd.control("auth", "enable")
        credential = ("--username", "edge-f", "--password-file", str(access / "edge-f"))
        invite = ("cluster", "invite", "edge-f", "--front", *credential, "--client-cert", str(etcd.client_cert))
        certedge(front, "cluster", "join", "-", given=certedge(full, *invite))
        front.reload()
        yield full, front


def problems(edge: RunningEdge) -> set[str]:
    facts = json.loads(certedge(edge, "status", "--json", codes=(0, 3)))
    return {problem["code"] for site in facts["sites"] for problem in site["problems"]}


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_front_serves_changes_nothing_and_is_put_out(edges: tuple[RunningEdge, RunningEdge]) -> None:
    ca, (full, front) = CertificateAuthority(), edges
    wait_in_step([full, front])
    first = ca.issue(FIRST)
    write_site(full.store, FIRST, first)
    wait_served([full, front], FIRST, first)

    second = ca.issue(SECOND)
    write_site(front.store, SECOND, second)
    wait_for(lambda: "ignored_on_front" in problems(front), "the drop on the front is named")
    assert (front.store / "domains" / SECOND).is_dir(), "it is left where it is"
    for edge in edges:
        assert edge.fingerprint("https", SECOND) != second.fingerprint
    refused = subprocess.run(
        [sys.executable, "-m", "edge_addon.cli", "site", "remove", FIRST, "--yes", "--config", str(front.config)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "edge-f is a front, which changes nothing" in refused.stderr
    assert "do it on a full node, e.g. edge-a" in refused.stderr

    certedge(full, "cluster", "rotate-key")
    third = ca.issue(THIRD)
    write_site(full.store, THIRD, third)
    wait_served([full, front], THIRD, third)
    wait_in_step([full, front])

    certedge(full, "cluster", "remove", "edge-f", "--compromised")
    wait_for(lambda: "key_exposed" in problems(full), "what the front knew is to be replaced")
    fourth = ca.issue(FOURTH)
    write_site(full.store, FOURTH, fourth)
    wait_served([full], FOURTH, fourth)
    assert front.fingerprint("https", FOURTH) != fourth.fingerprint
    assert front.fingerprint("https", THIRD) == third.fingerprint, "it goes on with what it has"
