"""What a worker serves from: built whole, changed by making the next one, compared site by site."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.settings.models import Source
from certstore.model.snapshot import MAIN, ServedCertificate, SiteEntry, Snapshot, decode_entry, encode_entry

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def entry(site: str, *names: str) -> SiteEntry:
    certificate = ServedCertificate(site, 1, "ab", names, NOW, NOW + timedelta(days=90))
    return SiteEntry(site, f"{site}.test", names, Source.FILE, certificate)


MAIN_ENTRY, A, B = entry(MAIN, "main.test"), entry("a", "a.test"), entry("b", "b.test")
BEFORE = Snapshot.build([MAIN_ENTRY, A, B])


def test_a_snapshot_without_a_main_certificate_can_not_be_built() -> None:
    with pytest.raises(ValueError, match="main site"):
        Snapshot.build([A])


def test_a_name_that_moves_between_two_changed_sites_belongs_to_its_new_owner() -> None:
    after = BEFORE.with_changes([entry("a"), entry("b", "b.test", "a.test")])
    assert after.by_name["a.test"].site == "b"
    assert BEFORE.by_name["a.test"].site == "a", "the one before stays as it was"


def test_changed_are_sites_with_another_entry_and_sites_that_are_new_or_gone() -> None:
    after = BEFORE.with_changes([entry("a", "a.test", "www.a.test"), entry("c", "c.test")], removed=["b"])
    assert after.changed_since(BEFORE) == {"a", "b", "c"}
    assert after.changed_since(after) == set()
    assert after.changed_since(None) == {MAIN, "a", "c"}


def test_an_entry_is_the_same_after_a_trip_through_the_journal() -> None:
    assert decode_entry(encode_entry(A)) == A


def test_an_entry_keeps_each_name_once() -> None:
    """Thousands of entries, of which each has its key in half a dozen places."""
    host = "webmail.client-a.test"
    served = ServedCertificate(host, 1, "00" * 32, (host, "a.test"), NOW, NOW, is_self_signed=False, has_rsa_pair=False)
    read = decode_entry(json.loads(json.dumps(encode_entry(SiteEntry(host, host, (host,), Source.FILE, served)))))
    assert read.certificate is not None
    places = (read.site, read.host, read.names[0], read.certificate.site, read.certificate.dns_names[0])
    assert len({id(each) for each in places}) == 1
