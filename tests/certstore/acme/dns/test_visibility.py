"""Waiting for a zone's servers: one that lags, one that is silent, and none at all."""

import threading
from collections.abc import Iterator

import pytest

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.visibility import wait_until_visible
from certstore.acme.dns.zones import Place, Zones
from certstore.acme.order_context import Interrupted
from tests.certstore.acme.dns.zone_scene import zones_of
from tests.peers.bind import Bind
from tests.peers.dns import DnsServer

pytestmark = pytest.mark.peer

NAME = "_acme-challenge.a.test"


@pytest.fixture
def bind() -> Iterator[Bind]:
    with Bind({"a.test": []}, has_second=True) as running:
        yield running


@pytest.fixture
def second(bind: Bind) -> Iterator[DnsServer]:
    """The zone's other server, which takes no change over."""
    with DnsServer("127.0.0.2", bind.port, is_authoritative=True) as running:
        yield running


def located(bind: Bind) -> tuple[Zones, Place]:
    zones = zones_of(bind)
    return zones, zones.locate(NAME, Bounds(20))


def test_every_server_has_to_show_every_value(bind: Bind, second: DnsServer) -> None:
    zones, place = located(bind)
    assert len(place.servers) == 2
    bind.add_text("a.test", NAME, "one")
    said = wait_until_visible(zones, place, ["one"], Bounds(5))
    assert said == f"the TXT record at {NAME} did not appear at the zone's own servers in time: ns2.a.test (127.0.0.2)"
    second.records[NAME, "TXT"] = ['"one"']
    assert wait_until_visible(zones, place, ["one"], Bounds(30)) is None


def test_the_wait_ends_when_the_last_server_shows_it(bind: Bind, second: DnsServer) -> None:
    zones, place = located(bind)
    bind.add_text("a.test", NAME, "one")
    asked = threading.Event()

    def wait(seconds: float) -> bool:
        if seconds and not asked.is_set():
            asked.set()
            second.records[NAME, "TXT"] = ['"one"']
        return False

    assert wait_until_visible(zones, place, ["one"], Bounds(60, wait)) is None
    assert asked.is_set()


def test_a_server_that_never_answers_is_left_out_after_a_while(bind: Bind) -> None:
    zones, place = located(bind)
    bind.add_text("a.test", NAME, "one")
    assert wait_until_visible(zones, place, ["one"], Bounds(60)) is None


def test_without_any_answer_the_resolver_is_asked(bind: Bind) -> None:
    """Its answers may not be older than the record, or it would not know it."""
    zones, place = located(bind)
    unreachable = Zones(zones.resolver, zones.allows, 9)
    bind.add_text("a.test", NAME, "one")
    assert wait_until_visible(unreachable, place, ["one"], Bounds(60)) is None
    said = wait_until_visible(unreachable, place, ["two"], Bounds(1))
    assert said is not None
    assert said.startswith("no name server of a.test answers this server, nor does the resolver know")


def test_a_stop_ends_the_wait(bind: Bind, second: DnsServer) -> None:
    zones, place = located(bind)
    stopping = threading.Event()

    def wait(seconds: float) -> bool:
        if seconds:
            stopping.set()
        return stopping.is_set()

    with pytest.raises(Interrupted):
        wait_until_visible(zones, place, ["one"], Bounds(600, wait))
