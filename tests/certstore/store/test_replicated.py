"""The writer as a cluster sees it; `test_adoption` has what is adopted and what is not."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.model.settings.models import SiteSettings
from certstore.store.adoption import Declaration, Removed
from certstore.store.errors import UnknownVersion
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.stores import SITE, check_until_decided, drop_pair, problem_codes, writing


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with writing(tmp_path / "store") as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        yield writer


def test_every_change_is_told(writer: StoreWriter, ca: CertificateAuthority) -> None:
    told: list[str] = []
    writer.subscribe(told.append)
    writer.set_site(SITE, {"inspect": True})
    drop_pair(writer, SITE, ca.issue(SITE))
    check_until_decided(writer, SITE)
    after_drop = len(told)
    writer.remove_site(SITE)
    assert after_drop >= 2
    assert len(told) > after_drop
    assert set(told) == {SITE}


def test_a_listener_is_told_under_the_lock_and_may_wait_for_nobody(writer: StoreWriter) -> None:
    """Another thread can't ask the writer meanwhile: what a listener does has to be quick."""
    asked: list[bool] = []

    def listen(_: str) -> None:
        asking = threading.Thread(target=writer.sites)
        asking.start()
        asking.join(0.05)
        asked.append(asking.is_alive())

    writer.subscribe(listen)
    writer.set_site(SITE, {"inspect": True})
    assert asked == [True]


def test_what_a_site_declares(writer: StoreWriter) -> None:
    assert writer.declaration("other.test") is None
    declared = writer.declaration(SITE)
    assert isinstance(declared, Declaration)
    assert (declared.host, declared.settings) == (SITE, {"host": SITE})
    writer.remove_site(SITE)
    assert isinstance(writer.declaration(SITE), Removed)
    assert writer.removed_sites() == (SITE,)


def test_agreed_numbers_move_a_name(writer: StoreWriter) -> None:
    for site in ("one.test", "two.test"):
        writer.add_site(site, SiteSettings(host=site, additional_names=("shared.test",)))
    writer.agree_numbers("one.test", {"one.test": 8, "shared.test": 9})
    assert "shared.test" in writer.site("two.test").names
    assert problem_codes(writer, "one.test") == {"name_conflict"}
    writer.agree_numbers("unknown.test", {"unknown.test": 1})
    assert "unknown.test" not in writer.sites()


def test_the_predecessor_is_what_a_rollback_chooses(writer: StoreWriter, ca: CertificateAuthority) -> None:
    with pytest.raises(UnknownVersion):
        writer.predecessor(SITE)
    for _ in range(2):
        drop_pair(writer, SITE, ca.issue(SITE))
        check_until_decided(writer, SITE)
    assert writer.predecessor(SITE) == 1
    assert writer.rollback(SITE).version == 1
