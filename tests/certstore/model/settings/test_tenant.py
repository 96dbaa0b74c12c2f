"""Which keys of a site.yaml are the tenant's."""

import pytest

from certstore.model.settings.models import SiteSettings, Source, Upstream
from certstore.model.settings.tenant import TENANT_KEYS, tenant_settings

ADMINISTERED = SiteSettings(
    host="a.test", additional_names=("*.test",), upstream=(Upstream(url="http://10.0.0.5"),), contact=("old@a.test",)
)


def test_every_key_is_the_tenants_or_the_administrators() -> None:
    administrators = {"host", "additional_names", "upstream", "inspect", "challenges"}
    assert frozenset(SiteSettings.model_fields) - TENANT_KEYS == administrators


def test_the_tenants_keys_count_and_what_else_differs_is_named() -> None:
    declared = SiteSettings(host="b.test", upstream=ADMINISTERED.upstream, inspect=True, key_type="ec384")
    settings, ignored = tenant_settings(declared, ADMINISTERED)
    assert settings == ADMINISTERED.model_copy(update={"contact": (), "key_type": "ec384"})
    assert ignored == ("host", "additional_names", "inspect")


def test_the_same_settings_are_no_news() -> None:
    assert tenant_settings(ADMINISTERED, ADMINISTERED) == (ADMINISTERED, ())


def test_what_does_not_go_together_is_an_error() -> None:
    with pytest.raises(ValueError, match="wildcard"):
        tenant_settings(SiteSettings(host="a.test", certificate=Source.ACME), ADMINISTERED)
