"""Notes of revocations, and the versions that could be served in place of a revoked one."""

from datetime import timedelta
from pathlib import Path

import pytest

from certstore.files.clock import utc_now
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import REVOKED
from certstore.model.renewal.revocation import Candidate, Revocation, RevocationReason
from certstore.store.revocations import candidates, find_begun, forget_begun, note_begun, note_revoked, read_revocation
from certstore.store.status import history
from certstore.store.writer import StoreWriter, UnknownVersion
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.stores import acquire

CA = CertificateAuthority()
HOST = "mail.edge.test"
DAY = timedelta(days=1)


def install(writer: StoreWriter, issued: Issued) -> int:
    files = (DroppedFile("a.pem", issued.combined_pem),)
    result = writer.install_files("main", files, source="upload", force=True)
    assert result.version is not None
    return result.version


def revoked(at_days: int = 0) -> Revocation:
    return Revocation(utc_now() - at_days * DAY, RevocationReason.SUPERSEDED, "ca")


def test_note_is_kept_beside_the_files_and_read_again(tmp_path: Path) -> None:
    with acquire(tmp_path) as writer:
        number = install(writer, CA.issue(HOST))
        version = writer.live_version("main")
        assert version is not None
        assert read_revocation(writer.layout, "main", number) is None
        note = revoked()
        note_revoked(writer.layout, version, note)
        assert read_revocation(writer.layout, "main", number) == note
        assert history(writer, "main")[0].to_json()["revoked"] == note.to_json()
    with acquire(tmp_path) as again:
        assert again.live_version("main") == version, "the version is complete and unchanged"


def test_damaged_note_is_none(tmp_path: Path) -> None:
    with acquire(tmp_path) as writer:
        number = install(writer, CA.issue(HOST))
        (writer.layout.version("main", number) / REVOKED).write_bytes(b"[[[")
        assert read_revocation(writer.layout, "main", number) is None


def test_only_a_valid_version_for_the_host_that_was_not_revoked_is_usable(tmp_path: Path) -> None:
    key = CA.issue(HOST)
    with acquire(tmp_path) as writer:
        good = install(writer, CA.issue(HOST))
        expired = install(writer, CA.issue(HOST, not_after=utc_now() - DAY))
        foreign = install(writer, CA.issue("other.test"))
        gone = install(writer, CA.issue(HOST))
        gone_version = writer.live_version("main")
        assert gone_version is not None
        note_revoked(writer.layout, gone_version, revoked())
        live = install(writer, key)
        version = writer.live_version("main")
        assert version is not None
        found = {each.number: each for each in candidates(writer.layout, version, HOST, utc_now())}
    assert live not in found
    assert found[good] == Candidate(good, True, False)
    assert not found[expired].is_usable
    assert not found[foreign].is_usable
    assert not found[gone].is_usable


def test_revoked_version_is_not_made_live_again(tmp_path: Path) -> None:
    with acquire(tmp_path) as writer:
        first = install(writer, CA.issue(HOST))
        version = writer.live_version("main")
        assert version is not None
        install(writer, CA.issue(HOST))
        note_revoked(writer.layout, version, revoked())
        for chosen in (first, None):
            with pytest.raises(UnknownVersion, match="was revoked on"):
                writer.rollback("main", chosen)


def test_version_whose_revocation_began_is_found_until_it_is_forgotten(tmp_path: Path) -> None:
    with acquire(tmp_path) as writer:
        install(writer, CA.issue(HOST))
        version = writer.live_version("main")
        assert version is not None
        assert find_begun(writer.layout, "main") is None
        note_begun(writer.layout, version, revoked())
        install(writer, CA.issue(HOST))
        found = find_begun(writer.layout, "main")
        assert found is not None
        assert found.number == version.number
        assert read_revocation(writer.layout, "main", version.number) is None, "it is not revoked yet"
        forget_begun(writer.layout, version)
        forget_begun(writer.layout, version)
        assert find_begun(writer.layout, "main") is None
