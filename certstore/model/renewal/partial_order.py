"""Which of a site's names go into an order: a certificate with many names loses one of them rather than its life.

While the old certificate is safe, a bad name holds the whole order back and the administrator is told. When it is
endangered, one real order is made with every name (checks from inside may be wrong about what the CA sees), after that
without those that fail. The site's own host is never left out. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Urgency(StrEnum):
    """How the site's present certificate stands."""

    NONE = "none"
    SAFE = "safe"
    ENDANGERED = "endangered"


@dataclass(frozen=True, slots=True)
class OrderFor:
    """`is_trial` marks the one order with every name that an endangered certificate gets before names are left out."""

    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    is_trial: bool = False


@dataclass(frozen=True, slots=True)
class HoldBack:
    """No order: these names are at fault."""

    names: tuple[str, ...]


def select_names(
    names: Sequence[str],
    *,
    fatal: Collection[str],
    failed: Collection[str],
    urgency: Urgency,
    was_tried: bool,
) -> OrderFor | HoldBack:
    """`names` has the host first; `fatal` failed the preflight now, `failed` at the CA at the last attempt.

    `was_tried`: an order with every name was made since the certificate became endangered.
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
