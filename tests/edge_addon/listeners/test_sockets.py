import os
import socket
from collections.abc import Mapping, Sequence

import pytest

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerSettings
from edge_addon.listeners.sockets import Bind, CannotListen, OpenSocket, open_sockets, plan_sockets, socket_facts
from tests.ports import listening_socket

V4 = OpenSocket(3, "0.0.0.0", 443)
V6 = OpenSocket(4, "::", 443)
DUAL = OpenSocket(5, "::", 443, takes_v4=True)
LOCAL = OpenSocket(6, "127.0.0.1", 8081)
ANY_PORT = OpenSocket(7, "127.0.0.1", 40000, configured=HostPort("127.0.0.1", 0))
NAMED = OpenSocket(8, "127.0.0.1", 8081, configured=HostPort("localhost", 8081))


@pytest.mark.parametrize(
    ("listens", "available", "sources"),
    [
        pytest.param([], [], [], id="no listener, no socket"),
        pytest.param(["0.0.0.0:443"], [], [Bind("0.0.0.0", 443)], id="bound when none is open"),
        pytest.param(["127.0.0.1:8081"], [LOCAL], [LOCAL], id="an open socket is used"),
        pytest.param(["127.0.0.2:8081"], [LOCAL], [Bind("127.0.0.2", 8081)], id="another address is another socket"),
        pytest.param(["[::]:443"], [], [Bind("::", 443, takes_v4=True)], id="IPv6 alone also takes IPv4"),
        pytest.param(
            ["[::]:443", "0.0.0.0:443"],
            [],
            [Bind("::", 443, takes_v4=False), Bind("0.0.0.0", 443)],
            id="each of two wildcards takes its own",
        ),
        pytest.param(
            ["[::]:443", "0.0.0.0:80"],
            [],
            [Bind("::", 443, takes_v4=True), Bind("0.0.0.0", 80)],
            id="IPv4 on another port does not matter",
        ),
        pytest.param(["0.0.0.0:443"], [DUAL], [DUAL], id="systemd's ListenStream=443 serves an IPv4 wildcard"),
        pytest.param(["0.0.0.0:443"], [V6], [Bind("0.0.0.0", 443)], id="a socket of IPv6 alone does not"),
        pytest.param(["0.0.0.0:443", "[::]:443"], [DUAL, V4], [V4, DUAL], id="the same address comes first"),
        pytest.param(["[::]:443", "0.0.0.0:443"], [V4, V6], [V6, V4], id="order does not matter"),
        pytest.param(["127.0.0.1:0"], [ANY_PORT], [ANY_PORT], id="port 0 keeps its port"),
        pytest.param(["127.0.0.1:0"], [LOCAL], [Bind("127.0.0.1", 0)], id="port 0 takes no other socket"),
        pytest.param(["localhost:8081"], [NAMED], [NAMED], id="a name keeps its socket"),
        pytest.param(["localhost:8081"], [LOCAL], [LOCAL], id="a name stands for its address"),
        pytest.param(["localhost:9000"], [], [Bind("127.0.0.1", 9000)], id="a name is bound by its address"),
    ],
)
def test_each_listener_gets_its_socket(
    listens: Sequence[str], available: Sequence[OpenSocket], sources: Sequence[OpenSocket | Bind]
) -> None:
    plan = plan_sockets([_address(each) for each in listens], available, {"localhost": "127.0.0.1"})
    assert list(plan.sources) == sources
    assert set(plan.unused) == set(available) - set(sources)


@pytest.mark.parametrize(
    ("listens", "available", "sources", "seconds"),
    [
        pytest.param(["[::]:443"], [DUAL], [DUAL], {}, id="systemd's ListenStream=443 takes both"),
        pytest.param(["[::]:443"], [V4], [V4], {0: Bind("::", 443)}, id="IPv4 stays, and IPv6 is bound beside it"),
        pytest.param(["[::]:443"], [V6], [V6], {0: Bind("0.0.0.0", 443)}, id="IPv6 stays, and IPv4 is bound beside it"),
        pytest.param(["[::]:443"], [V4, V6], [V6], {0: V4}, id="two open sockets serve one listener"),
        pytest.param(["[::]:443", "0.0.0.0:443"], [V4, V6], [V6, V4], {}, id="two listeners take one each"),
        pytest.param(
            ["[::]:443", "0.0.0.0:80"], [V4], [V4, Bind("0.0.0.0", 80)], {0: Bind("::", 443)}, id="other port"
        ),
    ],
)
def test_a_listener_for_both_families_gets_two_sockets_where_one_is_open(
    listens: Sequence[str],
    available: Sequence[OpenSocket],
    sources: Sequence[OpenSocket | Bind],
    seconds: Mapping[int, OpenSocket | Bind],
) -> None:
    plan = plan_sockets([_address(each) for each in listens], available)
    assert (list(plan.sources), plan.seconds, plan.unused) == (sources, seconds, ())


@pytest.mark.parametrize(("host", "other"), [("::", "127.0.0.1"), ("0.0.0.0", "::1")])
def test_the_family_that_an_inherited_socket_does_not_take_is_bound(host: str, other: str) -> None:
    with _bound(host) as inherited:
        facts = socket_facts(inherited, is_inherited=True)
        assert facts is not None
        listener = _listener(f"[::]:{facts.port}")
        opened = open_sockets([listener], {facts.fd: (inherited, facts)})
        with opened.seconds[0] as second, socket.create_connection((other, facts.port), timeout=5):
            second.accept()[0].close()
        assert (opened.sockets, opened.problems) == ((inherited,), ())


def test_an_inherited_socket_that_serves_less_than_its_listener_is_a_problem() -> None:
    with _bound("::") as inherited:
        facts = socket_facts(inherited, is_inherited=True)
        assert facts is not None
        # IPv4 of the same port is another process's.
        with _bound("127.0.0.1", facts.port):
            opened = open_sockets([_listener(f"[::]:{facts.port}")], {facts.fd: (inherited, facts)})
        assert (opened.sockets, dict(opened.seconds)) == ((inherited,), {})
        (problem,) = opened.problems
        assert f"[::]:{facts.port} (https) serves IPv6 only" in problem
        assert "BindIPv6Only=both" in problem


def test_a_socket_of_our_own_that_can_not_be_completed_refuses_the_settings() -> None:
    with _bound("0.0.0.0") as ours:
        facts = socket_facts(ours)
        assert facts is not None
        with _bound("::1", facts.port), pytest.raises(CannotListen, match="in use"):
            open_sockets([_listener(f"[::]:{facts.port}")], {facts.fd: (ours, facts)})


def test_one_socket_serves_one_listener() -> None:
    plan = plan_sockets([HostPort("127.0.0.1", 0)] * 2, [ANY_PORT])
    assert plan.sources == (ANY_PORT, Bind("127.0.0.1", 0))


def test_a_bound_socket_listens() -> None:
    opened = open_sockets([_listener("127.0.0.1:0")], {})
    (bound,) = opened.sockets
    with bound:
        assert opened.unused == ()
        with socket.create_connection(bound.getsockname(), timeout=5):
            bound.accept()[0].close()
        facts = socket_facts(bound)
        assert facts == OpenSocket(bound.fileno(), "127.0.0.1", bound.getsockname()[1])


def test_both_wildcards_on_one_port() -> None:
    with listening_socket("0.0.0.0") as probe:
        port = probe.getsockname()[1]
    listeners = [_listener(f"[::]:{port}"), _listener(f"0.0.0.0:{port}")]
    sockets = open_sockets(listeners, {}).sockets
    for bound, address in zip(sockets, ("::1", "127.0.0.1"), strict=True):
        with socket.create_connection((address, port), timeout=5):
            bound.accept()[0].close()
        bound.close()


def test_an_ipv6_wildcard_alone_takes_ipv4() -> None:
    (bound,) = open_sockets([_listener("[::]:0")], {}).sockets
    with bound, socket.create_connection(("127.0.0.1", bound.getsockname()[1]), timeout=5):
        bound.accept()[0].close()


def test_a_port_in_use_is_reported_with_the_process_that_has_it() -> None:
    with listening_socket() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as raised:
            open_sockets([_listener(f"127.0.0.1:{port}", "http")], {})
        message = str(raised.value)
        assert f"127.0.0.1:{port} (http)" in message
        assert f"(pid {os.getpid()})" in message


def test_bound_sockets_are_closed_when_another_can_not_be_bound() -> None:
    with listening_socket() as probe:
        free = probe.getsockname()[1]
    with listening_socket() as taken:
        with pytest.raises(CannotListen):
            open_sockets([_listener(f"127.0.0.1:{free}"), _listener(f"127.0.0.1:{taken.getsockname()[1]}")], {})
        (bound,) = open_sockets([_listener(f"127.0.0.1:{free}")], {}).sockets
        bound.close()


def test_a_name_without_an_address_is_reported() -> None:
    with pytest.raises(CannotListen, match=r"no-such-host\.invalid"):
        open_sockets([_listener("no-such-host.invalid:8081")], {})


def test_only_sockets_that_listen_for_tcp_are_used() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket() as silent:
        datagrams.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        assert socket_facts(datagrams) is None
        assert socket_facts(silent) is None


def _address(text: str) -> HostPort:
    host, _, port = text.rpartition(":")
    return HostPort(host.strip("[]"), int(port))


def _listener(listen: str, kind: str = "https") -> ListenerSettings:
    return ListenerSettings.model_validate({"kind": kind, "listen": listen})


def _bound(host: str, port: int = 0) -> socket.socket:
    """One that takes one family only, as with BindIPv6Only=ipv6-only."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
