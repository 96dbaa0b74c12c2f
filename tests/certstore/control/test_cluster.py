"""Control's part in a cluster: none without `cluster:`, and if it can't be taken, nobody orders from here."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.control.cluster import taking_part
from certstore.model.duty import Alone, Duty, Nobody
from certstore.model.settings.cluster import ClusterSettings
from certstore.model.settings.models import Settings
from certstore.renewal.order_sharing import OrderNotAllowed, OrderSharing
from certstore.store.writer import StoreWriter
from tests.certstore.stores import writing


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with writing(tmp_path / "store") as writer:
        yield writer


def duty(writer: StoreWriter, settings: Settings, base: Path) -> Duty:
    async def take_part() -> Duty:
        async with taking_part(writer, settings, base) as part:
            return part.duty

    return asyncio.run(take_part())


def test_a_node_alone_has_the_duty(writer: StoreWriter, tmp_path: Path) -> None:
    assert isinstance(duty(writer, Settings(), tmp_path), Alone)


def test_without_the_clusters_keys_nobody_orders_from_here(
    writer: StoreWriter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = ClusterSettings(
        engine=("https://127.0.0.1:2379",), ca_file=Path("ca.pem"), client_cert=Path("client.pem")
    )
    with caplog.at_level(logging.ERROR):
        found = duty(writer, Settings(cluster=cluster), tmp_path)
    assert isinstance(found, Nobody)
    assert "keys.json" in caplog.text, "the log says what is missing"
    assert not found.is_mine()


def test_without_the_clusters_keys_a_person_has_to_insist(writer: StoreWriter, tmp_path: Path) -> None:
    """Another node may be at it."""
    cluster = ClusterSettings(
        engine=("https://127.0.0.1:2379",), ca_file=Path("ca.pem"), client_cert=Path("client.pem")
    )

    async def take_part() -> OrderSharing | None:
        async with taking_part(writer, Settings(cluster=cluster), tmp_path) as part:
            return part.orders

    orders = asyncio.run(take_part())
    assert orders is not None
    with pytest.raises(OrderNotAllowed, match="takes no part in its cluster"):
        orders.take("a.test")
    orders.take_detached("a.test").release()


def test_control_by_itself_loads_nothing_of_a_cluster() -> None:
    program = (
        "import sys, certstore.control.process, certstore.control.upkeep, certstore.admin.app, certstore.cli.main; "
        "print([name for name in sys.modules if name.startswith('certstore.cluster')])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
