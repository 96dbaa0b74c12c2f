from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.cluster.engine import ModifiedAt, Put
from certstore.cluster.joining import other_sites
from certstore.cluster.keys import KeyRing
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import HeadRecord, Removal, SiteRecord
from certstore.model.cluster.wire import RecordClass
from certstore.model.settings.models import SiteSettings
from certstore.model.snapshot import MAIN
from certstore.store.versions import read_files
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore
from tests.certstore.stores import MAIN_HOST, SITE, acquire

CA = CertificateAuthority()
AT = datetime(2026, 11, 30, 20, tzinfo=UTC)
RING = KeyRing.draw("edge-a")
PATHS, SEALER = ClusterPaths(RING.cluster), KeyRingSealer(RING)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with acquire(tmp_path / "store") as writer:
        yield writer


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine(MemoryStore())


def put(engine: MemoryEngine, path: str, plaintext: bytes) -> None:
    value = SEALER.seal(path, 1, RecordClass.SITES, plaintext)
    engine.commit([ModifiedAt(path, 0)], [Put(path, value)])


def declare(engine: MemoryEngine, site: str, removal: Removal | None = None) -> None:
    put(engine, PATHS.site(site), SiteRecord(site, site, None, {}, "edge-a", AT, removal).encode())


def publish(engine: MemoryEngine, writer: StoreWriter, site: str) -> None:
    """What the store has live is what the cluster has."""
    version = writer.live_version(site)
    assert version is not None
    files = read_files(writer.layout, site, version)
    head = HeadRecord.of(version, files, doing="intake", source=version.source, by="edge-a", at=AT)
    put(engine, PATHS.head(site), head.encode())


def install(writer: StoreWriter, site: str, *names: str) -> None:
    if site not in writer.sites():
        writer.add_site(site, SiteSettings(host=site))
    writer.install_files(site, [DroppedFile("a.pem", CA.issue(*names or (site,)).combined_pem)], source="upload")


def test_a_new_store_has_nothing_that_anybody_would_miss(writer: StoreWriter, engine: MemoryEngine) -> None:
    assert writer.sites() == (MAIN,)
    assert other_sites(writer, engine, RING) == []


def test_a_main_certificate_of_its_own_is_listed(writer: StoreWriter, engine: MemoryEngine) -> None:
    install(writer, MAIN, MAIN_HOST)
    assert other_sites(writer, engine, RING) == [MAIN]
    declare(engine, MAIN)
    publish(engine, writer, MAIN)
    assert other_sites(writer, engine, RING) == [], "unless the cluster has the same"


def test_a_site_that_the_cluster_does_not_have_is_listed(writer: StoreWriter, engine: MemoryEngine) -> None:
    install(writer, SITE)
    assert other_sites(writer, engine, RING) == [SITE]


def test_a_site_without_a_certificate_is_listed_where_the_cluster_does_not_have_it(
    writer: StoreWriter, engine: MemoryEngine
) -> None:
    writer.add_site(SITE, SiteSettings(host=SITE))
    assert other_sites(writer, engine, RING) == [SITE]
    declare(engine, SITE)
    assert other_sites(writer, engine, RING) == []


def test_a_site_that_the_cluster_has_with_the_same_certificate_is_not_listed(
    writer: StoreWriter, engine: MemoryEngine
) -> None:
    install(writer, SITE)
    declare(engine, SITE)
    assert other_sites(writer, engine, RING) == [SITE], "it has none yet"
    publish(engine, writer, SITE)
    assert other_sites(writer, engine, RING) == []
    install(writer, SITE)
    assert other_sites(writer, engine, RING) == [SITE], "it has another one"


def test_a_site_that_the_cluster_has_removed_is_listed(writer: StoreWriter, engine: MemoryEngine) -> None:
    install(writer, SITE)
    declare(engine, SITE, Removal(AT, "edge-a", 3))
    publish(engine, writer, SITE)
    assert other_sites(writer, engine, RING) == [SITE]


def test_a_record_that_does_not_count_hides_no_site(writer: StoreWriter, engine: MemoryEngine) -> None:
    install(writer, SITE)
    engine.commit([ModifiedAt(PATHS.site(SITE), 0)], [Put(PATHS.site(SITE), b"CE1 of a rogue engine")])
    assert other_sites(writer, engine, RING) == [SITE]


def test_many_sites_are_compared_in_parts(writer: StoreWriter, engine: MemoryEngine) -> None:
    sites = [f"s{number:03}.client-a.test" for number in range(120)]
    for site in sites:
        writer.add_site(site, SiteSettings(host=site))
        declare(engine, site) if site != sites[-1] else None
    assert other_sites(writer, engine, RING) == sites[-1:]
