"""What a challenge type is to an order (RFC 8555 §8): one value that says how names are proven to the CA.

`http01` makes the first such value. Another type is another module that makes one; nothing that orders changes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from certstore.acme.dns_facts import Resolver
from certstore.model.renewal.failure import Failure
from certstore.model.renewal.preflight_facts import ProbeFacts
from certstore.net.lanes import Budget


@dataclass(frozen=True, slots=True)
class Proof:
    """What the CA has to find for one name (RFC 8555 §8.1)."""

    name: str
    token: str
    key_authorization: str


AddressProbe = Callable[[str, str, Budget], ProbeFacts]
"""Takes a name, one of its addresses and the time for it, and never raises."""


@dataclass(frozen=True, slots=True)
class ChallengeKind:
    """`type` is the name under which CAs offer it, and under which CAA records allow it (RFC 8657 §4).

    `publish` returns once the CA can find the proofs: at once for a file that workers read, and for a DNS record when
    it is visible. It raises OSError, OrderFailed or Interrupted. `withdraw` also takes proofs that were never
    published, and raises OSError. `self_check` looks for a proof as the CA will, and says what is wrong.

    `probing` publishes something harmless while it lasts, and gives a preflight the means to ask one address of a name
    for it.
    """

    type: str
    publish: Callable[[Sequence[Proof]], None]
    withdraw: Callable[[Iterable[Proof]], None]
    self_check: Callable[[Proof], Failure | None]
    probing: Callable[[Resolver], AbstractContextManager[AddressProbe]]
