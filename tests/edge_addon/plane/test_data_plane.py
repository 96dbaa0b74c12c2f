"""What connections ask their plane."""

from pathlib import Path

import pytest

from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop


@pytest.mark.parametrize(
    ("address", "is_trusted"),
    [
        ("10.0.0.1", True),
        ("2001:db8::1", True),
        ("2001:db8::1%eth0", True),
        ("11.0.0.1", False),
        ("2001:db9::1", False),
        ("", False),
        ("unknown", False),
    ],
)
@in_loop
async def test_only_addresses_of_the_listed_networks_are_trusted(
    address: str, is_trusted: bool, tmp_path: Path
) -> None:
    networks = ["10.0.0.0/8", "2001:db8::/32"]
    async with relay_edge(tmp_path / "with", "http://127.0.0.1:1", trusted_proxies=networks) as edge:
        assert edge.plane.is_trusted_proxy(address) is is_trusted
    async with relay_edge(tmp_path / "without", "http://127.0.0.1:1") as edge:
        assert not edge.plane.is_trusted_proxy(address)
