import pytest

from certstore.model.cluster.records import NodeListener
from certstore.model.settings.models import ListenerKind
from certstore.verify.other_nodes import reachable_listeners

PUBLIC = ("192.0.2.7", "2001:db8::7", "edge-b.example.org")


@pytest.mark.parametrize(
    ("addresses", "listener", "reached"),
    [
        pytest.param((), NodeListener("https", "192.0.2.9", 443), ["192.0.2.9:443"], id="its own address"),
        pytest.param((), NodeListener("https", "2001:db8::9", 443), ["[2001:db8::9]:443"], id="its own IPv6 address"),
        pytest.param(
            PUBLIC,
            NodeListener("https", "::", 443),
            ["192.0.2.7:443", "[2001:db8::7]:443", "edge-b.example.org:443"],
            id="the addresses that clients use",
        ),
        pytest.param(
            PUBLIC,
            NodeListener("imaps", "0.0.0.0", 993),
            ["192.0.2.7:993", "edge-b.example.org:993"],
            id="a listener for IPv4 alone",
        ),
        pytest.param(PUBLIC[:1], NodeListener("https", "10.0.0.7", 443), ["192.0.2.7:443"], id="behind NAT"),
        pytest.param(PUBLIC, NodeListener("health", "127.0.0.1", 8081), [], id="for its own machine alone"),
        pytest.param(PUBLIC, NodeListener("health", "localhost", 8081), [], id="for its own machine alone, by name"),
        pytest.param(("127.0.0.1",), NodeListener("https", "127.0.0.1", 443), ["127.0.0.1:443"], id="a trial on one"),
    ],
)
def test_a_listener_is_checked_where_clients_reach_it(
    addresses: tuple[str, ...], listener: NodeListener, reached: list[str]
) -> None:
    found = reachable_listeners(addresses, [listener])
    assert [str(each.listen) for each in found.listeners] == reached
    assert all(each.kind == listener.kind for each in found.listeners)
    assert found.unchecked == ()


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        pytest.param(NodeListener("https", "0.0.0.0", 443), "cluster.addresses", id="no address known"),
        pytest.param(NodeListener("https", "192.0.2.9", 443, has_proxy_protocol=True), "balancers", id="a balancer's"),
        pytest.param(NodeListener("https", "192.0.2.9", 0), "chooses its port", id="no port"),
        pytest.param(NodeListener("gopher", "192.0.2.9", 70), "does not know", id="of a newer release"),
    ],
)
def test_a_listener_that_can_not_be_checked_is_named_with_the_reason(listener: NodeListener, words: str) -> None:
    found = reachable_listeners((), [listener])
    assert found.listeners == ()
    assert len(found.unchecked) == 1
    assert found.unchecked[0].startswith(f"{listener.kind} on port {listener.port}: ")
    assert words in found.unchecked[0]


@pytest.mark.parametrize("kind", ListenerKind)
def test_every_kind_of_listener_can_be_checked(kind: ListenerKind) -> None:
    [found] = reachable_listeners((), [NodeListener(kind.value, "192.0.2.9", kind.usual_port)]).listeners
    assert found.kind is kind
