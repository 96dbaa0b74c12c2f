"""One account per CA, at a real Pebble."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from certstore.acme.account import AccountSettings
from certstore.acme.network import OrderFailed
from certstore.model.renewal.failure import Cause
from tests.certstore.acme.workshop import AGREED, Workshop, workshop

pytestmark = pytest.mark.peer


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with workshop(tmp_path_factory.mktemp("ca")) as made:
        yield made


def ensure(shop: Workshop, settings: AccountSettings = AGREED) -> str:
    conversation = shop.conversation()
    try:
        return shop.accounts.ensure(shop.ca, conversation, settings).url
    finally:
        conversation.close()


def test_account_is_made_once_and_kept_for_all_sites(shop: Workshop) -> None:
    first = ensure(shop)
    assert ensure(shop) == first
    assert shop.pebble.accounts() == 1
    folder = shop.layout.account(shop.ca.key)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert shop.layout.account_key(shop.ca.key).stat().st_mode & 0o777 == 0o600
    loaded = shop.accounts.load(shop.ca)
    assert loaded is not None
    assert (loaded.url, loaded.contact) == (first, ("admin@example.org",))
    assert "PRIVATE" not in repr(loaded)
    assert "JWK" not in repr(loaded)


def test_kill_between_key_and_answer_loses_no_account(shop: Workshop) -> None:
    first = ensure(shop)
    shop.layout.account_facts(shop.ca.key).unlink()
    assert ensure(shop) == first


def test_damaged_facts_are_fetched_again_with_the_key(shop: Workshop) -> None:
    first = ensure(shop)
    shop.layout.account_facts(shop.ca.key).write_text("{")
    assert ensure(shop) == first


def test_damaged_key_is_left_for_a_person(shop: Workshop) -> None:
    ensure(shop)
    shop.layout.account_facts(shop.ca.key).unlink()
    shop.layout.account_key(shop.ca.key).write_text("nonsense")
    with pytest.raises(OrderFailed) as failed:
        ensure(shop)
    assert failed.value.failure.cause is Cause.ACCOUNT


def test_terms_have_to_be_agreed_to_first(shop: Workshop) -> None:
    with pytest.raises(OrderFailed) as failed:
        ensure(shop, replace(AGREED, agrees_to_terms=False))
    assert failed.value.failure.cause is Cause.TERMS
    assert failed.value.failure.link is not None
    assert shop.accounts.load(shop.ca) is None
    ensure(shop)


def test_contact_is_changed_at_the_ca_when_it_changes_here(shop: Workshop) -> None:
    first = ensure(shop)
    assert ensure(shop, replace(AGREED, contact=("new@example.org",))) == first
    facts = json.loads(shop.layout.account_facts(shop.ca.key).read_text())
    assert facts["contact"] == ["new@example.org"]
    loaded = shop.accounts.load(shop.ca)
    assert loaded is not None
    own = loaded.sign_in(shop.conversation())
    at_the_ca = own.post(loaded.url, None).json()
    own.close()
    assert at_the_ca["contact"] == ["mailto:new@example.org"]


def test_ca_that_forgot_the_account_gets_it_again_with_the_same_key(shop: Workshop) -> None:
    ensure(shop)
    key = shop.layout.account_key(shop.ca.key).read_bytes()
    shop.pebble.stop()
    shop.pebble.start()
    conversation = shop.conversation()
    unknown = shop.accounts.load(shop.ca)
    assert unknown is not None
    account = shop.accounts.register_again(unknown, conversation, AGREED)
    conversation.close()
    assert account.url
    assert shop.layout.account_key(shop.ca.key).read_bytes() == key


def test_contact_changed_meanwhile_does_not_keep_a_forgotten_account_forgotten(shop: Workshop) -> None:
    ensure(shop)
    key = shop.layout.account_key(shop.ca.key).read_bytes()
    shop.pebble.stop()
    shop.pebble.start()
    ensure(shop, replace(AGREED, contact=("new@example.org",)))
    assert shop.pebble.accounts() == 1
    assert shop.layout.account_key(shop.ca.key).read_bytes() == key
    loaded = shop.accounts.load(shop.ca)
    assert loaded is not None
    assert loaded.contact == ("new@example.org",)


def test_first_orders_at_once_make_one_account(shop: Workshop) -> None:
    accounts = shop.accounts
    made = []

    def order() -> None:
        conversation = shop.conversation()
        made.append(accounts.ensure(shop.ca, conversation, AGREED).url)
        conversation.close()

    threads = [threading.Thread(target=order) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert shop.pebble.accounts() == 1
