"""Control is killed at random points of orders, a hundred times: nothing is lost, left behind or ordered needlessly.

A process that has imported everything forks a control for each round, so that a round costs no second of imports.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from certstore.acme.order_journal import OrderJournal, OrderUnderWay
from certstore.model import layout as names
from certstore.model.layout import Layout
from certstore.store.reader import Store
from tests.certstore.acme.workshop import AlpnResponder, Responder
from tests.certstore.renewal.scene import make_settings, with_https
from tests.deadlines import wait_for
from tests.peers.pebble import Pebble

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("CERTEDGE_ORDER_KILLS", "100"))
LONGEST_LIFE = 1.1

_NURSERY = """
import json, os, sys
from pathlib import Path
from certstore.model.settings.models import Settings
import certstore.control.upkeep, certstore.control.commands.on_network
from certstore.control.process import run_control

base, facts = Path(sys.argv[1]), json.loads(sys.argv[2])
settings = Settings.model_validate(facts)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run_control(settings, base)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@dataclass
class Nursery:
    """Where controls come from, one at a time."""

    process: subprocess.Popen[str]
    pid: int = 0
    log: list[str] = field(default_factory=list)

    def bear(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.pid = int(self._line())

    def end(self, number: int) -> None:
        os.kill(self.pid, number)
        self.pid = 0
        assert self._line() == "gone"

    def end_at_once(self) -> None:
        """After a failed test one may still run."""
        if self.pid:
            self.end(signal.SIGKILL)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@dataclass
class Stage:
    """`kills`: how often control is killed. `proofs` is the folder where the way that is tested publishes."""

    kills: int
    layout: Layout
    proofs: Path
    pebble: Pebble
    nursery: Nursery

    def declare(self, host: str) -> None:
        folder = self.layout.drop_folder(host)
        folder.mkdir(parents=True)
        fresh = folder / ".site.yaml"
        fresh.write_text(yaml.safe_dump({"host": host, "certificate": "acme"}))
        fresh.rename(self.layout.site_yaml(host))

    def orders_under_way(self) -> list[OrderUnderWay]:
        """As the journal has them; an early kill comes before there is one."""
        if not self.layout.orders.exists():
            return []
        journal = OrderJournal(self.layout)
        orders = [journal.load(site) for site in journal.sites()]
        assert None not in orders, "a file of the journal is torn"
        return [order for order in orders if order is not None]

    def check_served(self) -> int:
        """Every `live` link leads to a whole version whose key belongs to its certificate; how many there are."""
        store, served = Store(self.layout), 0
        for link in self.layout.live_folder.iterdir() if self.layout.live_folder.exists() else ():
            live = store.live_version(link.name)
            assert live is not None, f"{link} leads to no whole version"
            combined = (link / names.COMBINED).read_bytes()
            assert combined == (link / names.PRIVKEY).read_bytes() + (link / names.FULLCHAIN).read_bytes()
            served += 1
        return served


@pytest.fixture(params=["http-01", "tls-alpn-01"])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    layout, way = Layout(tmp_path / "store"), str(request.param)
    kills = KILLS if way == "http-01" else KILLS // 2
    proofs = layout.challenges if way == "http-01" else layout.alpn_challenges
    responder, alpn = Responder(layout), AlpnResponder(layout)
    pebble = Pebble(responder.port)
    pebble.tls_port = alpn.port
    with responder.running(), alpn.running(), pebble, (tmp_path / "log").open("wb") as log:
        facts: dict[str, Any] = with_https(make_settings(pebble, responder.port, challenges=[way]), alpn.port)
        nursery = subprocess.Popen(
            [sys.executable, "-c", _NURSERY, str(tmp_path), json.dumps(facts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        made = Stage(kills, layout, proofs, pebble, Nursery(nursery))
        try:
            yield made
        finally:
            assert nursery.stdin is not None
            assert nursery.stdout is not None
            nursery.stdin.close()
            made.nursery.end_at_once()
            nursery.wait(30)
            nursery.stdout.close()


def test_kills_of_control_cost_nothing(stage: Stage) -> None:
    kills = stage.kills
    chance = random.Random(8555)
    hosts = []
    most_tokens = untold = 0
    urls: dict[str, set[str]] = {}
    for number in range(kills):
        hosts.append(f"site{number}.test")
        stage.declare(hosts[-1])
        stage.nursery.bear()
        pause = chance.uniform(0, LONGEST_LIFE)
        # The point of the kill is the test's whole matter, so here a moment is waited for and no condition.
        threading.Event().wait(pause)
        stage.nursery.end(signal.SIGKILL)
        stage.check_served()
        most_tokens = max(most_tokens, len(list(stage.proofs.iterdir())) if number else 0)
        for order in stage.orders_under_way():
            url = order.parts[0].url
            if url is None:
                untold += 1
            else:
                urls.setdefault(order.request.site, set()).add(url)
    stage.nursery.bear()
    store = Store(stage.layout)
    wait_for(lambda: all(store.live_version(host) for host in hosts), "every site is served", seconds=120, pause=0.2)
    stage.nursery.end(signal.SIGTERM)
    assert stage.check_served() == kills + 1
    assert most_tokens > 0, "kills hit orders in the middle of their proof"
    assert list(stage.proofs.iterdir()) == []
    assert list(stage.layout.orders.iterdir()) == []
    assert stage.pebble.accounts() == 1
    again = stage.pebble.orders() - kills
    # Only a kill between the request for an order and our writing its URL down can cost an order. How often kills hit
    # that moment is the machine's affair, that nothing else costs one is ours.
    assert again <= untold + max(kills // 20, 2), (
        f"{again} orders made again, {untold} kills before their URL was known"
    )
    made_again = [site for site, known in urls.items() if len(known) > 1]
    spoilt = stage.pebble.log.count(" set INVALID by completed challenge ")
    assert len(made_again) <= spoilt, f"{made_again}: orders whose URL was known and whose proof was good"
    assert spoilt <= max(kills // 20, 2), "kills spoil the proofs of orders that they interrupt"
    for host in hosts:
        # Two, where a kill came between archiving the certificate and making it live.
        versions = store.versions(host)
        assert len({version.fingerprint for version in versions}) == 1, host
        assert len(versions) <= 2, host
