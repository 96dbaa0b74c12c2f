from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from certstore.model.name_ownership import NameOwnership
from certstore.model.settings.models import SiteSettings, Source
from certstore.model.site_registry import KnownSite, SiteRegistry
from certstore.model.snapshot import MAIN, ServedCertificate

AT = datetime(2026, 11, 1, tzinfo=UTC)


def served(*names: str, is_self_signed: bool = False) -> ServedCertificate:
    return ServedCertificate("x", 1, "ab" * 32, names, AT, AT, is_self_signed)


def settings(host: str, *others: str, **changes: Any) -> SiteSettings:
    return SiteSettings.model_validate({"host": host, "additional_names": list(others), **changes})


@pytest.fixture
def registry() -> SiteRegistry:
    return SiteRegistry(NameOwnership())


@pytest.mark.parametrize(
    ("site", "chosen", "has_drop", "has_live", "expected"),
    [
        pytest.param("a.test", None, False, False, Source.MAIN, id="nothing is there: the main certificate"),
        pytest.param("a.test", None, True, False, Source.FILE, id="a drop has been seen"),
        pytest.param("a.test", None, False, True, Source.FILE, id="a version is live"),
        pytest.param("a.test", Source.MAIN, True, True, Source.MAIN, id="the setting decides for main"),
        pytest.param("a.test", Source.ACME, True, True, Source.ACME, id="the setting decides for orders"),
        pytest.param("a.test", Source.FILE, False, False, Source.FILE, id="the setting decides for files"),
        pytest.param(MAIN, None, False, False, Source.FILE, id="main has no other to fall back on"),
        pytest.param(MAIN, Source.MAIN, False, False, Source.FILE, id="main can't use itself"),
        pytest.param(MAIN, Source.ACME, False, False, Source.ACME, id="main can be ordered"),
    ],
)
def test_source(site: str, chosen: Source | None, has_drop: bool, has_live: bool, expected: Source) -> None:
    known = KnownSite(site, "a.test", settings("a.test", certificate=chosen), has_drop=has_drop)
    assert (known.with_served(served("a.test")) if has_live else known).source is expected


@pytest.mark.parametrize(
    ("known", "certificate", "host"),
    [
        pytest.param(
            KnownSite(MAIN, "old.test"), served("new.test", "b.test"), "new.test", id="main takes the first name"
        ),
        pytest.param(KnownSite(MAIN, "old.test"), served("*.b.test", "c.test"), "c.test", id="a wildcard is no host"),
        pytest.param(KnownSite(MAIN, "old.test"), served("*.b.test"), "old.test", id="wildcards only"),
        pytest.param(
            KnownSite(MAIN, "old.test"), served("new.test", is_self_signed=True), "old.test", id="self-signed"
        ),
        pytest.param(
            KnownSite(MAIN, "old.test", settings("old.test")), served("new.test"), "old.test", id="main with settings"
        ),
        pytest.param(KnownSite("a.test", "a.test"), served("new.test"), "a.test", id="another site"),
    ],
)
def test_host_after_a_new_certificate(known: KnownSite, certificate: ServedCertificate, host: str) -> None:
    assert known.with_served(certificate) == KnownSite(known.site, host, known.settings, certificate)


@pytest.mark.parametrize(
    ("known", "declared", "expected"),
    [
        pytest.param(KnownSite("a.test", "a.test"), ("a.test",), ("a.test",), id="a bare site"),
        pytest.param(KnownSite(MAIN, "a.test"), ("a.test",), (), id="main without settings expects none"),
        pytest.param(
            KnownSite(MAIN, "a.test", settings("a.test", "b.test")),
            ("a.test", "b.test"),
            ("a.test", "b.test"),
            id="main with settings",
        ),
    ],
)
def test_names_of_a_site(known: KnownSite, declared: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert (known.declared_names, known.expected_names) == (declared, expected)


@pytest.mark.parametrize(
    ("known", "implicit"),
    [
        pytest.param(KnownSite("a.test", "a.test"), (), id="nothing is live"),
        pytest.param(KnownSite("a.test", "a.test", None, served("a.test", "www.a.test")), ("www.a.test",), id="bare"),
        pytest.param(KnownSite("a.test", "a.test", settings("a.test"), served("www.a.test")), (), id="with settings"),
        pytest.param(KnownSite(MAIN, "a.test", None, served("www.a.test")), (), id="main"),
        pytest.param(
            KnownSite("a.test", "a.test", None, served("www.a.test", is_self_signed=True)), (), id="self-signed"
        ),
    ],
)
def test_only_a_bare_site_claims_names_of_its_certificate(known: KnownSite, implicit: tuple[str, ...]) -> None:
    assert known.claims.implicit == implicit


def test_change_returns_every_site_whose_entry_may_differ(registry: SiteRegistry) -> None:
    first = KnownSite("a", "a.test", settings("a.test", "shared.test"))
    second = KnownSite("b", "b.test", settings("b.test", "shared.test"))
    assert registry.put(first) == {"a"}
    assert registry.put(second) == {"b"}
    assert registry.put(second) == set(), "nothing changed"
    assert registry.entry("b").names == ("b.test",)
    assert [each.name for each in registry.conflicts("b")] == ["shared.test"]
    assert registry.put(KnownSite("a", "a.test", settings("a.test"))) == {"a", "b"}
    assert registry.entry("b").names == ("b.test", "shared.test")
    assert registry.remove("a") == set()
    assert registry.remove("never there") == set()
    assert list(registry) == ["b"]


def test_host_that_two_sites_claim_passes_to_the_other(registry: SiteRegistry) -> None:
    registry.put_all([KnownSite(site, "a.test", settings("a.test")) for site in ("one", "two")])
    assert registry.site_of_host("a.test") == "one"
    registry.remove("two")
    assert registry.site_of_host("a.test") == "one"
    registry.put(KnownSite("two", "a.test", settings("a.test")))
    registry.put(KnownSite("one", "b.test", settings("b.test")))
    assert (registry.site_of_host("a.test"), registry.site_of_host("b.test")) == ("two", "one")
    registry.remove("two")
    assert registry.site_of_host("a.test") is None


def test_entry_on_the_main_certificate_has_none(registry: SiteRegistry) -> None:
    certificate = served("a.test")
    registry.put(KnownSite("a", "a.test", settings("a.test", certificate=Source.MAIN), certificate))
    registry.put(KnownSite("b", "b.test", settings("b.test", inspect=True, upstream="http://10.0.0.1"), certificate))
    assert registry.entry("a").certificate is None
    entry = registry.entry("b")
    assert (entry.certificate, entry.inspect) == (certificate, True)
    assert entry.upstreams == settings("b.test", upstream="http://10.0.0.1").upstream
