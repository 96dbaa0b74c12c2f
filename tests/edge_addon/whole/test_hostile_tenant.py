"""One tenant does everything at once that costs others something; what the others get is measured beside it.

The tenant has drop folders of its own, a token with the scope `operate`, and the DNS of its names. It drops files that
never open and thousands of keys, claims names and upstreams in its site.yaml, leads links everywhere, uploads for
previews, orders and checks for names that do not resolve, guesses passwords, and sends bodies to what it may not do.

Each figure is compared with the same one of the quiet minutes before and after, in one run: how fast the machine is
plays no part. `FLOOR` is what a figure may take in any case.
"""

import base64
import contextlib
import itertools
import json
import logging
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.admin.console import Client
from tests.certstore.cli.command import certedge
from tests.certstore.renewal.scene import make_settings
from tests.deadlines import wait_for
from tests.hostile_files import PASSWORD, with_hidden_rounds, with_rounds_before_any_password
from tests.peers.pebble import Pebble
from tests.ports import free_port
from tests.running import RunningEdge, Site, drop_certificate, running_edge

pytestmark = pytest.mark.peer
logger = logging.getLogger(__name__)

CA = CertificateAuthority()
GOOD, ORDERED = "good.test", "ordered.test"
BAD = tuple(f"bad-{number}.test" for number in range(10))
TENANT = 4711
ENDLESS = 2**31 - 1
ROUNDS = 5
FLOOR = {"drop": 1.0, "handshake": 0.1, "healthz": 0.3, "console": 0.5, "order": 3.0}
"""Seconds: the first and the third are what a tenant may delay others by; the others are below what anybody notices."""


# The others


@dataclass
class Others:
    """Another tenant's drops and orders, and everybody's handshakes and console."""

    edge: RunningEdge
    client: Client
    certificates: Iterator[Issued] = field(default_factory=lambda: (CA.issue(GOOD) for _ in itertools.count()))

    def drop(self) -> None:
        issued = next(self.certificates)
        drop_certificate(self.edge.store, GOOD, issued)
        wait_for(lambda: self.edge.fingerprint("https", GOOD) == issued.fingerprint, "the drop to be served")

    def handshake(self) -> None:
        self.edge.fingerprint("https", GOOD)

    def healthz(self) -> None:
        assert self.client.get("/healthz").status == 200

    def console(self) -> None:
        assert self.client.get(f"/api/v1/sites/{GOOD}").status == 200

    def order(self) -> None:
        path = f"/api/v1/sites/{ORDERED}/orders"
        started = wait_for(lambda: self._started(path), "an order to begin", pause=0.1)
        ended = wait_for(lambda: self._ended(f"/api/v1/jobs/{started}"), "the order to end", pause=0.05)
        assert ended["state"] == "done", ended
        assert ended["result"]["outcome"] == "done", ended

    def _started(self, path: str) -> str | None:
        answer = self.client.send("POST", path, {"force": True})
        assert answer.status in (202, 409), answer.text
        return answer.json["id"] if answer.status == 202 else None

    def _ended(self, path: str) -> Any:
        job = self.client.get(path).json
        return job if job["state"] != "running" else None

    def measured(self) -> dict[str, float]:
        """The median of each figure, in seconds."""
        times: dict[str, list[float]] = {name: [] for name in FLOOR}
        for _ in range(ROUNDS):
            for name, repeats in {"drop": 1, "handshake": 5, "healthz": 5, "console": 5}.items():
                times[name] += [timed(getattr(self, name)) for _ in range(repeats)]
        times["order"] = [timed(self.order) for _ in range(2)]
        return {name: statistics.median(each) for name, each in times.items()}


def timed(act: Callable[[], None]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


# The tenant


class Tenant:
    """Does everything at once until the `with` ends; `done` counts what it began."""

    def __init__(self, edge: RunningEdge, port: int, token: str, pebble: Pebble) -> None:
        self._layout = Layout(edge.store)
        self._port, self._token, self._pebble = port, token, pebble
        self._stopping = threading.Event()
        self.done: dict[str, int] = {}

    @contextlib.contextmanager
    def attacking(self) -> Iterator[None]:
        acts = [self._drop_endless, self._drop_thousands, self._claim, self._lead_links, self._order, self._guess]
        acts += [self._preview] * 4
        with ThreadPoolExecutor(len(acts)) as pool:
            running = [pool.submit(self._repeat, act) for act in acts]
            try:
                names = {act.__name__ for act in acts}
                wait_for(lambda: self._has_begun(names, running), f"all of {sorted(names)} to have begun")
                yield
            finally:
                self._stopping.set()
            for each in running:
                each.result(120)

    def _has_begun(self, names: set[str], running: list[Future[None]]) -> bool:
        for each in running:
            if each.done():
                each.result()
        return names <= self.done.keys()

    def _repeat(self, act: Callable[[int], None]) -> None:
        for turn in itertools.count():
            self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
            with contextlib.suppress(TimeoutError):  # its own uploads may take long, on a busy machine
                act(turn)
            if self._stopping.wait(0.2):
                return

    def _client(self) -> Client:
        return Client(self._port, self._token, source="127.0.0.3")

    def _drop_endless(self, turn: int) -> None:
        for site in BAD:
            content = with_rounds_before_any_password(ENDLESS - turn)
            (self._layout.drop_folder(site) / "endless.p12").write_bytes(content)

    def _drop_thousands(self, turn: int) -> None:
        key = CA.issue("x.test").privkey_pem
        (self._layout.drop_folder(BAD[turn % len(BAD)]) / "keys.pem").write_bytes(key * (900_000 // len(key)))

    def _claim(self, turn: int) -> None:
        names = ", ".join([GOOD, "edge.test", *(f"n{each}.bad.test" for each in range(turn % 90))])
        text = (
            f"host: {GOOD}\nadditional_names: [{names}]\nupstream: unix:{self._layout.control_socket}\ninspect: true\n"
        )
        self._layout.site_yaml(BAD[turn % len(BAD)]).write_text(text)

    def _lead_links(self, turn: int) -> None:
        folder = self._layout.drop_folder(BAD[turn % len(BAD)])
        for number, target in enumerate((*Path("/etc").glob("*/*"), *Path("/proc/self").glob("*"))):
            link = folder / f"link-{number}.pem"
            if number < 60 and not link.is_symlink():
                link.symlink_to(target)
        for link in folder.glob("link-*"):
            link.unlink()

    def _preview(self, turn: int) -> None:
        content = base64.b64encode(with_hidden_rounds(ENDLESS)).decode()
        body = {"files": [{"name": "a.p12", "content": content}], "password": PASSWORD.decode()}
        answer = self._client().send("POST", f"/api/v1/sites/{BAD[turn % len(BAD)]}/certificate/preview", body)
        assert answer.status in (200, 409), answer.text

    def _order(self, turn: int) -> None:
        site = BAD[turn % len(BAD)]
        self._pebble.dns.set_servfail(site)
        for verb, body in {"preflights": None, "orders": {"force": True}}.items():
            answer = self._client().send("POST", f"/api/v1/sites/{site}/{verb}", body)
            assert answer.status < 500, answer.text

    def _guess(self, turn: int) -> None:
        client = Client(self._port, source="127.0.0.3")
        client.post_form("/sign-in", {"name": "anna", "password": f"guess {turn}"})
        refused = self._client().request(
            "PATCH", f"/api/v1/sites/{GOOD}", json.dumps({"contact": ["x"] * 100_000}).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        assert 400 <= refused.status < 500


@dataclass
class Stage:
    edge: RunningEdge
    others: Others
    tenant: Tenant


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    pebble, port = Pebble(0), free_port()
    settings = make_settings(pebble, 0) | {
        "listeners": [{"kind": "http"}, {"kind": "https"}],
        "admin": {"listen": f"127.0.0.1:{port}"},
        "upstream": "http://127.0.0.1:9",
    }
    sites = {
        "main": Site(CA.issue("edge.test")),
        GOOD: Site(CA.issue(GOOD)),
        ORDERED: Site(settings={"certificate": "acme"}),
        **{site: Site(CA.issue(site)) for site in BAD},
    }
    with running_edge(tmp_path, settings, sites) as edge:
        pebble.http_port = edge.port("http")
        if os.geteuid() == 0:
            for site in BAD:
                os.chown(Layout(edge.store).drop_folder(site), TENANT, TENANT)
        with pebble:
            tokens = [
                certedge(edge.folder, "admin", "token", "add", name, "--scope", "operate", *limit)
                for name, limit in {
                    "others": (), "tenant": [word for site in BAD for word in ("--site", site)],
                }.items()
            ]  # fmt: skip
            assert [each.code for each in tokens] == [0, 0], tokens
            others, tenant = (each.out.split()[-1] for each in tokens)
            wait_for(lambda: "the console is on" in edge.stderr, "the console")
            yield Stage(edge, Others(edge, Client(port, others)), Tenant(edge, port, tenant, pebble))


def test_what_one_tenant_does_costs_the_others_next_to_nothing(stage: Stage) -> None:
    stage.others.order()  # the first order registers the account
    before = stage.others.measured()
    with stage.tenant.attacking():
        under_attack = stage.others.measured()
    after = stage.others.measured()
    figures = {
        name: f"{under_attack[name]:.3f} s, quiet {before[name]:.3f} and {after[name]:.3f}" for name in under_attack
    }
    logger.info("%s; the tenant did %s", figures, stage.tenant.done)
    quiet = {name: max(before[name], after[name]) for name in before}
    slow = {name for name in quiet if under_attack[name] > 2 * quiet[name] + FLOOR[name]}
    assert not slow, figures
    entries = {site: certedge(stage.edge.folder, "site", "show", site, "--json").json for site in (GOOD, *BAD)}
    assert entries[GOOD]["names"] == [GOOD]
    assert all(entries[site]["names"] == [site] for site in BAD), "the tenant has the names that it had"
    assert certedge(stage.edge.folder, "explain", GOOD, "--json").json["certificate"] == GOOD
