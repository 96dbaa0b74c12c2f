"""Orders through the real edge: `certedge run` answers what Pebble asks, and serves what Pebble issued."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from tests.certstore.cli.command import certedge
from tests.certstore.renewal.scene import make_settings
from tests.deadlines import wait_for
from tests.peers.pebble import Pebble
from tests.running import RunningEdge, is_served_trusted, running_edge

pytestmark = pytest.mark.peer


@dataclass
class Stage:
    edge: RunningEdge
    pebble: Pebble

    @property
    def layout(self) -> Layout:
        return Layout(self.edge.store)

    def is_trusted(self, host: str) -> bool:
        """Whether a client that trusts Pebble's root and nothing else is served a certificate for this host."""
        return is_served_trusted(self.edge.port("https"), host, self.pebble.root())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    pebble = Pebble(0)
    settings = make_settings(pebble, 0) | {"listeners": [{"kind": "http"}, {"kind": "https"}], "workers": 2}
    with running_edge(tmp_path, settings) as edge:
        pebble.http_port = edge.port("http")
        with pebble:
            yield Stage(edge, pebble)


def test_site_is_ordered_for_and_served_within_seconds(stage: Stage) -> None:
    ran = certedge(stage.edge.folder, "site", "add", "a.test", "--name", "www.a.test", "--certificate", "acme")
    assert ran.code == 0, ran.err
    wait_for(lambda: stage.is_trusted("a.test"), "a certificate of Pebble's is served", seconds=60, pause=0.2)
    assert stage.is_trusted("www.a.test")
    assert not stage.is_trusted("b.test")
    assert list(stage.layout.challenges.iterdir()) == []
    status = certedge(stage.edge.folder, "site", "show", "a.test", "--json")
    assert status.code == 0, status.err


def test_order_by_hand_goes_through_control(stage: Stage) -> None:
    added = certedge(stage.edge.folder, "site", "add", "a.test", "--certificate", "acme")
    assert added.code == 0, added.err
    wait_for(lambda: stage.is_trusted("a.test"), "the first certificate", seconds=60, pause=0.2)
    before = stage.layout.live("a.test").readlink()
    ran = certedge(stage.edge.folder, "cert", "request", "a.test", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["outcome"] == "done"
    assert stage.layout.live("a.test").readlink() != before
    wait_for(
        lambda: stage.edge.fingerprint("https", "a.test") == ran.json["fingerprint"], "the new certificate is served"
    )


def test_main_certificate_is_ordered_too(stage: Stage) -> None:
    ran = certedge(stage.edge.folder, "site", "set", "main", "--certificate", "acme")
    assert ran.code == 0, ran.err
    wait_for(lambda: stage.is_trusted("edge.test"), "the main certificate is Pebble's", seconds=60, pause=0.2)


def test_drops_are_taken_in_while_orders_wait_for_a_ca_that_is_down(stage: Stage) -> None:
    stage.pebble.stop()
    certedge(stage.edge.folder, "site", "add", "a.test", "--certificate", "acme")
    shown = wait_for(
        lambda: (
            "ca_unreachable" in Path(stage.layout.records("a.test")).read_text()
            if stage.layout.records("a.test").exists()
            else False
        ),
        "the failure is on record",
        seconds=30,
    )
    assert shown
    ran = certedge(stage.edge.folder, "site", "add", "b.test")
    assert ran.code == 0, ran.err
