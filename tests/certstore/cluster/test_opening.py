"""From edge.yaml to a node's part in its cluster, and what stands in the way of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certstore.cluster.access import AccessUnusable
from certstore.cluster.engine_files import AUTHORITY, CLIENT, Member, engine_files
from certstore.cluster.keys import KeyRing, KeysUnusable, NodeKeys, write_keys
from certstore.cluster.opening import open_clustering
from certstore.model.cluster.records import Role
from certstore.model.front import Front
from certstore.model.settings.models import Settings
from certstore.store.front_mark import read_front
from certstore.store.writer import StoreWriter
from tests.certstore.stores import writing
from tests.ports import free_port


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with writing(tmp_path / "store") as writer:
        yield writer


@pytest.fixture
def section(tmp_path: Path, writer: StoreWriter) -> dict[str, Any]:
    """An engine that nobody runs."""
    members = [Member("m1", "127.0.0.1", free_port(), free_port())]
    for path, content in engine_files(members, ["edge-a"], "tests", writer.now()).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    client = f"nodes/edge-a/{CLIENT}"
    return {"engine": [members[0].endpoint], "ca_file": AUTHORITY, "client_cert": client}


def edge(section: dict[str, Any]) -> Settings:
    return Settings.model_validate({"cluster": section})


def test_a_node_starts_though_its_engine_is_away(writer: StoreWriter, section: dict[str, Any], tmp_path: Path) -> None:
    write_keys(writer.layout.cluster_keys, KeyRing.draw("edge-a"))
    clustering = open_clustering(writer, edge(section), tmp_path)
    clustering.start()
    clustering.stop()


def test_without_keys_it_takes_no_part(writer: StoreWriter, section: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(KeysUnusable, match=r"keys\.json"):
        open_clustering(writer, edge(section), tmp_path)


def test_a_front_is_one_from_its_keys_on(writer: StoreWriter, section: dict[str, Any], tmp_path: Path) -> None:
    """Also where it joined with an older release, which left no mark."""
    ring = KeyRing.draw("edge-a")
    write_keys(writer.layout.cluster_keys, ring.for_member("edge-f", Role.FRONT, NodeKeys.draw()))
    open_clustering(writer, edge(section), tmp_path)
    assert writer.front == read_front(writer.layout) == Front("edge-f")
    write_keys(writer.layout.cluster_keys, ring)
    open_clustering(writer, edge(section), tmp_path)
    assert writer.front is read_front(writer.layout) is None, "its machine has become a full node"


def test_keys_of_another_node_are_refused(writer: StoreWriter, section: dict[str, Any], tmp_path: Path) -> None:
    write_keys(writer.layout.cluster_keys, KeyRing.draw("edge-b"))
    settings = edge({**section, "node": "edge-a"})
    with pytest.raises(KeysUnusable, match="edge-b's"):
        open_clustering(writer, settings, tmp_path)


def test_a_certificate_that_is_missing_is_named(writer: StoreWriter, section: dict[str, Any], tmp_path: Path) -> None:
    write_keys(writer.layout.cluster_keys, KeyRing.draw("edge-a"))
    settings = edge({**section, "client_cert": "gone.pem"})
    with pytest.raises(AccessUnusable, match=r"gone\.pem"):
        open_clustering(writer, settings, tmp_path)
