"""The one account at each CA: registered once for all sites, with its key kept and its contact up to date.

A contact is a courtesy of the CA's. One that it refuses is kept with its answer, and stops nothing.

The key is on disk before the CA sees it. After a kill in between, registering again with the same key finds the account
that was made. Decides nothing about orders.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from acme import messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.b64 import b64encode
from josepy.errors import Error as JoseError
from josepy.jwk import JWK, JWKEC, JWKRSA

from certstore.acme import keys
from certstore.acme.key_change import change_key, known_url
from certstore.acme.network import Conversation, OrderFailed
from certstore.files.atomic import make_folder, replace_file, sync_folder
from certstore.files.clock import utc_now
from certstore.model.layout import ACCOUNT_KEYS, Layout
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.text import written_text

logger = logging.getLogger(__name__)

_NO_ANSWER = frozenset({Cause.CA_UNREACHABLE, Cause.CA_ERROR, Cause.RATE_LIMITED})


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """What edge.yaml says about the account. `mac_key` is the CA's HMAC key in base64url, for external binding."""

    contact: tuple[str, ...] = ()
    agrees_to_terms: bool = False
    key_id: str | None = None
    mac_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """`url` is how the CA knows the account (RFC 8555 §7.1.2). `refused_contact` is the last one that the CA refused,
    with its words in `refusal`."""

    ca: Ca
    key: JWK = field(repr=False)
    url: str
    contact: tuple[str, ...]
    terms: str | None = None
    made_at: datetime | None = None
    refused_contact: tuple[str, ...] = ()
    refusal: str = ""

    def sign_in(self, conversation: Conversation) -> Conversation:
        """A conversation with the same CA in the account's name."""
        own = conversation.with_key(self.key)
        own.network.account = messages.RegistrationResource(body=messages.Registration(), uri=self.url)
        return own

    def key_authorization(self, token: str) -> str:
        """RFC 8555 §8.1."""
        return f"{token}.{_thumbprint(self.key)}"


class Accounts:
    """The accounts of a store. Only the store's writer may write them, from any of its threads: of the first orders at
    a new CA, one registers the account and the others wait for it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._one_at_a_time = threading.Lock()

    def load(self, ca: Ca) -> Account | None:
        """None if there is no account, or none that makes sense. Raises OSError for a file that can't be read."""
        folder = self._layout.account(ca.key)
        try:
            key = load_key(self._layout.account_key(ca.key).read_bytes())
            facts = json.loads(self._layout.account_facts(ca.key).read_bytes())
            made_at = datetime.fromisoformat(facts["made_at"]) if facts.get("made_at") else None
            return Account(
                ca,
                key,
                facts["url"],
                tuple(facts["contact"]),
                facts.get("terms"),
                made_at,
                tuple(facts.get("refused_contact", ())),
                str(facts.get("refusal", "")),
            )
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError):
            logger.warning("the account in %s is damaged; it is registered again with its key", folder)
            return None

    def ca_of(self, key: str) -> Ca | None:
        """The CA with this key, from its account; None where the store has none."""
        try:
            return Ca(str(json.loads(self._layout.account_facts(key).read_bytes())["directory"]), key)
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def thumbprints(self) -> set[str]:
        """Those of all account keys in the store (RFC 7638), in which our key authorizations end."""
        found = set()
        for path in self._layout.accounts.glob(ACCOUNT_KEYS):
            with suppress(OSError, ValueError):
                found.add(_thumbprint(load_key(path.read_bytes())))
        return found

    def ensure(
        self,
        ca: Ca,
        conversation: Conversation,
        settings: AccountSettings,
        *,
        before_new: Callable[[], None] = lambda: None,
        asks_again: bool = False,
    ) -> Account:
        """The account, registered or updated first where needed. `before_new` is called before a registration. With
        `asks_again`, a contact that the CA has refused is sent once more.

        Raises OrderFailed, OSError.
        """
        with self._one_at_a_time:
            account = self._settled(self.load(ca), conversation)
            if account is None:
                before_new()
                return self._register(ca, conversation, settings)
            wanted = set(settings.contact)
            if not wanted or wanted == set(account.contact):
                return self._without_refusal(account)
            if wanted == set(account.refused_contact) and not asks_again:
                return account
            try:
                return self._change_contact(account, conversation, settings)
            except OrderFailed as failed:
                if failed.failure.cause is Cause.ACCOUNT:
                    # A CA that was set up anew has lost its accounts.
                    before_new()
                    return self._register(ca, conversation, settings)
                return self._with_refusal(account, settings, failed.failure)

    def roll_over(self, ca: Ca, conversation: Conversation, *, before: Callable[[], None] = lambda: None) -> Account:
        """Give the account a new key (RFC 8555 §7.3.5), which is on disk before the CA sees it.

        `before` is called when no other thread can begin to use the account, and may raise. Raises OrderFailed,
        OSError, or LookupError where there is no account.
        """
        with self._one_at_a_time:
            before()
            account = self._settled(self.load(ca), conversation)
            if account is None:
                raise LookupError(f"there is no account at {ca.key}")
            if not conversation.has("keyChange"):
                raise OrderFailed(Failure(Cause.SETTINGS, "the CA does not let accounts change their keys"))
            pem = keys.to_pem(keys.make_key("ec256"))
            replace_file(self._layout.next_account_key(ca.key), pem, 0o600, self._layout.temporary)
            try:
                change_key(account.sign_in(conversation), account.key, load_key(pem), account.url)
            except OrderFailed as failed:
                if failed.failure.cause not in _NO_ANSWER:
                    self._layout.next_account_key(ca.key).unlink(missing_ok=True)
                raise
            self._put_next_key(ca)
            logger.info("the account at %s has a new key", ca.key)
            return replace(account, key=load_key(pem))

    def _settled(self, account: Account | None, conversation: Conversation) -> Account | None:
        """Where a change of its key was interrupted, the account with the key that the CA knows."""
        if account is None:
            return None
        path = self._layout.next_account_key(account.ca.key)
        try:
            key = load_key(path.read_bytes())
        except FileNotFoundError:
            return account
        except ValueError:
            path.unlink(missing_ok=True)
            return account
        if known_url(conversation.with_key(key)) == account.url:
            self._put_next_key(account.ca)
            logger.info("the account at %s has a new key: its change had been interrupted", account.ca.key)
            return replace(account, key=key)
        path.unlink(missing_ok=True)
        return account

    def _put_next_key(self, ca: Ca) -> None:
        self._layout.next_account_key(ca.key).replace(self._layout.account_key(ca.key))
        sync_folder(self._layout.account(ca.key))

    def _with_refusal(self, account: Account, settings: AccountSettings, failure: Failure) -> Account:
        """Orders go on with the contact that the CA has. What is no answer about the contact is tried again."""
        if failure.cause in _NO_ANSWER:
            return account
        logger.warning("%s: the CA refuses the contact: %s", account.ca.key, failure.detail)
        refused = replace(account, refused_contact=settings.contact, refusal=failure.detail)
        self._write_facts(refused)
        return refused

    def _without_refusal(self, account: Account) -> Account:
        if not account.refused_contact:
            return account
        account = replace(account, refused_contact=(), refusal="")
        self._write_facts(account)
        return account

    def register_again(self, unknown: Account, conversation: Conversation, settings: AccountSettings) -> Account:
        """For a CA that no longer knows this account. The key stays; another thread may have registered it already."""
        with self._one_at_a_time:
            known = self.load(unknown.ca)
            if known is not None and known.url != unknown.url:
                return known
            return self._register(unknown.ca, conversation, settings)

    def adopt(self, ca: Ca, key_pem: bytes, url: str, contact: tuple[str, ...]) -> None:
        """Take over an account that another program registered. Raises ValueError for a key that `load_key` refuses."""
        self._write_key(ca, key_pem)
        self._write_facts(Account(ca, load_key(key_pem), url, contact))

    def _register(self, ca: Ca, conversation: Conversation, settings: AccountSettings) -> Account:
        terms = conversation.meta.terms_of_service
        if terms and not settings.agrees_to_terms:
            detail = f"the CA's terms of service have not been agreed to: {terms}"
            raise OrderFailed(Failure(Cause.TERMS, detail, link=terms))
        key = self._key(ca)
        own = conversation.with_key(key)
        binding = _binding(own, key, settings)
        body = messages.NewRegistration.from_data(
            contact=tuple(f"mailto:{address}" for address in settings.contact),
            terms_of_service_agreed=True if terms else None,
            external_account_binding=binding,
        )
        try:
            response = own.post(conversation.directory["newAccount"], body)
        except OrderFailed as failed:
            if binding is not None and failed.failure.cause is Cause.ACCOUNT:
                # There is no account yet, so what the CA rejected are the key ID and the HMAC key.
                raise OrderFailed(replace(failed.failure, cause=Cause.EXTERNAL_ACCOUNT)) from failed
            if failed.failure.cause is Cause.SETTINGS and settings.contact:
                without = self._register(ca, conversation, replace(settings, contact=()))
                return self._with_refusal(without, settings, failed.failure)
            raise
        finally:
            own.close()
        url = response.headers.get("Location")
        if not url:
            raise OrderFailed(
                Failure(Cause.CA_ERROR, "the CA registered the account, but its answer lacks the account's URL")
            )
        account = Account(ca, key, url, settings.contact, terms, utc_now())
        self._write_facts(account)
        logger.info("registered the account at %s: %s", ca.key, url)
        return account

    def _change_contact(self, account: Account, conversation: Conversation, settings: AccountSettings) -> Account:
        own = account.sign_in(conversation)
        body = messages.UpdateRegistration.from_data(contact=tuple(f"mailto:{address}" for address in settings.contact))
        try:
            own.post(account.url, body)
        finally:
            own.close()
        changed = replace(account, contact=settings.contact, refused_contact=(), refusal="")
        self._write_facts(changed)
        return changed

    def _key(self, ca: Ca) -> JWK:
        """The kept key, or a new one that is on disk before the CA sees its public half."""
        try:
            return load_key(self._layout.account_key(ca.key).read_bytes())
        except FileNotFoundError:
            pem = keys.to_pem(keys.make_key("ec256"))
        except ValueError:
            path = self._layout.account_key(ca.key)
            detail = f"{path} holds no usable key; move it away to have a new account registered"
            raise OrderFailed(Failure(Cause.ACCOUNT, detail)) from None
        self._write_key(ca, pem)
        return load_key(pem)

    def _write_key(self, ca: Ca, pem: bytes) -> None:
        make_folder(self._layout.account(ca.key), 0o700)
        replace_file(self._layout.account_key(ca.key), pem, 0o600, self._layout.temporary)

    def _write_facts(self, account: Account) -> None:
        facts: dict[str, Any] = {
            "directory": account.ca.url,
            "url": account.url,
            "contact": list(account.contact),
            "terms": account.terms,
            "made_at": account.made_at.isoformat() if account.made_at else None,
        }
        if account.refused_contact:
            facts |= {"refused_contact": list(account.refused_contact), "refusal": account.refusal}
        content = json.dumps(facts, indent=1).encode() + b"\n"
        replace_file(self._layout.account_facts(account.ca.key), content, 0o600, self._layout.temporary)


def _thumbprint(key: JWK) -> str:
    """RFC 7638, in base64url."""
    encoded: bytes = b64encode(key.thumbprint())
    return encoded.decode("ascii")


def load_key(pem: bytes) -> JWK:
    """An account key of a kind that CAs accept. Raises ValueError."""
    key = serialization.load_pem_private_key(pem, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return JWKEC(key=key)
    if isinstance(key, rsa.RSAPrivateKey):
        return JWKRSA(key=key)
    raise ValueError("neither an EC nor an RSA key")


def read_mac_key(path: Path) -> str:
    """The CA's HMAC key from its file. Raises OrderFailed, which names the path and never the content."""
    try:
        return written_text(path.read_bytes()).strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not plain text"
        raise OrderFailed(
            Failure(Cause.SETTINGS, f"acme.external_account.hmac_key_file {path} can't be read: {reason}")
        ) from None


def _binding(conversation: Conversation, key: JWK, settings: AccountSettings) -> dict[str, Any] | None:
    """RFC 8555 §7.3.4."""
    if settings.key_id is None or settings.mac_key is None:
        if conversation.meta.external_account_required:
            raise OrderFailed(
                Failure(
                    Cause.EXTERNAL_ACCOUNT,
                    "the CA registers accounts only for its customers, with a key ID and an HMAC key",
                )
            )
        return None
    try:
        return messages.ExternalAccountBinding.from_data(
            key.public_key(), settings.key_id, settings.mac_key, conversation.directory
        )
    except (ValueError, JoseError):
        detail = "the HMAC key of acme.external_account is not in base64url, as CAs give it"
        raise OrderFailed(Failure(Cause.SETTINGS, detail)) from None
