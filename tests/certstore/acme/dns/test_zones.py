"""Zones, servers and CNAMEs as a real BIND and a DNS server of the tests have them."""

from collections.abc import Iterator

import pytest

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.zones import CNAMES_MOST, NotLocated, Zones, ZoneServer
from certstore.acme.dns_facts import Resolver
from certstore.model.settings.addresses import HostPort
from tests.certstore.acme.dns.zone_scene import zones_of
from tests.peers.bind import Bind
from tests.peers.dns import DnsServer

pytestmark = pytest.mark.peer

LONG = [f"c{position} CNAME c{position + 1}" for position in range(CNAMES_MOST + 3)]
ZONE = [
    "_acme-challenge.inside CNAME here",
    "_acme-challenge.outside CNAME target.acme.test.",
    "_acme-challenge.lost CNAME target.nowhere.example.",
    "_acme-challenge.long CNAME c0",
    "_acme-challenge.circle CNAME circle2",
    "circle2 CNAME _acme-challenge.circle",
    "_acme-challenge.star CNAME *.acme.test.",
    "_acme-challenge.path CNAME records/1.acme.test.",
    "_acme-challenge.odd CNAME b\\032`id`\\010x.acme.test.",
    *LONG,
    "sub NS ns1.sub",
    "ns1.sub A 127.0.0.1",
]


@pytest.fixture(scope="module")
def bind() -> Iterator[Bind]:
    with Bind({"a.test": ZONE, "sub.a.test": [], "acme.test": []}) as running:
        yield running


@pytest.mark.parametrize(
    ("asked", "name", "zone", "is_elsewhere"),
    [
        ("_acme-challenge.a.test", "_acme-challenge.a.test", "a.test", False),
        ("_acme-challenge.deep.www.a.test", "_acme-challenge.deep.www.a.test", "a.test", False),
        ("_acme-challenge.www.sub.a.test", "_acme-challenge.www.sub.a.test", "sub.a.test", False),
        ("_acme-challenge.inside.a.test", "here.a.test", "a.test", False),
        ("_acme-challenge.outside.a.test", "target.acme.test", "acme.test", True),
    ],
    ids=["apex", "below", "delegated", "CNAME in the zone", "CNAME elsewhere"],
)
def test_where_a_record_has_to_be(bind: Bind, asked: str, name: str, zone: str, is_elsewhere: bool) -> None:
    place = zones_of(bind).locate(asked, Bounds(20))
    assert (place.asked, place.name, place.zone, place.is_elsewhere) == (asked, name, zone, is_elsewhere)
    assert place.servers == (ZoneServer(f"ns1.{zone}", "127.0.0.1"),)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("_acme-challenge.circle.a.test", "lead in a circle"),
        ("_acme-challenge.long.a.test", "there are more than 8 CNAME records"),
        ("_acme-challenge.lost.a.test", "could not find out which zone target.nowhere.example is in"),
        ("_acme-challenge.star.a.test", r"leads to \*.acme.test, which is not the name of a record for this"),
        ("_acme-challenge.path.a.test", "is not the name of a record for this"),
        ("_acme-challenge.odd.a.test", "is not the name of a record for this"),
    ],
    ids=["circle", "endless", "into nothing", "a wildcard", "a path", "what a shell might read"],
)
def test_cnames_that_lead_nowhere(bind: Bind, asked: str, said: str) -> None:
    with pytest.raises(NotLocated, match=said):
        zones_of(bind).locate(asked, Bounds(20))


def test_servers_at_addresses_that_must_not_be_asked_are_left_out(bind: Bind) -> None:
    zones = Zones(Resolver(HostPort(bind.host, bind.port)), lambda address: False, bind.port)
    place = zones.locate("_acme-challenge.outside.a.test", Bounds(20))
    assert place.servers == ()
    assert place.name == "target.acme.test", "as the resolver says"


def test_a_resolver_that_is_silent_is_not_waited_for_longer_than_the_time() -> None:
    with DnsServer() as silent:
        silent.silent.add("_acme-challenge.a.test")
        resolver = Resolver(HostPort("127.0.0.1", silent.port), lifetime=60)
        with pytest.raises(NotLocated, match="no DNS server answered"):
            Zones(resolver, lambda address: True).locate("_acme-challenge.a.test", Bounds(0.5))
