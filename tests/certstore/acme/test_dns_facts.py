from collections.abc import Iterator

import dns.rcode
import pytest

from certstore.acme.dns_facts import Resolver
from certstore.model.renewal.preflight_facts import Lookup
from certstore.model.settings.addresses import HostPort
from tests.peers.dns import DnsServer
from tests.peers.pebble import MockDns
from tests.ports import free_port


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer() as running:
        yield running


@pytest.fixture
def resolver(server: DnsServer) -> Resolver:
    return Resolver(HostPort("127.0.0.1", server.port), lifetime=1.0)


def test_addresses_are_found_by_version(server: DnsServer, resolver: Resolver) -> None:
    server.records = {("a.test", "A"): ["192.0.2.2", "192.0.2.1"], ("a.test", "AAAA"): ["2001:db8::1"]}
    assert resolver.addresses("a.test", version=4) == (Lookup.FOUND, ("192.0.2.1", "192.0.2.2"))
    assert resolver.addresses("a.test", version=6) == (Lookup.FOUND, ("2001:db8::1",))


def test_name_without_such_records_differs_from_no_name(server: DnsServer, resolver: Resolver) -> None:
    server.records = {("a.test", "A"): ["192.0.2.1"]}
    assert resolver.addresses("a.test", version=6) == (Lookup.NO_DATA, ())
    assert resolver.addresses("b.test", version=6) == (Lookup.NO_SUCH_NAME, ())


def test_servfail_differs_from_a_resolver_that_will_not_talk_to_us(server: DnsServer, resolver: Resolver) -> None:
    server.codes = {"broken.test": dns.rcode.SERVFAIL, "refused.test": dns.rcode.REFUSED}
    assert resolver.addresses("broken.test", version=4)[0] is Lookup.SERVER_FAILURE
    assert resolver.addresses("refused.test", version=4)[0] is Lookup.TIMED_OUT


def test_silence_ends_in_time(server: DnsServer, resolver: Resolver) -> None:
    server.silent = {"a.test"}
    assert resolver.addresses("a.test", version=4)[0] is Lookup.TIMED_OUT


def test_resolver_that_is_not_there_is_no_answer() -> None:
    assert Resolver(HostPort("127.0.0.1", free_port()), lifetime=1.0).addresses("a.test", version=4)[0] in {
        Lookup.TIMED_OUT,
        Lookup.SERVER_FAILURE,
    }
    assert Resolver(HostPort("no-such-host.invalid", 53), lifetime=0.5).addresses("a.test", version=4)[0] is (
        Lookup.TIMED_OUT
    )


def test_closest_caa_set_holds(server: DnsServer, resolver: Resolver) -> None:
    server.records = {
        ("mail.a.test", "A"): ["192.0.2.1"],
        ("a.test", "CAA"): ['0 issue "ca.example"', '128 iodef "mailto:x@a.test"'],
        ("test", "CAA"): ['0 issue ";"'],
    }
    facts = resolver.caa("mail.a.test")
    assert (facts.lookup, facts.domain) == (Lookup.FOUND, "a.test")
    assert set(facts.records) == {(False, "issue", "ca.example"), (True, "iodef", "mailto:x@a.test")}


def test_no_caa_anywhere_is_no_data(server: DnsServer, resolver: Resolver) -> None:
    server.records = {("mail.a.test", "A"): ["192.0.2.1"]}
    assert resolver.caa("mail.a.test").lookup is Lookup.NO_DATA


def test_climb_ends_where_the_dns_is_broken(server: DnsServer, resolver: Resolver) -> None:
    server.records = {("mail.a.test", "A"): ["192.0.2.1"]}
    server.codes = {"a.test": dns.rcode.SERVFAIL}
    facts = resolver.caa("mail.a.test")
    assert (facts.lookup, facts.domain) == (Lookup.SERVER_FAILURE, "a.test")


@pytest.mark.peer
def test_cname_is_followed_to_its_addresses() -> None:
    with MockDns(default_ipv4="") as mock:
        mock.set_cname("alias.test", "real.test")
        mock.add_a("real.test", "192.0.2.7")
        found = Resolver(HostPort("127.0.0.1", mock.port)).addresses("alias.test", version=4)
    assert found == (Lookup.FOUND, ("192.0.2.7",))


def test_zone_servers_cname_and_texts_are_found(server: DnsServer, resolver: Resolver) -> None:
    server.records = {
        ("a.test", "SOA"): ["ns1.a.test. hostmaster.a.test. 1 2 3 4 5"],
        ("a.test", "NS"): ["NS2.a.test.", "ns1.a.test."],
        ("www.a.test", "CNAME"): ["Web.B.test."],
        ("a.test", "TXT"): ['"one" "two"', '"three"'],
    }
    assert resolver.zone_of("www.a.test") == (Lookup.FOUND, "a.test")
    assert resolver.name_servers("a.test") == (Lookup.FOUND, ("ns1.a.test", "ns2.a.test"))
    assert resolver.cname("www.a.test") == (Lookup.FOUND, "web.b.test")
    assert resolver.cname("a.test") == (Lookup.NO_DATA, None)
    assert resolver.texts("a.test") == (Lookup.FOUND, frozenset({"onetwo", "three"}))


def test_a_zone_that_fails_is_told_from_silence(server: DnsServer, resolver: Resolver) -> None:
    server.codes = {"broken.test": dns.rcode.SERVFAIL}
    server.silent = {"silent.test"}
    assert resolver.zone_of("broken.test") == (Lookup.SERVER_FAILURE, None)
    assert resolver.zone_of("silent.test") == (Lookup.TIMED_OUT, None)
    assert resolver.zone_of("silent.test", seconds=0) == (Lookup.TIMED_OUT, None)
