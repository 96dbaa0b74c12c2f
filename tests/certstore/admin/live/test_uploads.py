"""Previews wait for their installation: for their user and site only, once, for a while, and few at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.admin.live.uploads import LASTS, Uploads
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.settings.models import SiteSettings
from certstore.store.writer import Preview
from tests.certificates import CertificateAuthority
from tests.certstore.renewal.scene import Clock
from tests.certstore.stores import OTHER, SITE, writing


@pytest.fixture
def preview(tmp_path: Path, ca: CertificateAuthority) -> Iterator[Preview]:
    with writing(tmp_path / "store") as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        yield writer.preview(SITE, [DroppedFile("all.pem", ca.issue(SITE).combined_pem)])


def test_preview_is_given_once_to_its_user_for_its_site(preview: Preview) -> None:
    uploads = Uploads(Clock())
    key = uploads.keep("anna", preview)
    assert uploads.take(key, "bert", SITE) is None
    assert uploads.take(key, "anna", OTHER) is None
    assert uploads.take(key, "anna", SITE) is preview
    assert uploads.take(key, "anna", SITE) is None


def test_preview_is_kept_for_a_while(preview: Preview) -> None:
    clock = Clock()
    uploads = Uploads(clock)
    key = uploads.keep("anna", preview)
    clock.offset = LASTS
    assert uploads.take(key, "anna", SITE) is None


def test_oldest_previews_of_a_user_give_way_to_newer_ones(preview: Preview) -> None:
    uploads = Uploads(Clock())
    others = uploads.keep("bert", preview)
    keys = [uploads.keep("anna", preview) for _ in range(6)]
    assert [uploads.take(key, "anna", SITE) is preview for key in keys] == [False, *[True] * 5]
    assert uploads.take(others, "bert", SITE) is preview
