"""Revocation at a real Pebble, signed by the account or by the certificate's own key."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509

from certstore.acme.account import Account
from certstore.acme.network import OrderFailed
from certstore.acme.revoke import revoke
from certstore.model.layout import FULLCHAIN, PRIVKEY
from certstore.model.renewal.revocation import RevocationReason
from tests.certificates import CertificateAuthority
from tests.certstore.acme.workshop import AGREED, Workshop, workshop

pytestmark = pytest.mark.peer


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        yield made


def ordered(shop: Workshop, host: str = "a.test") -> tuple[bytes, bytes, int]:
    """Certificate, key and serial number."""
    with shop.issuer() as issuer:
        files = {each.name: each.content for each in issuer.issue(shop.request(host))}
    serial = x509.load_pem_x509_certificate(files[FULLCHAIN]).serial_number
    return files[FULLCHAIN], files[PRIVKEY], serial


def account_of(shop: Workshop) -> Account:
    with closing(shop.conversation()) as anonymous:
        return shop.accounts.ensure(shop.ca, anonymous, AGREED)


@pytest.mark.parametrize("reason", list(RevocationReason))
def test_account_revokes_with_each_reason(shop: Workshop, reason: RevocationReason) -> None:
    cert, key, serial = ordered(shop)
    assert shop.pebble.revocation(serial) is None
    with closing(shop.conversation()) as anonymous:
        assert revoke(anonymous, account_of(shop), cert, key, reason)
    assert shop.pebble.revocation(serial) == reason.code


def test_own_key_revokes_without_the_account(shop: Workshop) -> None:
    cert, key, serial = ordered(shop)
    with closing(shop.conversation()) as anonymous:
        assert revoke(anonymous, None, cert, key, RevocationReason.SUPERSEDED)
    assert shop.pebble.revocation(serial) == 4


def test_second_revocation_is_no_failure(shop: Workshop) -> None:
    cert, key, _ = ordered(shop)
    with closing(shop.conversation()) as anonymous:
        assert revoke(anonymous, account_of(shop), cert, key, RevocationReason.UNSPECIFIED)
        assert not revoke(anonymous, account_of(shop), cert, key, RevocationReason.UNSPECIFIED)


def test_key_of_another_certificate_revokes_nothing(shop: Workshop) -> None:
    cert, _, serial = ordered(shop)
    _, other, _ = ordered(shop, "b.test")
    with closing(shop.conversation()) as anonymous, pytest.raises(OrderFailed):
        revoke(anonymous, None, cert, other, RevocationReason.UNSPECIFIED)
    assert shop.pebble.revocation(serial) is None


def test_certificate_of_another_ca_is_refused_with_the_ca_s_words(shop: Workshop) -> None:
    foreign = CertificateAuthority().issue("a.test")
    with closing(shop.conversation()) as anonymous, pytest.raises(OrderFailed) as failed:
        revoke(anonymous, account_of(shop), foreign.cert_pem, foreign.privkey_pem, RevocationReason.UNSPECIFIED)
    assert failed.value.failure.detail
