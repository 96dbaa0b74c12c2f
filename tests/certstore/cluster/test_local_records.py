"""A store's sites as records: the same for all nodes that have the same, and made only of what is there."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.cluster.local_records import LocalRecords
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.cluster.records import Act, HeadRecord, SiteRecord
from certstore.model.settings.models import SiteSettings
from certstore.store.adoption import HeadAdoption
from certstore.store.versions import read_files
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.stores import writing

SITE = "one.test"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with writing(tmp_path / "store") as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        yield writer


@pytest.fixture
def local(writer: StoreWriter) -> LocalRecords:
    return LocalRecords(writer, "edge-a", lambda: NOW)


def install(writer: StoreWriter, issued: Issued, source: str = "/drop", doing: str = "intake") -> None:
    files = [DroppedFile("fullchain.pem", issued.fullchain_pem), DroppedFile("privkey.pem", issued.privkey_pem)]
    writer.install_files(SITE, files, source=source, doing=doing)


def test_a_site_is_a_record(local: LocalRecords) -> None:
    record = local.site(SITE)
    assert record is not None
    assert (record.host, record.settings, record.by, record.at) == (SITE, SiteSettings(host=SITE), "edge-a", NOW)
    assert SiteRecord.decode(SITE, record.encode()) == record


def test_what_was_never_there_is_none(local: LocalRecords) -> None:
    assert (local.site("other.test"), local.head("other.test"), local.head_digest(SITE)) == (None, None, None)


def test_two_nodes_that_removed_a_site_agree(writer: StoreWriter, local: LocalRecords, tmp_path: Path) -> None:
    """Whatever its host was on either of them."""
    writer.remove_site(SITE)
    with writing(tmp_path / "other") as other:
        other.add_site(SITE, SiteSettings(host="elsewhere.test"))
        other.remove_site(SITE)
        there = LocalRecords(other, "edge-b", lambda: NOW).site(SITE)
    here = local.site(SITE)
    assert here is not None
    assert there is not None
    assert here.removal is not None
    assert here.digest == there.digest
    assert SiteRecord.decode(SITE, here.encode()) == here


@pytest.mark.parametrize(
    ("source", "doing", "act"),
    [
        ("/drop", "intake", Act.DROP),
        ("upload", "intake", Act.PERSON),
        ("import:certbot", "import", Act.PERSON),
        ("acme:letsencrypt", "renew", Act.ORDER),
    ],
)
def test_a_version_says_how_it_came(
    source: str, doing: str, act: Act, writer: StoreWriter, local: LocalRecords, ca: CertificateAuthority
) -> None:
    issued = ca.issue(SITE)
    install(writer, issued, source, doing)
    head = local.head(SITE)
    assert head is not None
    assert (head.act, head.digest, head.version.source) == (act, local.head_digest(SITE), source)
    assert head.files["privkey.pem"] == issued.privkey_pem
    assert HeadRecord.decode(SITE, head.encode()) == head


def test_what_was_adopted_keeps_its_origin(local: LocalRecords, tmp_path: Path, ca: CertificateAuthority) -> None:
    """This node may have to write it again, when the engine has lost it."""
    with writing(tmp_path / "there") as there:
        there.add_site(SITE, SiteSettings(host=SITE))
        install(there, ca.issue(SITE), "acme:letsencrypt", "order")
        version = there.live_version(SITE)
        assert version is not None
        files = read_files(there.layout, SITE, version)
    local._writer.adopt_heads([HeadAdoption(version, "edge-b", None, files)])
    head = local.head(SITE)
    assert head is not None
    assert head.act is Act.ORDER


def test_the_predecessor_is_what_a_rollback_would_choose(
    writer: StoreWriter, local: LocalRecords, ca: CertificateAuthority
) -> None:
    assert local.predecessor(SITE) is None
    install(writer, ca.issue(SITE))
    first = local.head_digest(SITE)
    install(writer, ca.issue(SITE))
    before = local.predecessor(SITE)
    assert before is not None
    assert before.digest == first
    assert first is not None
    assert local.archived(SITE, first) == before
    assert local.archived(SITE, "unknown") is None


def test_a_self_signed_main_certificate_is_no_news(local: LocalRecords, ca: CertificateAuthority) -> None:
    assert local.is_repair("main")
    install(local._writer, ca.issue(SITE))
    assert not local.is_repair(SITE)
    assert not local.is_repair("other.test")
