"""Which of a site's names go into an order: rather than let a certificate expire, an order leaves out names that fail.

While the old certificate is safe, a bad name holds the whole order back and the administrator is warned. When it is
endangered, one real order is made with every name, as checks from inside may be wrong about what the CA sees; later
orders leave out the names that fail. The site's host is never left out. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Urgency(StrEnum):
    """How urgently the site needs a new certificate; `NONE`: it has none."""

    NONE = "none"
    SAFE = "safe"
    ENDANGERED = "endangered"


@dataclass(frozen=True, slots=True)
class OrderFor:
    """`is_trial` marks the one order with every name that comes before names are left out."""

    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    is_trial: bool = False


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Order nothing: these names are at fault."""

    names: tuple[str, ...]


def select_names(
    names: Sequence[str], *, fatal: Collection[str], failed: Collection[str], urgency: Urgency, was_tried: bool
) -> OrderFor | HoldBack:
    """`names` has the host first. `fatal` failed the preflight now, `failed` failed at the CA in earlier attempts.

    `was_tried`: an order with every name has been made since the certificate became endangered.
    """
    at_fault = tuple(name for name in names if name in fatal)
    if urgency is Urgency.SAFE:
        return HoldBack(at_fault) if at_fault else OrderFor(tuple(names))
    if urgency is Urgency.ENDANGERED and not was_tried:
        return OrderFor(tuple(names), is_trial=True)
    host = names[0]
    if host in fatal:
        return HoldBack(at_fault)
    left_out = tuple(name for name in names[1:] if name in fatal or name in failed)
    return OrderFor(tuple(name for name in names if name not in left_out), left_out)
