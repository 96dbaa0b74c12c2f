"""Certificates and keys at hand: up to so many bytes, whatever the number of sites. `test_served_contexts` has the
rest of the contract.
"""

from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from edge_addon.transport.openssl_sites import OpenSslSites
from tests.certificates import CertificateAuthority
from tests.edge_addon.transport.test_tls_contexts import publish

CA = CertificateAuthority()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_web_and_mail_share_the_decoded_pair_and_no_context(layout: Layout) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    sites = OpenSslSites(layout, Settings())
    web, mail = sites.get(served, is_mail=False), sites.get(served, is_mail=True)
    assert web is not None
    assert mail is not None
    assert web.credentials is mail.credentials
    assert web.context is not mail.context


def test_pairs_are_kept_up_to_so_many_bytes_and_the_least_recently_used_go(layout: Layout) -> None:
    sites = OpenSslSites(layout, Settings.model_validate({"tls": {"key_cache_bytes": 1 << 20}}))
    served = [publish(layout, f"s{number}.test", 1, ISSUED) for number in range(400)]
    first = sites.get(served[0], is_mail=False)
    assert first is not None
    fitting = (1 << 20) // first.credentials.size
    assert 90 < fitting < 200
    for site in served[1:fitting]:
        sites.get(site, is_mail=False)
        assert _credentials(sites, served[0]) is first.credentials
    second = _credentials(sites, served[1])
    for site in served[fitting:]:
        sites.get(site, is_mail=False)
        assert _credentials(sites, served[0]) is first.credentials, "it is in use"
    assert _credentials(sites, served[1]) is not second
    assert len(sites._decoded._built) == fitting


ISSUED = CA.issue("s.test")


def _credentials(sites: OpenSslSites, served: object) -> object:
    found = sites.get(served, is_mail=False)  # type: ignore[arg-type]
    assert found is not None
    return found.credentials


def test_sites_without_a_loadable_version_weigh_too(layout: Layout) -> None:
    sites = OpenSslSites(layout, Settings.model_validate({"tls": {"key_cache_bytes": 1 << 20}}))
    for number in range(1100):
        served = publish(layout, f"s{number}.test", 1, ISSUED)
        (layout.version(f"s{number}.test", 1) / "privkey.pem").write_bytes(b"")
        assert sites.get(served, is_mail=False) is None
    assert len(sites._decoded._built) < 1100


def test_warm_loads_main_and_the_first_sites_with_their_contexts(layout: Layout) -> None:
    for name in ("main", "a.test", "b.test"):
        publish(layout, name, 1, CA.issue(name))
    sites = OpenSslSites(layout, Settings())
    sites.warm(1)
    assert {site for site, _ in sites._decoded._built} == {"main", "a.test"}
    assert len(sites._web._kept) == len(sites._mail._kept) == 1
    OpenSslSites(Layout(layout.root / "nothing"), Settings()).warm(1)
