"""Several edges share certificates over a real etcd: what one takes in, all serve, and losing etcd loses nothing."""

import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.peers.etcd import Etcd
from tests.running import RunningEdge, drop_certificate, running_edge, write_site

FIRST, SECOND, THIRD = "client-a.test", "client-b.test", "client-c.test"


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd() as etcd:
        yield etcd


def certedge(edge: RunningEdge, *words: str, given: str | None = None, codes: Collection[int] = (0,)) -> str:
    """What the command prints."""
    program = [sys.executable, "-m", "edge_addon.cli", *words, "--config", str(edge.config)]
    ran = subprocess.run(program, input=given, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode in codes, f"{' '.join(words)}: exit code {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def found(edge: RunningEdge, etcd: Etcd) -> None:
    """Make this edge the first node, as an administrator does."""
    members = [word for endpoint in etcd.endpoints for word in ("--engine", endpoint)]
    files = ["--ca-file", str(etcd.ca_file), "--client-cert", str(etcd.client_cert)]
    certedge(edge, "cluster", "init", "--node", edge.folder.name, *members, *files)
    edge.reload()


def join(edge: RunningEdge, inviter: RunningEdge, *options: str) -> None:
    """`invite` on one machine, piped to `join` on the other."""
    invitation = certedge(inviter, "cluster", "invite", edge.folder.name)
    certedge(edge, "cluster", "join", "-", *options, given=invitation)


def standing(edge: RunningEdge) -> dict[str, Any]:
    # A self-signed main certificate is a problem of its own.
    facts: dict[str, Any] = json.loads(certedge(edge, "status", "--json", codes=(0, 3)))
    cluster: dict[str, Any] = facts["cluster"]
    return cluster


def wait_in_step(edges: list[RunningEdge]) -> None:
    def are_in_step() -> bool:
        for edge in edges:
            nodes = json.loads(certedge(edge, "cluster", "status", "--json", codes=(0, 3)))["nodes"]
            if len(nodes) != len(edges) or any(node["state"] != "in_step" for node in nodes):
                return False
        return True

    wait_for(are_in_step, "all nodes are in step", seconds=90, pause=0.5)


def wait_served(edges: list[RunningEdge], site: str, issued: Issued) -> None:
    for edge in edges:
        wait_for(
            lambda edge=edge: edge.fingerprint("https", site) == issued.fingerprint,  # type: ignore[misc]
            f"{edge.folder.name} serves the new certificate of {site}\n{edge.stderr}",
        )


@pytest.fixture
def edges(tmp_path: Path, ca: CertificateAuthority, etcd: Etcd) -> Iterator[list[RunningEdge]]:
    """Three nodes; the first one had a site before there was a cluster."""
    settings = {"listeners": [{"kind": "http"}, {"kind": "https"}]}
    with ExitStack() as stack:
        edges = []
        for name in ("edge-a", "edge-b", "edge-c"):
            folder = tmp_path / name
            folder.mkdir()
            sites = {FIRST: ca.issue(FIRST)} if name == "edge-a" else {}
            edges.append(stack.enter_context(running_edge(folder, settings, sites)))
        found(edges[0], etcd)
        for edge in edges[1:]:
            join(edge, edges[0])
            edge.reload()
        yield edges


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_drop_anywhere_is_served_everywhere_with_and_without_the_engine(
    edges: list[RunningEdge], etcd: Etcd, ca: CertificateAuthority
) -> None:
    before = edges[0].fingerprint("https", FIRST)
    for edge in edges:
        wait_for(lambda edge=edge: edge.fingerprint("https", FIRST) == before, "what was there before is shared")  # type: ignore[misc]

    dropped = ca.issue(SECOND)
    write_site(edges[1].store, SECOND, dropped)
    wait_served(edges, SECOND, dropped)
    added = certedge(edges[0], "site", "add", "client-d.test")
    assert re.search(r"^live here; [0-2] of 2 other nodes have it", added, re.MULTILINE), added
    wait_in_step(edges)
    # Nodes write their standing down every few seconds: it may lag behind what `cluster status` asks the engine for.
    wait_for(lambda: standing(edges[2])["line"] == "3 nodes, in step", "the node knows that, too", pause=0.5)
    holders = {wait_for(lambda edge=edge: standing(edge).get("caretaker"), "somebody renews") for edge in edges}  # type: ignore[misc]
    assert len(holders) == 1, "one node renews for all"

    etcd.stop()
    alone = ca.issue(THIRD)
    write_site(edges[2].store, THIRD, alone)
    wait_served(edges[2:], THIRD, alone)
    for edge in edges:
        assert edge.fingerprint("https", SECOND) == dropped.fingerprint, "losing the engine loses no traffic"
    assert edges[0].fingerprint("https", THIRD) != alone.fingerprint
    wait_for(lambda: not standing(edges[2])["is_attached"], "the node says that it is detached", pause=0.5)
    wait_for(lambda: standing(edges[2])["unpublished"] == 1, "and that a site waits", pause=0.5)

    etcd.start()
    wait_served(edges, THIRD, alone)
    wait_in_step(edges)


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_server_without_listeners_keeps_the_sites_that_it_needs(
    tmp_path: Path, etcd: Etcd, ca: CertificateAuthority
) -> None:
    """A database server of the install gets the main certificate, as files and with a stamp that its daemons watch."""
    main = ca.issue("edge.test")
    for name in ("edge-a", "database"):
        (tmp_path / name).mkdir()
    with (
        running_edge(tmp_path / "edge-a", {"listeners": [{"kind": "https"}]}, {FIRST: ca.issue(FIRST)}) as edge,
        running_edge(tmp_path / "database", {"listeners": []}) as database,
    ):
        found(edge, etcd)
        join(database, edge, "--only", "main")
        database.reload()
        drop_certificate(edge.store, "main", main)
        live = database.store / "live" / "main" / "cert.pem"
        wait_for(lambda: live.exists() and live.read_bytes() == main.cert_pem, "main is live on the database server")
        assert (database.store / "stamps" / "main").exists()
        assert not database.worker_pids()
        sites = json.loads(certedge(database, "status", "--json"))["sites"]
        assert [site["site"] for site in sites] == ["main"]
