"""Puts certificates into the chain that a server sends after its leaf.

From the leaf upwards, each one has to have signed the one before. Roots are left out (RFC 8446 §4.4.2: clients have
their own), and so are certificates that do not belong. Decides neither about trust nor about validity.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from certstore.model.certificate.x509_facts import CertificateFacts, is_signed_by

_LENGTH_LIMIT = 8
_NAMESAKES_LIMIT = 16
"""Certificates of one name whose signatures are tried: hundreds of them would take seconds."""


@dataclass(frozen=True, slots=True)
class Chain:
    """`intermediates` in sending order. `reaches_root`: a self-signed certificate among the files ends the chain.

    `is_self_signed`: the leaf is its own root. `broken` is a certificate whose signature fails under the very key that
    it names as its issuer's, which means damaged bytes.
    """

    intermediates: tuple[CertificateFacts, ...]
    reaches_root: bool
    is_self_signed: bool = False
    broken: CertificateFacts | None = None

    @property
    def lacks_intermediate(self) -> bool:
        """Not even the certificate that signed the leaf is there."""
        return not (self.intermediates or self.reaches_root or self.is_self_signed)


def order_chain(leaf: CertificateFacts, others: Collection[CertificateFacts], now: datetime) -> Chain:
    """The chain of `leaf` out of `others`, which may be in any order."""
    chain: list[CertificateFacts] = []
    if leaf.is_self_issued:
        signed = is_signed_by(leaf, leaf)
        if signed:
            return Chain((), reaches_root=True, is_self_signed=True)
        if signed is False and _names_key_of(leaf, leaf):
            return Chain((), reaches_root=False, broken=leaf)
    current = leaf
    while len(chain) < _LENGTH_LIMIT:
        issuer, is_broken = _issuer(current, [each for each in others if each not in chain and each != leaf], now)
        if is_broken:
            return Chain(tuple(chain), reaches_root=False, broken=current)
        if issuer is None:
            return Chain(tuple(chain), reaches_root=False)
        if issuer.is_self_issued and is_signed_by(issuer, issuer) is not False:
            return Chain(tuple(chain), reaches_root=True)
        chain.append(issuer)
        current = issuer
    return Chain(tuple(chain), reaches_root=False)


def _issuer(
    child: CertificateFacts, others: list[CertificateFacts], now: datetime
) -> tuple[CertificateFacts | None, bool]:
    """The certificate that signed `child`, or None; and whether all that claim to have signed it did not.

    Of several (an authority's certificate was renewed or cross-signed), one that is valid now comes first, then one
    that goes on: a root ends the chain there, and clients that know only the older root need its cross-signed
    certificate. Then the one that comes first in the files.
    """
    named = [each for each in others if each.subject == child.issuer and _may_sign(child, each)]
    named.sort(key=lambda each: (not each.not_before <= now < each.not_after, each.is_self_issued))
    for each in named[:_NAMESAKES_LIMIT]:
        if is_signed_by(child, each) is not False:
            return each, False
    return None, any(_names_key_of(child, each) for each in named[:_NAMESAKES_LIMIT])


def _may_sign(child: CertificateFacts, issuer: CertificateFacts) -> bool:
    """Version 1 roots, which carry no extensions, still sign; everything else has to be a CA."""
    if not issuer.is_ca and not issuer.is_self_issued:
        return False
    if child.authority_key_id is None or issuer.subject_key_id is None:
        return True
    return child.authority_key_id == issuer.subject_key_id


def _names_key_of(child: CertificateFacts, issuer: CertificateFacts) -> bool:
    return child.authority_key_id is not None and child.authority_key_id == issuer.subject_key_id
