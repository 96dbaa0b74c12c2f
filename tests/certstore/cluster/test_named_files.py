"""Which sites' settings name files that are not there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.cluster import named_files
from certstore.cluster.named_files import NamedFiles
from certstore.model.settings.models import SiteSettings
from certstore.store.writer import StoreWriter
from tests.certstore.stores import writing

SITE = "client-a.test"


def settings(**upstream: str) -> SiteSettings:
    return SiteSettings.model_validate({"host": SITE, "upstream": {"url": "https://10.0.0.1", **upstream}})


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with writing(tmp_path / "store") as writer:
        yield writer


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_files, "LOOK_SECONDS", 0.0)


def test_each_file_that_is_not_there_is_named(writer: StoreWriter) -> None:
    (writer.base / "ca.pem").touch()
    writer.add_site(SITE, settings(ca_file="ca.pem", client_cert="client.pem"))
    files = NamedFiles(writer)
    assert files.missing() == [(SITE, "upstream: client_cert: there is no client.pem")]
    (writer.base / "client.pem").touch()
    assert files.missing() == []
    (writer.base / "ca.pem").unlink()
    assert files.missing() == [(SITE, "upstream: ca_file: there is no ca.pem")]


def test_later_changes_count(writer: StoreWriter) -> None:
    files = NamedFiles(writer)
    assert files.missing() == []
    writer.add_site(SITE, settings(ca_file="/nowhere/ca.pem"))
    assert files.missing() == [(SITE, "upstream: ca_file: there is no /nowhere/ca.pem")]
    writer.remove_site(SITE)
    assert files.missing() == []


def test_a_site_without_files_of_its_own(writer: StoreWriter) -> None:
    writer.add_site(SITE, settings())
    assert NamedFiles(writer).missing() == []
