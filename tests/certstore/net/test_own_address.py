"""How the edge's own listeners are reached from this machine."""

from ipaddress import ip_network

import pytest

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerSettings
from certstore.net.own_address import (
    PROXY_V2_LOCAL,
    OwnListener,
    is_askable,
    is_local,
    own_listener,
    reachable_addresses,
)
from tests.ports import listening_socket


@pytest.mark.parametrize(
    ("listen", "reached"),
    [
        (HostPort("0.0.0.0", 443), ["127.0.0.1"]),
        (HostPort("::", 443), ["::1", "127.0.0.1"]),
        (HostPort("192.0.2.7", 443), ["192.0.2.7"]),
        (HostPort("mail.edge.test", 443), ["mail.edge.test"]),
    ],
    ids=str,
)
def test_wildcard_address_is_reached_by_loopback(listen: HostPort, reached: list[str]) -> None:
    assert reachable_addresses(listen) == tuple(HostPort(host, 443) for host in reached)


def test_ipv6_wildcard_takes_no_ipv4_where_another_listener_does() -> None:
    v6, v4 = HostPort("::", 443), HostPort("0.0.0.0", 443)
    assert reachable_addresses(v6, [v6, v4]) == (HostPort("::1", 443),)
    assert reachable_addresses(v6, [v6, HostPort("0.0.0.0", 80)]) == (HostPort("::1", 443), HostPort("127.0.0.1", 443))


def test_machine_without_ipv6_is_reached_by_ipv4_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certstore.net.own_address.is_local", lambda address: address != "::1")
    assert reachable_addresses(HostPort("::", 443)) == (HostPort("127.0.0.1", 443),)


@pytest.mark.parametrize(
    ("accepts", "trusted", "wants"),
    [(True, "127.0.0.0/8", True), (True, "10.0.0.0/8", False), (False, "127.0.0.0/8", False)],
    ids=["it trusts this machine", "it trusts others", "it takes no header"],
)
def test_header_is_sent_only_to_a_listener_that_waits_for_it(accepts: bool, trusted: str, wants: bool) -> None:
    listener = ListenerSettings.model_validate(
        {"kind": "https", "listen": "0.0.0.0:443", "accept_proxy_protocol": accepts}
    )
    expected = OwnListener(HostPort("127.0.0.1", 443), wants)
    assert own_listener(listener, [ip_network(trusted)]) == expected


@pytest.mark.parametrize("wants_header", [True, False])
def test_header_comes_before_anything_else(wants_header: bool) -> None:
    with listening_socket() as listening:
        with OwnListener(HostPort(*listening.getsockname()), wants_header).connect(5.0) as client:
            client.sendall(b"GET")
        served, _ = listening.accept()
        with served, served.makefile("rb") as received:
            assert received.read() == (PROXY_V2_LOCAL if wants_header else b"") + b"GET"


@pytest.mark.parametrize(
    ("address", "expected"), [("127.0.0.1", True), ("192.0.2.1", False), ("2001:db8::1", False), ("name.test", False)]
)
def test_only_this_machines_addresses_are_local(address: str, expected: bool) -> None:
    assert is_local(address) is expected


@pytest.mark.parametrize(
    ("listen", "accepts", "trusted", "expected"),
    [
        ("0.0.0.0:80", False, "203.0.113.0/24", True),
        ("0.0.0.0:80", True, "203.0.113.0/24", False),
        ("0.0.0.0:80", True, "127.0.0.0/8", True),
        ("127.0.0.1:0", False, "127.0.0.0/8", False),
    ],
    ids=["no PROXY header", "another's PROXY header", "our PROXY header", "a port that the system chooses"],
)
def test_listener_is_asked_only_where_it_answers_us(listen: str, accepts: bool, trusted: str, expected: bool) -> None:
    facts = {"kind": "https", "listen": listen, "accept_proxy_protocol": accepts}
    assert is_askable(ListenerSettings.model_validate(facts), [ip_network(trusted)]) is expected
