"""Whole nodes, a real etcd and Pebble: an order outlives the node that began it, and nothing is ordered twice."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.store.reader import Store
from tests.certstore.cli.command import certedge
from tests.certstore.cluster.whole_nodes import WholeNodes, whole_nodes
from tests.deadlines import wait_for

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(600)]

ORDERS = int(os.environ.get("CERTEDGE_CLUSTER_ORDERS", "6"))
HOW = ("killed", "paused", "cut off")
TAKEOVER_SECONDS = 15.0


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
def test_each_order_ends_once_whatever_happens_to_who_makes_it(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Set CERTEDGE_CLUSTER_ORDERS for more of them. The moment is drawn anew each time."""
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
            wait_for(lambda layout=layout: not list(layout.challenges.iterdir()), "no token is left")  # type: ignore[misc]
            live = [Store.open(layout.root).live_version(f"s{number}.test") for number in range(ORDERS)]
            assert all(each is not None and each.source.startswith("acme:") for each in live)
    record_property("takeover seconds", sorted(round(seconds, 1) for seconds in takeovers))
