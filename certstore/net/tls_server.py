"""How we are the server: the TLS context that our listeners serve on, and how a pair's files get into it.

The edge serves on these contexts and the store tries a certificate on them before it goes live, so both ask the same
library with the same settings. Knows no sites and no versions.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from certstore.model import layout as names

# Mozilla's "intermediate" list of 2025 without finite-field DHE, which only clients without TLS 1.2's GCM suites need.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

RECORD = 16 * 1024
"""Bytes of plaintext in the largest TLS record (RFC 8446 §5.1): the most that one read of a connection returns."""

MINIMUM_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_PLACES = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")


def server_context(minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLContext:
    """The context, still without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum_version
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1  # OpenSSL's two cost a tenth of a handshake; a client that needs more connects again
    return context


def load_version(context: ssl.SSLContext, folder: Path) -> None:
    """Load the pair or pairs of a version's folder. Raises OSError, of which ssl.SSLError is one kind."""
    load_pair(context, folder / names.FULLCHAIN, folder / names.PRIVKEY)
    if (folder / names.FULLCHAIN_RSA).exists():
        load_pair(context, folder / names.FULLCHAIN_RSA, folder / names.PRIVKEY_RSA)


def load_pair(context: ssl.SSLContext, fullchain: Path, privkey: Path) -> None:
    """Raises OSError, of which ssl.SSLError is one kind."""
    # With a password OpenSSL refuses an encrypted key; without one it would ask for it on the terminal and wait.
    context.load_cert_chain(fullchain, privkey, password="")


def words_of(error: OSError) -> str:
    """What the library or the system says, for people: `ca md too weak`, `permission denied`."""
    if isinstance(error, ssl.SSLError):
        # CPython has no name for every reason; its text ends in a place in its own source.
        return _PLACES.sub("", getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()
    return (error.strerror or type(error).__name__).lower()
