"""Uploads are previewed before they count: read once, outside the writer's lock, and checked again when installed."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.certificate.bundle import CertificateBundle, Refused
from certstore.model.certificate.contents import Unlocked, unlock_here
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.record import Outcome
from certstore.model.settings.models import SiteSettings, Source
from certstore.store.writer import InvalidSite, StoreWriter, TooBusy, UnknownSite
from tests.certificates import CertificateAuthority
from tests.certstore.stores import OTHER, SITE, check_until_decided, drop, drop_pair, served, writing

PASSWORD = b"secret"


class Opener:
    """Counts the PKCS #12 files that are opened, and holds them while it is closed."""

    def __init__(self) -> None:
        self.count = 0
        self.has_begun = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self, content: bytes, password: bytes | None) -> Unlocked:
        self.count += 1
        self.has_begun.set()
        assert self.may_end.wait(30)
        return unlock_here(content, password)

    @contextmanager
    def holding(self) -> Iterator[None]:
        self.has_begun.clear()
        self.may_end.clear()
        try:
            yield
        finally:
            self.may_end.set()


@pytest.fixture
def opener(monkeypatch: pytest.MonkeyPatch) -> Opener:
    opener = Opener()
    monkeypatch.setattr("certstore.store.writer.Unlocker", lambda: opener)
    return opener


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with writing(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        yield writer


def test_a_preview_shows_what_would_be_installed_and_replaced_and_changes_nothing(
    writer: StoreWriter, ca: CertificateAuthority
) -> None:
    old, new = ca.issue(SITE), ca.issue(SITE)
    writer.install_files(SITE, [DroppedFile("all.pem", old.combined_pem)], source="upload")
    records = writer.records(SITE)
    preview = writer.preview(SITE, [DroppedFile("all.pem", new.combined_pem)])
    assert isinstance(preview.verdict, CertificateBundle)
    assert preview.verdict.primary.fingerprint == new.fingerprint
    assert preview.replaces is not None
    assert (preview.replaces.number, preview.replaces.fingerprint) == (1, old.fingerprint)
    assert (preview.names, preview.forced) == ((SITE,), None)
    assert served(writer.layout.root, SITE) == old.fingerprint
    assert writer.records(SITE) == records
    assert "PRIVATE" not in repr(preview)


def test_what_was_previewed_is_installed_without_opening_a_file_again(
    writer: StoreWriter, ca: CertificateAuthority, opener: Opener
) -> None:
    issued = ca.issue(SITE)
    preview = writer.preview(SITE, [DroppedFile("a.p12", issued.pkcs12(PASSWORD))], password=PASSWORD)
    result = writer.install(preview, source="upload")
    assert (result.outcome, result.version, opener.count) == (Outcome.DONE, 1, 1)
    assert served(writer.layout.root, SITE) == issued.fingerprint


def test_a_refusal_that_may_be_overruled_shows_what_force_would_install(
    writer: StoreWriter, ca: CertificateAuthority, opener: Opener
) -> None:
    issued = ca.issue("elsewhere.test")
    preview = writer.preview(SITE, [DroppedFile("a.p12", issued.pkcs12(PASSWORD))], password=PASSWORD)
    assert isinstance(preview.verdict, Refused)
    assert preview.forced is not None
    assert preview.forced.primary.fingerprint == issued.fingerprint
    assert writer.install(preview, source="upload").outcome is Outcome.REFUSED
    assert writer.install(preview, source="upload", force=True).outcome is Outcome.DONE
    assert opener.count == 1


def test_a_refusal_that_nobody_may_overrule_shows_nothing_to_install(
    writer: StoreWriter, ca: CertificateAuthority
) -> None:
    preview = writer.preview(SITE, [DroppedFile("leaf.pem", ca.issue(SITE).fullchain_pem)])
    assert isinstance(preview.verdict, Refused)
    assert preview.forced is None
    assert writer.install(preview, source="upload", force=True).reason == "no_key"


def test_names_that_changed_since_the_preview_are_checked_again(writer: StoreWriter, ca: CertificateAuthority) -> None:
    preview = writer.preview(SITE, [DroppedFile("all.pem", ca.issue(SITE).combined_pem)])
    writer.set_site(SITE, {"host": "renamed.test"})
    result = writer.install(preview, source="upload")
    assert (result.outcome, result.reason) == (Outcome.REFUSED, "wrong_name")


def test_a_certificate_that_expired_since_the_preview_is_refused(writer: StoreWriter, ca: CertificateAuthority) -> None:
    preview = writer.preview(SITE, [DroppedFile("all.pem", ca.issue(SITE).combined_pem)])
    result = writer.install(preview, source="upload", now=datetime.now(UTC) + timedelta(days=4000))
    assert (result.outcome, result.reason) == (Outcome.REFUSED, "expired")


def test_a_site_that_was_removed_or_set_to_main_since_the_preview_is_not_installed_to(
    writer: StoreWriter, ca: CertificateAuthority
) -> None:
    preview = writer.preview(SITE, [DroppedFile("all.pem", ca.issue(SITE).combined_pem)])
    writer.set_site(SITE, {"certificate": Source.MAIN.value})
    with pytest.raises(InvalidSite, match="--certificate file"):
        writer.install(preview, source="upload")
    writer.remove_site(SITE)
    with pytest.raises(UnknownSite):
        writer.install(preview, source="upload")


def test_a_drop_that_takes_long_to_read_delays_no_upload_and_no_command(
    writer: StoreWriter, ca: CertificateAuthority, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certstore.store.drops.processing.Unlocker", lambda effort: opener)
    drop(writer, SITE, {"a.p12": ca.issue(SITE).pkcs12(None)})
    uploaded = ca.issue(OTHER)
    with ThreadPoolExecutor(1) as pool, opener.holding():
        check = pool.submit(writer.check, SITE)
        assert opener.has_begun.wait(30)
        writer.add_site(OTHER, SiteSettings(host=OTHER))
        writer.install_files(OTHER, [DroppedFile("all.pem", uploaded.combined_pem)], source="upload")
        assert served(writer.layout.root, OTHER) == uploaded.fingerprint
        assert not check.done()
        opener.may_end.set()
        assert check.result(30).site == SITE


def test_uploads_that_take_long_to_read_delay_nobody_elses_drop(
    writer: StoreWriter, ca: CertificateAuthority, opener: Opener
) -> None:
    slow, drop = ca.issue(SITE), ca.issue(OTHER)
    files = [DroppedFile("a.p12", slow.pkcs12(PASSWORD))]
    with ThreadPoolExecutor(10) as pool, opener.holding():
        uploads = [
            pool.submit(writer.install_files, SITE, files, source="upload", password=PASSWORD) for _ in range(10)
        ]
        assert opener.has_begun.wait(30)
        drop_pair(writer, OTHER, drop)
        check_until_decided(writer, OTHER)
        assert served(writer.layout.root, OTHER) == drop.fingerprint
        assert not any(each.done() for each in uploads)
        opener.may_end.set()
        outcomes = sorted(each.result(30).outcome for each in uploads)
    # The first one made the version; for all others it was live already.
    assert outcomes == sorted([Outcome.DONE, *[Outcome.NOTED] * 9])
    assert len(writer.versions(SITE)) == 1


def test_uploads_of_one_caller_wait_for_each_other_and_nobody_waits_for_them(
    writer: StoreWriter, ca: CertificateAuthority, opener: Opener
) -> None:
    files = [DroppedFile("a.p12", ca.issue(SITE).pkcs12(PASSWORD))]
    with ThreadPoolExecutor(10) as pool, opener.holding():
        ten = [pool.submit(writer.preview, SITE, files, password=PASSWORD, caller="one") for _ in range(10)]
        assert opener.has_begun.wait(30)
        writer.preview(SITE, [DroppedFile("all.pem", ca.issue(SITE).combined_pem)], caller="another")
        opener.may_end.set()
        faults = [each.exception(30) for each in ten]
    assert {type(each) for each in faults} == {type(None), TooBusy}
    assert opener.count == 4, "the others were turned away before anything was opened"
