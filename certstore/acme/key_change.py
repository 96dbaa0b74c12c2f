"""The change of an account's key at the CA (RFC 8555 §7.3.5), and the question whose account a key is.

Stores nothing.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

from acme import messages
from josepy.b64 import b64encode
from josepy.interfaces import JSONDeSerializable
from josepy.jwk import JWK

from certstore.acme.network import Conversation, OrderFailed, signature_algorithm
from certstore.model.renewal.failure import Cause

_UNKNOWN = "urn:ietf:params:acme:error:accountDoesNotExist"


class _KeyChange(JSONDeSerializable):
    """A JWS in the place of a payload: signed by the new key, it holds the old one."""

    def __init__(self, inner: dict[str, Any]) -> None:
        self._inner = inner

    def to_partial_json(self) -> dict[str, Any]:
        return self._inner

    @classmethod
    def from_json(cls, jobj: Any) -> _KeyChange:
        return cls(jobj)


def change_key(own: Conversation, old: JWK, new: JWK, url: str) -> None:
    """`own` signs with the old key, in the name of the account at `url`; it is closed. Raises OrderFailed."""
    address = str(own.directory["keyChange"])
    payload = json.dumps({"account": url, "oldKey": old.public_key().to_json()}).encode()
    header = {"alg": signature_algorithm(new).name, "jwk": new.public_key().to_json(), "url": address}
    protected = b64encode(json.dumps(header).encode())
    signed = protected + b"." + b64encode(payload)
    signature = signature_algorithm(new).sign(new.key, signed)
    inner = {
        "protected": protected.decode(),
        "payload": b64encode(payload).decode(),
        "signature": b64encode(signature).decode(),
    }
    with closing(own):
        own.post(address, _KeyChange(inner))


def known_url(own: Conversation) -> str | None:
    """The URL of the account that has the key of this conversation, which is closed; None where the CA knows none.

    Raises OrderFailed.
    """
    with closing(own):
        try:
            body = messages.NewRegistration.from_data(only_return_existing=True)
            return own.post(own.directory["newAccount"], body).headers.get("Location")
        except OrderFailed as failed:
            response = own.network.last_response
            if failed.failure.cause is Cause.ACCOUNT or (response is not None and _UNKNOWN in response.text[:2000]):
                return None
            raise
