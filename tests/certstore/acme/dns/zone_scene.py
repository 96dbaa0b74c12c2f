"""Zones at a real BIND, and what writes into them."""

from __future__ import annotations

import stat
import sys
import threading
from pathlib import Path
from typing import Any

from certstore.acme.challenge_kind import ChallengeKind
from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.record_journal import RecordJournal
from certstore.acme.dns.records import DnsRecords
from certstore.acme.dns.zones import Place, Zones
from certstore.acme.dns01 import make_kind
from certstore.acme.dns_facts import Resolver
from certstore.model.layout import Layout
from certstore.model.settings.addresses import HostPort
from certstore.model.settings.dns import DnsSettings
from tests.certstore.acme.workshop import make_layout
from tests.peers.bind import Bind


def place(name: str, zone: str) -> Place:
    return Place(name, name, zone, zone, ())


def rfc2136(bind: Bind, **others: Any) -> dict[str, Any]:
    return {"rfc2136": {"server": bind.address, "tsig_secret_file": str(bind.key_file)}} | others


def zones_of(bind: Bind) -> Zones:
    return Zones(Resolver(HostPort(bind.host, bind.port), lifetime=2), lambda address: True, bind.port)


def program(folder: Path, body: str) -> Path:
    """A hook in Python; `env` is what it was given, beside what is usual."""
    path = folder / "hook"
    path.write_text(
        f"#!{sys.executable}\nimport os, sys, time\nenv = {{k[13:]: v for k, v in os.environ.items()"
        f" if k.startswith('CERTEDGE_DNS_')}}\n{body}\n",
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class ZoneScene:
    """What dns-01 is made of, for the zones of one server. `stopping` is the process's request to stop."""

    def __init__(self, folder: Path, bind: Bind, settings: dict[str, Any]) -> None:
        self.layout: Layout = make_layout(folder / "store")
        self.stopping = threading.Event()
        self.journal = RecordJournal(self.layout)
        self.zones = zones_of(bind)
        model = DnsSettings.model_validate({"propagation_seconds": 20} | settings)
        self.records = DnsRecords(model, folder, self.zones, self.journal, self.stopping.wait)

    @property
    def kind(self) -> ChallengeKind:
        return make_kind(self.records, self.stopping.wait)

    def bounds(self, seconds: float = 30) -> Bounds:
        return Bounds(seconds, self.stopping.wait)
