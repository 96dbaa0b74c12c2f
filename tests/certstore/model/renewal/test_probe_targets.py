"""Which addresses this server asks on behalf of a name: a table."""

import pytest

from certstore.model.renewal.probe_targets import ProbeTargets, is_public
from certstore.model.settings.addresses import HostPort

PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
PRIVATE = [
    "10.1.2.3",
    "172.31.0.1",
    "192.168.1.1",
    "127.0.0.1",
    "::1",
    "fd00::1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
]
NEVER = [
    "169.254.169.254", "::ffff:169.254.169.254", "2002:a9fe:a9fe::", "64:ff9b::169.254.169.254", "fe80::1", "fec0::1",
    "224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255", "240.0.0.1", "100.64.0.1", "192.0.2.1", "2001:db8::1",
    "198.18.0.1", "2001::1", "64:ff9b:1::1", "::127.0.0.1", "name.test", "", "127.0.0.1.nip.io", "0x7f.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_what_a_ca_could_reach_is_asked(address: str) -> None:
    assert is_public(address)
    assert ProbeTargets().allow(address, 80)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_the_setting(address: str) -> None:
    assert not ProbeTargets().allow(address, 80)
    assert ProbeTargets(allows_private=True).allow(address, 80)
    assert not is_public(address)


@pytest.mark.parametrize("address", NEVER)
def test_all_else_is_never_asked(address: str) -> None:
    assert not ProbeTargets(allows_private=True).allow(address, 80)


LOCAL = {"127.0.0.1", "10.0.0.5", "fd00::5"}


@pytest.mark.parametrize(
    ("listens", "address", "port", "is_own"),
    [
        (HostPort("10.0.0.5", 80), "10.0.0.5", 80, True),
        (HostPort("10.0.0.5", 80), "10.0.0.5", 443, False),
        (HostPort("10.0.0.5", 80), "127.0.0.1", 80, False),
        (HostPort("0.0.0.0", 80), "127.0.0.1", 80, True),
        (HostPort("0.0.0.0", 80), "10.0.0.6", 80, False),
        (HostPort("0.0.0.0", 80), "fd00::5", 80, False),
        (HostPort("::", 80), "10.0.0.5", 80, True),
        (HostPort("::", 80), "fd00::5", 80, True),
        (HostPort("::", 80), "169.254.169.254", 80, False),
        (HostPort("::", 8080), "10.0.0.5", 80, False),
        (HostPort("edge.test", 80), "10.0.0.5", 80, False),
    ],
    ids=str,
)
def test_the_edges_own_addresses_are_asked_where_it_listens(
    listens: HostPort, address: str, port: int, is_own: bool
) -> None:
    assert ProbeTargets([listens], LOCAL.__contains__).allow(address, port) is is_own
