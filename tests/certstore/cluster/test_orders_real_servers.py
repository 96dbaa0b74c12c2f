"""Whole nodes, a real etcd and Pebble: an order outlives the node that began it, and nothing is ordered twice."""

from __future__ import annotations

import itertools
import logging
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certstore.acme.account import Accounts
from certstore.model.layout import Layout
from certstore.store.reader import Store
from tests.certstore.cli.command import certedge
from tests.certstore.cluster.whole_nodes import WholeNodes, whole_nodes
from tests.deadlines import wait_for
from tests.running import RunningEdge

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(600)]

ORDERS = int(os.environ.get("CERTEDGE_CLUSTER_ORDERS", "6"))
HOW = ("killed", "paused", "cut off")

logger = logging.getLogger(__name__)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[WholeNodes]:
    with whole_nodes(tmp_path, "edge-a", "edge-b") as stage:
        yield stage


@pytest.mark.parametrize("how", HOW)
def test_another_node_goes_on_with_the_same_order(how: str, stage: WholeNodes) -> None:
    """The one that began it is disturbed while the CA looks, and comes back when all is over."""
    holder = stage.wait_caretaker()
    other = stage.others(holder)[0]
    stage.http.target = other.port("http")
    stage.http.hold_requests()
    assert certedge(other.folder, "site", "add", "a.test", "--certificate", "acme").code == 0
    wait_for(lambda: stage.http.is_holding, "the CA looks", pause=0.05)
    stage.disturb(holder, how)
    stage.http.release()
    wait_for(lambda: stage.served("a.test", other), "the other node has the certificate", pause=0.2)
    first = other.fingerprint("https", "a.test")

    stage.heal(holder)
    wait_for(lambda: stage.served("a.test"), "the one that comes back follows", pause=0.2)
    assert (stage.pebble.orders(), stage.certificates(), stage.pebble.accounts()) == (1, 1, 1)
    asked = certedge(holder.folder, "cert", "request", "a.test")
    assert asked.code == 0, asked.err
    wait_for(lambda: len(stage.fingerprints("a.test")) == 1, "all serve what was ordered next", pause=0.2)
    assert other.fingerprint("https", "a.test") != first, "nobody resumes what has ended"
    assert (stage.pebble.orders(), stage.certificates(), stage.pebble.accounts()) == (2, 2, 1)


def test_two_people_who_order_at_once_make_one_order(stage: WholeNodes) -> None:
    holder = stage.wait_caretaker()
    other = stage.others(holder)[0]
    assert certedge(holder.folder, "site", "add", "a.test", "--certificate", "acme").code == 0
    wait_for(lambda: stage.served("a.test"), "both serve it", pause=0.2)
    stage.http.target = holder.port("http")
    stage.http.hold_requests()
    before = stage.pebble.orders()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(certedge, other.folder, "cert", "request", "a.test")
        wait_for(lambda: stage.http.is_holding, "the CA looks", pause=0.05)
        refused = certedge(holder.folder, "cert", "request", "a.test")
        stage.http.release()
        done = asked.result()
    assert done.code == 0, done.err
    assert refused.code != 0
    assert f"{other.folder.name} orders a certificate for a.test now" in refused.err
    assert stage.pebble.orders() == before + 1
    wait_for(lambda: len(stage.fingerprints("a.test")) == 1, "both serve the new one", pause=0.2)
    assert stage.pebble.accounts() == 1


@pytest.mark.timeout(120 + 40 * ORDERS)
def test_each_order_ends_once_whatever_happens_to_who_makes_it(tmp_path: Path) -> None:
    """The moment is drawn anew each time. For more of them, and how long the takeovers took:

    CERTEDGE_CLUSTER_ORDERS=300 pytest -n 0 -k whatever_happens --log-cli-level=INFO PATH
    """
    drawn = random.Random(os.urandom(8))
    takeovers = []
    with whole_nodes(tmp_path, "edge-a", "edge-b", "edge-c") as stage:
        for number, how in zip(range(ORDERS), itertools.cycle(HOW), strict=False):
            holder, host = stage.wait_caretaker(), f"s{number}.test"
            others = stage.others(holder)
            stage.http.target = drawn.choice(others).port("http")
            assert certedge(others[0].folder, "site", "add", host, "--certificate", "acme").code == 0
            time.sleep(drawn.uniform(0, 1.5))
            stage.disturb(holder, how)
            began = time.monotonic()
            wait_for(lambda: stage.served(host, *others), f"{host} is served, {holder.folder.name} {how}", pause=0.2)  # noqa: B023
            takeovers.append(time.monotonic() - began)
            stage.heal(holder)
            stage.wait_attached(holder)
            wait_for(lambda: stage.served(host), "by all", pause=0.2)  # noqa: B023
            wait_for(lambda: len(stage.fingerprints(host)) == 1, "the same by all", pause=0.2)  # noqa: B023
            assert stage.certificates() == number + 1, f"{host}, {holder.folder.name} {how}"
        assert stage.pebble.accounts() == 1
        for node in stage.nodes:
            layout = Layout(node.store)
            wait_for(lambda layout=layout: not tokens_of_orders(layout), "no token is left")  # type: ignore[misc]
            live = [Store.open(layout.root).live_version(f"s{number}.test") for number in range(ORDERS)]
            assert all(each is not None and each.source.startswith("acme:") for each in live)
    logger.info("takeovers in seconds: %s", sorted(round(seconds, 1) for seconds in takeovers))


def test_without_the_engine_a_person_may_order_on_one_node(stage: WholeNodes) -> None:
    holder = stage.wait_caretaker()
    other = stage.others(holder)[0]
    assert certedge(holder.folder, "site", "add", "a.test", "--certificate", "acme").code == 0
    wait_for(lambda: stage.served("a.test"), "both serve it", pause=0.2)
    first = other.fingerprint("https", "a.test")
    refused = certedge(other.folder, "cert", "request", "a.test", "--detached")
    assert refused.code != 0
    assert "order without --detached" in refused.err

    stage.etcd.stop()
    for node in stage.nodes:
        why = wait_for(lambda node=node: _refused(node), f"{node.folder.name} orders no longer", pause=0.5)  # type: ignore[misc]
        assert "certedge cert request a.test --detached" in why
    stage.http.target = other.port("http")
    ordered = certedge(other.folder, "cert", "request", "a.test", "--detached")
    assert ordered.code == 0, ordered.err
    assert other.fingerprint("https", "a.test") != first
    assert holder.fingerprint("https", "a.test") == first

    stage.etcd.start()
    wait_for(lambda: stage.fingerprints("a.test") == {other.fingerprint("https", "a.test")}, "all serve it", pause=0.2)
    assert other.fingerprint("https", "a.test") != first
    assert (stage.pebble.orders(), stage.pebble.accounts()) == (2, 1)


def _refused(node: RunningEdge) -> str:
    """How the node refuses to order while it has no lease, empty while it still has one."""
    asked = certedge(node.folder, "cert", "request", "a.test")
    return asked.err if "another node may be ordering" in asked.err else ""


def tokens_of_orders(layout: Layout) -> list[Path]:
    """Those of a preflight that was killed go within the hour."""
    thumbprints = Accounts(layout).thumbprints()
    return [path for path in layout.challenges.iterdir() if path.read_text().partition(".")[2] in thumbprints]
