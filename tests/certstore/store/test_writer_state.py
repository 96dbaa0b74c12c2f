"""One drop is one change: each file is written once, and a change that can't be published changes nothing."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from certstore.model.record import Outcome
from certstore.model.settings.models import SiteSettings
from certstore.store.drops.reading import Drop, DropPlaces, read_drop
from certstore.store.records import write_records
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.stores import (
    SITE,
    check_until_decided,
    drop,
    drop_pair,
    issue_later,
    problem_codes,
    served,
    writing,
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sites whose records were written, one entry per write."""
    sites: list[str] = []

    def spy(layout: object, site: str, records: object) -> None:
        sites.append(site)
        write_records(layout, site, records)  # type: ignore[arg-type]

    monkeypatch.setattr("certstore.store.writer_state.write_records", spy)
    return sites


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with writing(tmp_path, settle=timedelta()) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        yield writer


def test_a_drop_writes_its_records_once_however_much_it_changes(
    writer: StoreWriter, ca: CertificateAuthority, written: list[str]
) -> None:
    drop(writer, SITE, {"privkey.pem": ca.issue(SITE).privkey_pem})
    writer.check(SITE)
    assert written == [SITE], "the record, and the problem"
    assert problem_codes(writer, SITE) == {"drop_refused"}
    written.clear()
    drop_pair(writer, SITE, ca.issue(SITE))
    writer.check(SITE)
    assert written == [SITE], "the record, and the problem that is solved"
    assert problem_codes(writer, SITE) == set()
    written.clear()
    writer.check(SITE)
    assert written == []


def test_a_change_that_can_not_be_published_leaves_the_site_as_it_was(
    writer: StoreWriter, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, old, new = writer.layout.root, ca.issue(SITE), issue_later(ca, SITE)
    drop_pair(writer, SITE, old)
    check_until_decided(writer, SITE)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    drop_pair(writer, SITE, new)
    with monkeypatch.context() as patch:
        patch.setattr(writer._state.journal, "publish", full)
        check = writer.check(SITE)
    assert check.result is not None
    assert (check.result.outcome, check.again_in is not None) == (Outcome.FAILED, True)
    assert served(root, SITE) == old.fingerprint
    live = writer.live_version(SITE)
    assert live is not None
    assert live.fingerprint == old.fingerprint
    # It does not count as decided: the next check takes it.
    assert writer.check(SITE).result is not None
    assert served(root, SITE) == new.fingerprint


def test_a_site_that_changes_while_its_drop_is_read_is_checked_anew(
    writer: StoreWriter, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [{"host": "renamed.test"}]

    def slow(places: DropPlaces) -> Drop:
        found = read_drop(places)
        if changes:
            writer.set_site(SITE, changes.pop())  # as another thread would: reading holds no lock
        return found

    monkeypatch.setattr("certstore.store.drops.processing.read_drop", slow)
    drop_pair(writer, SITE, ca.issue(SITE))
    result = writer.check(SITE).result
    assert result is not None
    assert (result.outcome, result.reason) == (Outcome.REFUSED, "wrong_name")
    assert [record.doing for record in writer.records(SITE)].count("intake") == 1
