"""Which of the CA's chains to serve: the default one or an alternate (RFC 8555 §7.4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import requests
from requests.utils import parse_header_links

from certstore.model.certificate.x509_facts import read_pem
from certstore.model.certificate.x509_names import attribute_texts

_COMMON_NAME = "2.5.4.3"


def alternate_links(response: requests.Response) -> list[str]:
    """All of them; `response.links` keeps only one link per relation."""
    header = response.headers.get("Link")
    if not header:
        return []
    return [link["url"] for link in parse_header_links(header) if link.get("rel") == "alternate" and "url" in link]


def select_chain(chains: Sequence[str], preferred: str | None) -> str:
    """The first chain whose last certificate was issued by `preferred` (a common name), else the CA's default."""
    if preferred is not None:
        for chain in chains:
            if preferred in _issuers(chain):
                return chain
    return chains[0]


def _issuers(chain: str) -> list[str]:
    """The common names of the issuer of the chain's last certificate; empty for a chain that can't be read."""
    try:
        top = read_pem(chain.encode())[-1]
    except (ValueError, IndexError):
        return []
    return attribute_texts(top.fields.issuer, _COMMON_NAME)
