from ipaddress import ip_network

import pytest

from certstore.model.trusted_proxies import is_trusted_proxy

NETWORKS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("host", "is_trusted"),
    [
        ("10.1.2.3", True),
        ("fd00::7", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("proxy.test", False),
        ("", False),
    ],
)
def test_address_within_a_network_is_trusted(host: str, is_trusted: bool) -> None:
    assert is_trusted_proxy(host, NETWORKS) is is_trusted
