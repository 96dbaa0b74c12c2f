from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from certstore.model.certificate.bundle import CertificateBundle, read_bundle
from certstore.model.certificate.findings import Problem
from certstore.store.self_signed import make_self_signed

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("host", "common_name"),
    [
        pytest.param("mail.test", "mail.test", id="a short host"),
        pytest.param(f"{'x' * 63}.test", "x" * 63 + ".", id="a host too long for a common name"),
        pytest.param("xn--bcher-kva.test", "xn--bcher-kva.test", id="an A-label"),
    ],
)
@pytest.mark.parametrize("moment", [NOW - timedelta(hours=1), NOW, NOW + timedelta(days=365, seconds=-1)], ids=str)
def test_it_can_be_installed_like_any_other(host: str, common_name: str, moment: datetime) -> None:
    files = make_self_signed(host, NOW)
    bundle = read_bundle(files, now=moment, names=(host,))
    assert isinstance(bundle, CertificateBundle)
    assert bundle.primary.dns_names == (host,)
    assert Problem.SELF_SIGNED in {each.code for each in bundle.problems}
    certificate = x509.load_pem_x509_certificate(bundle.primary.cert_pem)
    assert certificate.subject.rfc4514_string() == f"CN={common_name}"


def test_no_two_have_the_same_key() -> None:
    first, second = (make_self_signed("a.test", NOW)[0].content for _ in range(2))
    assert first != second
