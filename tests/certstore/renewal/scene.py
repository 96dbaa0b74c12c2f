"""What maintenance works on: a store with its writer, a real Pebble, and a responder in place of the edge's workers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certstore.acme.challenge_kinds import challenge_kinds
from certstore.acme.name_probe import Ports
from certstore.control.upkeep import Upkeep
from certstore.model.duty import Duty
from certstore.model.record import Record
from certstore.model.renewal.probe_targets import ProbeTargets
from certstore.model.settings.models import Settings, SiteSettings
from certstore.store.writer import StoreWriter
from tests.certstore.acme.workshop import AlpnResponder, Responder
from tests.peers.acme2certifier import Acme2certifier
from tests.peers.pebble import Pebble


class Clock:
    """The present time, which a test can move forward."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def forward(self, **by: float) -> None:
        self.offset += timedelta(**by)


@dataclass
class Scene:
    writer: StoreWriter
    settings: Settings
    base: Path
    pebble: Pebble
    responder: Responder
    alpn: AlpnResponder
    clock: Clock

    duty: Duty | None = None

    def upkeep(self) -> Upkeep:
        return Upkeep(self.writer, self.settings, self.base, clock=self.clock, duty=self.duty)

    def probing_upkeep(self, **bounds: Any) -> Upkeep:
        """With preflights that ask where the scene's servers are, in place of ports 80 and 443."""
        upkeep = self.upkeep()
        context = upkeep.maintenance.context
        ports, targets = Ports(self.responder.port, self.alpn.port), ProbeTargets(allows_private=True)
        kinds = challenge_kinds(self.writer.layout, self.settings, self.base, ports, targets)
        context.preflight = replace(context.preflight, kinds=kinds, **bounds)
        return upkeep

    @contextlib.contextmanager
    def running(self) -> Iterator[Upkeep]:
        upkeep = self.upkeep()
        upkeep.start()
        try:
            yield upkeep
        finally:
            upkeep.stop()

    def add(self, host: str, *additional: str, **settings: Any) -> str:
        given = {"host": host, "additional_names": additional, "certificate": "acme", **settings}
        self.writer.add_site(host, SiteSettings.model_validate(given))
        return host

    def version(self, site: str) -> int | None:
        live = self.writer.live_version(site)
        return live.number if live is not None else None

    def attempts(self, site: str) -> list[Record]:
        """The records of orders."""
        return [record for record in self.writer.records(site) if record.doing in ("order", "renew")]

    def tokens(self) -> list[Path]:
        layout = self.writer.layout
        return [*layout.challenges.iterdir(), *layout.alpn_challenges.iterdir()]


def make_settings(ca: Pebble | Acme2certifier, http_port: int, **acme: Any) -> dict[str, Any]:
    """`edge.yaml` as a mapping, for a store beside it."""
    return {
        "listeners": [{"kind": "http", "listen": f"127.0.0.1:{http_port}"}],
        "acme": {
            "directory": ca.directory,
            "ca_file": str(ca.ca_file),
            "agree_to_terms": True,
            "contact": ["admin@example.org"],
            "resolver": ca.dns.address,
            **acme,
        },
    }


def with_https(facts: dict[str, Any], port: int) -> dict[str, Any]:
    """The same with an https listener."""
    return facts | {"listeners": [*facts["listeners"], {"kind": "https", "listen": f"127.0.0.1:{port}"}]}


@contextlib.contextmanager
def scene(
    folder: Path,
    *,
    notify: dict[str, Any] | None = None,
    has_https: bool = False,
    dns_server: str | None = None,
    **acme: Any,
) -> Iterator[Scene]:
    """With `has_https` the edge has an https listener, so that names can be proven over TLS too. `dns_server`
    (host:port) is asked by all in place of Pebble's own DNS."""
    store = folder / "store"
    with StoreWriter.acquire(store, main_host="edge.test") as writer:
        responder, alpn = Responder(writer.layout), AlpnResponder(writer.layout)
        pebble = Pebble(responder.port, dns_server=dns_server)
        pebble.tls_port = alpn.port
        with responder.running(), alpn.running(), pebble:
            acme |= {"resolver": dns_server} if dns_server is not None else {}
            facts = make_settings(pebble, responder.port, **acme) | ({"notify": notify} if notify else {})
            facts = with_https(facts, alpn.port) if has_https else facts
            clock = Clock()
            yield Scene(writer, Settings.model_validate(facts), folder, pebble, responder, alpn, clock)
            assert not [each for each in threading.enumerate() if each.name == "maintenance" and each.is_alive()]
