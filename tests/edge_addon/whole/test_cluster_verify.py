"""`certedge verify --nodes`: what every node really serves, whatever the engine says."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority
from tests.edge_addon.whole.test_cluster import certedge, found, join, wait_in_step, wait_served
from tests.peers.etcd import Etcd
from tests.running import running_edge, write_site

SITE = "client-a.test"


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_node_that_serves_an_older_certificate_is_found_by_handshake(tmp_path: Path) -> None:
    ca = CertificateAuthority()
    first, second = ca.issue(SITE), ca.issue(SITE)
    settings = {"listeners": [{"kind": "https"}]}
    for name in ("edge-a", "edge-b"):
        (tmp_path / name).mkdir()
    with (
        Etcd(1) as etcd,
        running_edge(tmp_path / "edge-a", settings, {SITE: first}) as edge,
        running_edge(tmp_path / "edge-b", settings) as other,
    ):
        found(edge, etcd)
        join(other, edge, "--address", "127.0.0.1")
        other.reload()
        wait_in_step([edge, other])
        wait_served([edge, other], SITE, first)
        [node] = json.loads(certedge(edge, "verify", "--nodes", "--json"))["nodes"]
        assert (node["node"], node["unchecked"]) == ("edge-b", [])
        assert {check["server_name"] for check in node["checks"]} == {None, "edge.test", SITE}
        assert all(check["ok"] for check in node["checks"])

        # Its control process hears nothing any more, as with an engine that withholds changes; its workers serve on.
        control = other.control_pid()
        os.kill(control, signal.SIGSTOP)
        try:
            write_site(edge.store, SITE, second)
            wait_served([edge], SITE, second)
            shown = certedge(edge, "verify", "--nodes", codes=(3,))
        finally:
            os.kill(control, signal.SIGCONT)
        assert "WRONG" not in shown.partition("edge-b")[0]
        assert "WRONG: it serves version 1; live is version 2 of client-a.test" in shown.partition("edge-b")[2]
        wait_served([other], SITE, second)
        certedge(edge, "verify", "--nodes")
