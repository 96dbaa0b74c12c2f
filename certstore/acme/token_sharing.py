"""Who besides this edge has to know a challenge's token: of several edges with a name's addresses, the CA asks any."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol


class TokenSharing(Protocol):
    """Thread-safe."""

    def share(self, tokens: Mapping[str, str]) -> None:
        """Return once every edge answers these tokens with their key authorizations. Raises OrderFailed."""
        ...

    def recall(self, tokens: Collection[str]) -> None:
        """Nobody has to know them any longer. Never raises."""
        ...


class OneEdge:
    """There is no other."""

    def share(self, tokens: Mapping[str, str]) -> None:
        """Workers read the file with the next request."""

    def recall(self, tokens: Collection[str]) -> None:
        """The file is gone."""
