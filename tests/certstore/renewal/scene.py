"""What maintenance works on: a store with its writer, a real Pebble, and a responder in place of the edge's workers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certstore.control.upkeep import Upkeep
from certstore.model.duty import Duty
from certstore.model.record import Record
from certstore.model.settings.models import Settings, SiteSettings
from certstore.store.writer import StoreWriter
from tests.certstore.acme.workshop import Responder
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
    clock: Clock

    duty: Duty | None = None

    def upkeep(self) -> Upkeep:
        return Upkeep(self.writer, self.settings, self.base, clock=self.clock, duty=self.duty)

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
        return list(self.writer.layout.challenges.iterdir())


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


@contextlib.contextmanager
def scene(folder: Path, *, notify: dict[str, Any] | None = None, **acme: Any) -> Iterator[Scene]:
    store = folder / "store"
    with StoreWriter.acquire(store, main_host="edge.test") as writer:
        responder = Responder(writer.layout)
        with responder.running(), Pebble(responder.port) as pebble:
            facts = make_settings(pebble, responder.port, **acme) | ({"notify": notify} if notify else {})
            clock = Clock()
            yield Scene(writer, Settings.model_validate(facts), folder, pebble, responder, clock)
            assert not [each for each in threading.enumerate() if each.name == "maintenance" and each.is_alive()]
