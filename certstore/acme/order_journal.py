"""The journal of orders under way, so that a kill costs neither a certificate nor a second order.

One file per site, with mode 0600 as it holds the new private key. It is written before the CA is asked for anything and
removed when the certificate is in the store. Knows nothing of how orders are made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from certstore.acme.challenge_kind import Proof
from certstore.files.atomic import make_folder, replace_file
from certstore.model.certificate.x509_facts import CertificateFacts, read_pem
from certstore.model.layout import ORDERS, Layout

TOO_OLD = timedelta(hours=20)
"""CAs keep a finished order for days, and an unfinished one for hours to days; an older one is started again."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What to order; two equal requests may share an order. `names` stay in their order, with the host first."""

    site: str
    ca: str
    names: tuple[str, ...]
    key_type: str
    profile: str | None = None
    replaces: str | None = None
    reuses_key: bool = False

    def is_same_order(self, other: OrderRequest) -> bool:
        return replace(self, replaces=None) == replace(other, replaces=None)


@dataclass(frozen=True, slots=True)
class Part:
    """One certificate of the order: its key, its order's URL at the CA, and the chain once it has come."""

    key_type: str
    key_pem: bytes = field(repr=False)
    url: str | None = None
    fullchain: str | None = None


@dataclass(frozen=True, slots=True)
class OrderUnderWay:
    """The `published` proofs are in place now: the CA may look at them even while no process of ours runs."""

    request: OrderRequest
    begun_at: datetime
    parts: tuple[Part, ...]
    published: tuple[Proof, ...] = ()

    def is_young(self, now: datetime) -> bool:
        return timedelta() <= now - self.begun_at < TOO_OLD

    @property
    def begins(self) -> datetime | None:
        """When the last of the order's certificates begins to be valid, once all have come."""
        leaves = [_leaf_of(part.fullchain) for part in self.parts]
        times = [leaf.not_before for leaf in leaves if leaf is not None]
        return max(times) if times and len(times) == len(self.parts) else None

    def is_usable(self, now: datetime) -> bool:
        """Young enough to be known at the CA, or complete and not valid yet: by a clock that is behind, what the CA has
        issued begins later."""
        begins = self.begins
        return self.is_young(now) or (begins is not None and begins > now)

    def is_of(self, fingerprint: str | None) -> bool:
        """Whether this fingerprint is that of the first part's certificate, and all parts have come."""
        if fingerprint is None or not self.parts or any(part.fullchain is None for part in self.parts):
            return False
        leaf = _leaf_of(self.parts[0].fullchain)
        return leaf is not None and leaf.fingerprint == fingerprint

    def with_part(self, part: Part) -> OrderUnderWay:
        parts = tuple(part if each.key_type == part.key_type else each for each in self.parts)
        return replace(self, parts=parts)


def _leaf_of(chain: str | None) -> CertificateFacts | None:
    """None where it has not come or can't be read: importing it gives a better message."""
    if chain is None:
        return None
    try:
        return read_pem(chain.encode())[0]
    except (ValueError, IndexError):
        return None


class OrderJournal:
    """Methods that write raise OSError."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        make_folder(layout.orders, 0o700)

    def find(self, request: OrderRequest, now: datetime) -> OrderUnderWay | None:
        """The order that this request would repeat. One that is too old or for something else is removed."""
        order = self.load(request.site)
        if order is None:
            return None
        if order.request.is_same_order(request) and order.is_usable(now):
            return order
        self.remove(request.site)
        return None

    def load(self, site: str) -> OrderUnderWay | None:
        try:
            return decode_order(json.loads(self._layout.order(site).read_bytes()))
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return None

    def sites(self) -> Sequence[str]:
        """The sites with an unfinished order."""
        return sorted(path.stem for path in self._layout.orders.glob(ORDERS))

    def stale(self, live_fingerprint: Callable[[str], str | None], now: datetime) -> dict[str, OrderUnderWay | None]:
        """The orders that no attempt will resume, by site: damaged (None), too old, or live already.

        A kill between the import of the certificate and `remove` leaves the last kind, with its key. An order whose
        version is only archived is not stale.
        """
        orders = {site: self.load(site) for site in self.sites()}
        return {
            site: order
            for site, order in orders.items()
            if order is None or not order.is_usable(now) or order.is_of(live_fingerprint(site))
        }

    def published(self) -> frozenset[Proof]:
        """The proofs that a CA may still look at."""
        orders = [self.load(site) for site in self.sites()]
        return frozenset(proof for order in orders if order is not None for proof in order.published)

    def keep(self, order: OrderUnderWay) -> OrderUnderWay:
        content = json.dumps(encode_order(order)).encode()
        replace_file(self._layout.order(order.request.site), content, 0o600, self._layout.temporary)
        return order

    def remove(self, site: str) -> None:
        self._layout.order(site).unlink(missing_ok=True)


def encode_order(order: OrderUnderWay) -> dict[str, Any]:
    """As JSON, with the new private key."""
    request = order.request
    return {
        "site": request.site,
        "ca": request.ca,
        "names": request.names,
        "key_type": request.key_type,
        "profile": request.profile,
        "replaces": request.replaces,
        "reuses_key": request.reuses_key,
        "begun_at": order.begun_at.isoformat(),
        "parts": [[part.key_type, part.key_pem.decode(), part.url, part.fullchain] for part in order.parts],
        "published": [[proof.name, proof.token, proof.key_authorization, proof.type] for proof in order.published],
    }


def decode_order(facts: Any) -> OrderUnderWay:
    """Raises KeyError, TypeError, ValueError."""
    request = OrderRequest(
        facts["site"],
        facts["ca"],
        tuple(facts["names"]),
        facts["key_type"],
        facts["profile"],
        facts["replaces"],
        facts.get("reuses_key", False),
    )
    parts = tuple(Part(key_type, pem.encode(), url, fullchain) for key_type, pem, url, fullchain in facts["parts"])
    published = tuple(Proof(*each) for each in facts.get("published", ()))
    return OrderUnderWay(request, datetime.fromisoformat(facts["begun_at"]), parts, published)
