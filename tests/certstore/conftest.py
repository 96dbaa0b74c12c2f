"""Shared by the tests of the store: one authority for all of them, as making keys takes longer than most tests."""

import pytest

from tests.certificates import CertificateAuthority


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    return CertificateAuthority()
