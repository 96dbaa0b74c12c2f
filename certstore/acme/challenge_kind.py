"""What a challenge type is to an order (RFC 8555 §8): one value that says how names are proven to the CA.

`http01` and `tls_alpn01` make such values. Another type is another module that makes one, and its line in
`challenge_kinds`; nothing that orders changes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from certstore.acme.dns_facts import Resolver
from certstore.model.challenge import ChallengeType, is_token
from certstore.model.progress import Tell, tell_nobody
from certstore.model.renewal.failure import Failure
from certstore.model.renewal.preflight_facts import CannotProve, WayFacts
from certstore.model.renewal.standing_record import StandingAccount, StandingOffer
from certstore.net.lanes import Budget


@dataclass(frozen=True, slots=True)
class Proof:
    """What the CA has to find for one name (RFC 8555 §8.1). `name` is as ordered, with the `*.` of a wildcard."""

    name: str
    token: str
    key_authorization: str
    type: str = ChallengeType.HTTP_01


class Prover(Protocol):
    """The account, as a challenge type sees it."""

    @property
    def url(self) -> str: ...

    def key_authorization(self, token: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Publishing:
    """For a publication that takes a while: `wait` takes seconds and returns True when the process is to stop, which is
    when to raise Interrupted; `tell` is for a person who watches."""

    wait: Callable[[float], bool]
    tell: Tell = tell_nobody


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """What a preflight knows. `identities` are the CA's names in CAA records, `standing` is what it says about
    dns-persist-01; `account_url` and `account` are None before the account exists. `may_write` lets a check change
    something at servers of others; an order that follows at once would find the same out."""

    resolver: Resolver
    identities: tuple[str, ...] = ()
    account_url: str | None = None
    standing: StandingOffer | None = None
    account: StandingAccount | None = None
    may_write: bool = True


WayProbe = Callable[[str, Sequence[str], Budget], WayFacts]
"""Takes a name, those of its addresses that are to be asked, and the time for it. Never raises."""


def can_prove(name: str) -> CannotProve | None:
    """For a type that is set up and can prove every name."""
    return None


def nothing_left(thumbprints: Collection[str], needed: Collection[Proof]) -> int:
    """For a type whose journal knows all that it published."""
    return 0


def read_token(name: str, challenge: Mapping[str, Any], account: Prover) -> Proof:
    """The proof for a challenge with a token. Raises ValueError, which says what is wrong."""
    token = challenge.get("token")
    if not isinstance(token, str) or not is_token(token):
        raise ValueError(f"the CA sent a token for {name} that RFC 8555 does not allow")
    return Proof(name, token, account.key_authorization(token), str(challenge["type"]))


@dataclass(frozen=True, slots=True)
class ChallengeKind:
    """`type` is the name under which CAs offer it, and under which CAA records allow it (RFC 8657 §4).

    `publish` returns once the CA can find the proofs: at once for a file that workers read, and for a DNS record when
    it is visible. It raises OSError, OrderFailed or Interrupted; after OrderFailed, none of the proofs is used.
    `withdraw` also takes proofs that were never published, and raises OSError. `self_check` looks for a proof as the CA
    will, and says what is wrong.

    `cannot_prove` says why the type can't prove a name: by its nature, or as it is not set up. It asks no network.
    `probing` publishes something harmless while it lasts, and gives a preflight the means to check one name.
    `needs_addresses`: the CA connects to the name's addresses. `remove_stale` removes what a killed process left, by
    the thumbprints of our accounts and the proofs that are still needed, and returns how much. `tidy` does after
    that what takes a while, at servers of others. `read` makes the proof of a challenge as the CA offers it; it raises
    ValueError.
    """

    type: str
    publish: Callable[[Sequence[Proof], Publishing], None]
    withdraw: Callable[[Iterable[Proof]], None]
    self_check: Callable[[Proof], Failure | None]
    probing: Callable[[ProbeContext], AbstractContextManager[WayProbe]]
    cannot_prove: Callable[[str], CannotProve | None] = can_prove
    needs_addresses: bool = True
    remove_stale: Callable[[Collection[str], Collection[Proof]], int] = nothing_left
    read: Callable[[str, Mapping[str, Any], Prover], Proof] = read_token
    tidy: Callable[[], None] = lambda: None


class ChallengeKinds:
    """All types that this edge knows, by their names."""

    def __init__(self, *kinds: ChallengeKind) -> None:
        self._kinds = {kind.type: kind for kind in kinds}

    def __iter__(self) -> Iterator[ChallengeKind]:
        return iter(self._kinds.values())

    def find(self, type_: str) -> ChallengeKind | None:
        return self._kinds.get(type_)

    def remove_stale(self, thumbprints: Collection[str], needed: Collection[Proof]) -> int:
        """Call it only while no order runs. Raises OSError."""
        return sum(kind.remove_stale(thumbprints, needed) for kind in self)

    def withdraw(self, proofs: Iterable[Proof]) -> None:
        """Each by its type. One type's failure does not keep the others' proofs in place. Raises OSError."""
        proofs, errors = tuple(proofs), []
        for kind in self:
            own = [proof for proof in proofs if proof.type == kind.type]
            try:
                if own:
                    kind.withdraw(own)
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]
