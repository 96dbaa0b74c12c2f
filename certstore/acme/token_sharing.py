"""Who besides this edge has to know a challenge's token: of several edges with a name's addresses, the CA asks any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from certstore.acme.challenge_kind import Proof


class TokenSharing(Protocol):
    """Thread-safe."""

    def share(self, proofs: Sequence[Proof]) -> None:
        """Return once every edge shows these proofs. Raises OrderFailed."""
        ...

    def recall(self, proofs: Iterable[Proof]) -> Sequence[Proof]:
        """This edge's orders don't need them any longer: those that nobody's do. Never raises."""
        ...


class OneEdge:
    """There is no other."""

    def share(self, proofs: Sequence[Proof]) -> None:
        """Workers read the file with the next request."""

    def recall(self, proofs: Iterable[Proof]) -> Sequence[Proof]:
        return tuple(proofs)
