"""Revokes a certificate at the CA that issued it (RFC 8555 §7.6).

Signed by the account that ordered it, or by the certificate's own key: for a compromised key that is what makes CAs
block the key too.
"""

from __future__ import annotations

from contextlib import closing, suppress

from acme import messages
from cryptography import x509

from certstore.acme.account import Account, load_key
from certstore.acme.network import Conversation, OrderFailed
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.revocation import RevocationReason

_REVOKED_ALREADY = "urn:ietf:params:acme:error:alreadyRevoked"


def revoke(
    anonymous: Conversation, account: Account | None, cert_pem: bytes, key_pem: bytes, reason: RevocationReason
) -> bool:
    """False where it was revoked before. Without an `account`, and for a key that is spent, its own key signs; it is
    also tried where the CA does not let the account revoke it. Raises OrderFailed."""
    if not anonymous.has("revokeCert"):
        raise OrderFailed(Failure(Cause.SETTINGS, "the CA offers no revocation"))
    body = messages.Revocation(certificate=x509.load_pem_x509_certificate(cert_pem), reason=reason.code)
    if account is not None and not reason.spends_key:
        try:
            return _post(account.sign_in(anonymous), body)
        except OrderFailed as failed:
            if failed.failure.cause in (Cause.CA_UNREACHABLE, Cause.RATE_LIMITED):
                raise
    return _post(anonymous.with_key(load_key(key_pem)), body)


def _post(own: Conversation, body: messages.Revocation) -> bool:
    with closing(own):
        try:
            own.post(own.directory["revokeCert"], body)
        except OrderFailed:
            if _problem_type(own) == _REVOKED_ALREADY:
                return False
            raise
    return True


def _problem_type(conversation: Conversation) -> str:
    response = conversation.network.last_response
    with suppress(ValueError, AttributeError):
        return str(response.json().get("type", "")) if response is not None else ""
    return ""
