"""Orders of sites by dns-01: wildcards through the real edge, and a record journal over restarts.

The zones' servers have an address that the edge does not ask, so it has the resolver's word for what is in a zone.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certstore.acme.dns.record_journal import Placed, RecordJournal
from certstore.files.clock import utc_now
from certstore.model.layout import Layout
from tests.certstore.cli.command import certedge
from tests.certstore.renewal.scene import make_settings
from tests.deadlines import wait_for
from tests.peers.bind import Bind
from tests.peers.pebble import Pebble
from tests.running import RunningEdge, is_served_trusted, running_edge

pytestmark = pytest.mark.peer

APEX, WILDCARD = "client-a.test", "*.client-a.test"
PLACE = f"_acme-challenge.{APEX}"


@dataclass
class Stage:
    edge: RunningEdge
    pebble: Pebble
    bind: Bind

    @property
    def layout(self) -> Layout:
        return Layout(self.edge.store)

    def is_trusted(self, host: str) -> bool:
        return is_served_trusted(self.edge.port("https"), host, self.pebble.root())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """No CA reaches ports 80 and 443 of any name. A record of an earlier process is still in the zone."""
    # The zone above is asked for CAA records: without it, the answer would come from the internet, or fail.
    zones = {APEX: [], "client-b.test": ["@ A 127.0.0.1"], "test": list[str]()}
    bind = Bind(zones, read_only=["client-b.test"], server_address="10.255.255.1")
    with bind, Pebble(1, dns_server=bind.address) as pebble:
        way = {"server": bind.address, "tsig_secret_file": str(bind.key_file)}
        acme: dict[str, Any] = {"resolver": bind.address, "dns": {"rfc2136": way}}
        settings = make_settings(pebble, 0, **acme)
        settings |= {"listeners": [{"kind": "http"}, {"kind": "https"}], "workers": 1}
        bind.add_text(APEX, PLACE, "left behind")
        bind.add_text(APEX, PLACE, "somebody else's")
        layout = Layout(tmp_path / "store")
        for folder in (layout.state, layout.temporary):
            folder.mkdir(parents=True)
        journal = RecordJournal(layout)
        journal.put(Placed("left behind", PLACE, PLACE, APEX, utc_now()))
        journal.close()
        with running_edge(tmp_path, settings) as edge:
            yield Stage(edge, pebble, bind)


def test_a_wildcard_site_is_ordered_and_served_end_to_end(stage: Stage) -> None:
    folder = stage.edge.folder
    ran = certedge(folder, "site", "add", APEX, "--name", WILDCARD, "--certificate", "acme")
    assert ran.code == 0, ran.err
    wait_for(lambda: stage.is_trusted(APEX), "a certificate of Pebble's is served", seconds=120, pause=0.2)
    assert stage.is_trusted(f"anything.{APEX}")
    assert not stage.is_trusted(f"too.deep.{APEX}")
    wait_for(lambda: stage.bind.texts(PLACE) == {"somebody else's"}, "the records of ours are gone")
    ran = certedge(folder, "preflight", APEX, "--json")
    assert ran.code == 0, ran.out
    assert ran.json["findings"] == []


def test_a_zone_that_refuses_is_said_in_the_sites_record(stage: Stage) -> None:
    folder = stage.edge.folder
    added = certedge(folder, "site", "add", "client-b.test", "--name", "*.client-b.test", "--certificate", "file")
    assert added.code == 0, added.err
    assert certedge(folder, "site", "set", "client-b.test", "--certificate", "acme").code == 0
    ran = certedge(folder, "preflight", "client-b.test", "--json")
    messages = [each["message"] for each in ran.json["findings"]]
    assert any("refuses the update: the key may not change this name" in each for each in messages), messages
    assert stage.bind.secret not in json.dumps(ran.json)
