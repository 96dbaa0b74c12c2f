"""Accounts that get a new key, at a real Pebble; killed before, while and after the CA hears of it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from josepy.jwk import JWK

from certstore.acme import account as account_module
from certstore.acme import keys
from certstore.acme.account import Account, load_key
from certstore.acme.key_change import change_key, known_url
from certstore.acme.network import OrderFailed
from tests.certstore.acme.workshop import AGREED, Workshop, workshop

pytestmark = pytest.mark.peer


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        yield made


def ensure(shop: Workshop) -> Account:
    with closing(shop.conversation()) as anonymous:
        return shop.accounts.ensure(shop.ca, anonymous, AGREED)


def roll_over(shop: Workshop) -> Account:
    with closing(shop.conversation()) as anonymous:
        return shop.accounts.roll_over(shop.ca, anonymous)


def url_at_ca(shop: Workshop, key: JWK) -> str | None:
    with closing(shop.conversation()) as anonymous:
        return known_url(anonymous.with_key(key))


def test_account_has_another_key_and_the_same_url(shop: Workshop) -> None:
    before = ensure(shop)
    after = roll_over(shop)
    assert after.url == before.url
    assert after.key != before.key
    assert ensure(shop) == after
    assert url_at_ca(shop, after.key) == before.url
    assert url_at_ca(shop, before.key) is None, "the old key is of no use any more"
    assert not shop.layout.next_account_key(shop.ca.key).exists()
    assert shop.layout.account_key(shop.ca.key).stat().st_mode & 0o777 == 0o600
    assert shop.pebble.accounts() == 1


def test_orders_go_on_after_it(shop: Workshop) -> None:
    ensure(shop)
    roll_over(shop)
    with shop.issuer() as issuer:
        assert issuer.issue(shop.request("a.test"))
    assert shop.pebble.accounts() == 1


def test_rsa_key_of_an_imported_account_is_replaced(shop: Workshop) -> None:
    before = ensure(shop)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with closing(shop.conversation()) as anonymous:
        change_key(before.sign_in(anonymous), before.key, load_key(keys.to_pem(key)), before.url)
    shop.accounts.adopt(shop.ca, keys.to_pem(key), before.url, before.contact)
    after = roll_over(shop)
    assert url_at_ca(shop, after.key) == before.url


def test_kill_before_the_ca_heard_of_it_keeps_the_old_key(shop: Workshop) -> None:
    before = ensure(shop)
    shop.layout.next_account_key(shop.ca.key).write_bytes(keys.to_pem(keys.make_key("ec256")))
    assert ensure(shop) == before
    assert not shop.layout.next_account_key(shop.ca.key).exists()


def test_kill_after_the_ca_heard_of_it_finds_the_new_key(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ensure(shop)

    class Killed(BaseException):
        """As a kill: nothing of the process runs after it."""

    def die(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(account_module.Accounts, "_put_next_key", die)
        with pytest.raises(Killed):
            roll_over(shop)
    assert shop.layout.next_account_key(shop.ca.key).exists()
    assert url_at_ca(shop, before.key) is None
    after = ensure(shop)
    assert after == replace(before, key=after.key)
    assert url_at_ca(shop, after.key) == before.url
    with shop.issuer() as issuer:
        assert issuer.issue(shop.request("a.test"))
    assert shop.pebble.accounts() == 1


def test_refused_change_leaves_the_old_key_in_place(shop: Workshop) -> None:
    before = ensure(shop)
    shop.pebble.stop()
    shop.pebble.start()  # it has forgotten the account
    with pytest.raises(OrderFailed):
        roll_over(shop)
    loaded = shop.accounts.load(shop.ca)
    assert loaded is not None
    assert loaded.key == before.key
    assert not shop.layout.next_account_key(shop.ca.key).exists()


def test_damaged_next_key_is_left_aside(shop: Workshop) -> None:
    before = ensure(shop)
    shop.layout.next_account_key(shop.ca.key).write_bytes(b"not a key")
    assert ensure(shop) == before


def test_ca_that_stays_silent_keeps_both_keys_until_it_answers(shop: Workshop) -> None:
    before = ensure(shop)
    waiting = keys.to_pem(keys.make_key("ec256"))
    shop.layout.next_account_key(shop.ca.key).write_bytes(waiting)
    with closing(shop.conversation()) as anonymous:
        shop.pebble.stop()
        with pytest.raises(OrderFailed):
            shop.accounts.ensure(shop.ca, anonymous, AGREED)
    assert shop.layout.next_account_key(shop.ca.key).read_bytes() == waiting
    loaded = shop.accounts.load(shop.ca)
    assert loaded is not None
    assert loaded.key == before.key


def test_without_an_account_there_is_no_key_to_change(shop: Workshop) -> None:
    with pytest.raises(LookupError, match="there is no account"):
        roll_over(shop)
