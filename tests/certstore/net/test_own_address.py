"""How the edge's own listeners are reached from this machine."""

from ipaddress import ip_network

import pytest

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerSettings
from certstore.net.own_address import PROXY_V2_LOCAL, OwnListener, is_askable, is_local, own_listener, reachable_address
from tests.ports import listening_socket


@pytest.mark.parametrize(
    ("listen", "reached"),
    [
        (HostPort("0.0.0.0", 443), HostPort("127.0.0.1", 443)),
        (HostPort("::", 443), HostPort("::1", 443)),
        (HostPort("192.0.2.7", 443), HostPort("192.0.2.7", 443)),
        (HostPort("mail.edge.test", 443), HostPort("mail.edge.test", 443)),
    ],
    ids=str,
)
def test_wildcard_address_is_reached_by_loopback(listen: HostPort, reached: HostPort) -> None:
    assert reachable_address(listen) == reached


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
