"""What clients will say to a chain: a TLS client's own verification, by the library, of exactly what would be sent.

Which roots a client trusts is not known here, so the last certificate of what is sent is trusted for the question; what
depends on the date is decided in `checks`. The answer is the library's first complaint, in its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from OpenSSL import crypto

from certstore.model.certificate.library import Unreadable, ask_library

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which pyOpenSSL does not name


@dataclass(frozen=True, slots=True)
class Complaint:
    """`position` is that of the certificate in what is sent, 0 for the leaf. `is_unloadable`: no server can send it."""

    position: int
    words: str
    is_unloadable: bool = False


def complaint_of_client(sent: Sequence[bytes]) -> Complaint | None:
    """`sent` is the leaf with its chain, without a root, in DER. None when a client accepts it."""
    loaded = []
    for position, der in enumerate(sent):
        try:
            loaded.append(ask_library(partial(crypto.load_certificate, crypto.FILETYPE_ASN1, der)))
        except Unreadable:
            return Complaint(position, "OpenSSL can't load it", is_unloadable=True)
    try:
        ask_library(lambda: _verify(*loaded))
    except Unreadable as error:
        cause = error.__cause__
        if isinstance(cause, crypto.X509StoreContextError):
            return Complaint(min(cause.errors[1], len(sent) - 1), str(cause))
        return Complaint(0, "it can't be verified")
    return None


def _verify(leaf: crypto.X509, *others: crypto.X509) -> None:
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | _NO_CHECK_TIME)
    store.add_cert(others[-1] if others else leaf)
    crypto.X509StoreContext(store, leaf, others).verify_certificate()
