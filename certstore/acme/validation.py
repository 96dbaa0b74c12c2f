"""How the names of one order are proven to the CA (RFC 8555 §7.5), each by the first way that works from here.

A way that fails before the CA has been asked costs nothing: the next one that the CA offers for the name is taken, in
the same order. One that fails at the CA ends the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import requests
from acme import messages
from josepy.interfaces import JSONDeSerializable

from certstore.acme.account import Account
from certstore.acme.challenge_kind import ChallengeKind, Proof, Publishing
from certstore.acme.network import Conversation, OrderFailed, require_fields, to_problem, translated_errors
from certstore.acme.order_context import Interrupted, OrderContext, PollTimer
from certstore.acme.order_journal import OrderUnderWay
from certstore.model.renewal.acme_problems import read_problem
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.text import listed
from certstore.net.lanes import Budget, gather

GRACE = timedelta(seconds=15)
SELF_CHECK_SECONDS = 20.0
"""The CA is asked after that in any case."""
_OPEN = (messages.STATUS_PENDING, messages.STATUS_PROCESSING)


class OrderInvalid(OrderFailed):
    """The CA had given the order up before this process did anything for it."""


class _Ready(JSONDeSerializable):
    """`{}`: the CA may look (RFC 8555 §7.5.1). The library would send an empty mapping as no body at all."""

    def to_partial_json(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_json(cls, jobj: Any) -> _Ready:
        return cls()


@dataclass(frozen=True, slots=True)
class _Challenge:
    """One challenge of a pending authorization. `status` and `url` are the challenge's."""

    authorization_url: str
    url: str
    status: messages.Status
    proof: Proof
    kind: ChallengeKind


@dataclass(slots=True)
class _Name:
    """A name to prove, with its challenges in the order to try them. `failures` are those of the ones that failed."""

    name: str
    challenges: list[_Challenge]
    failures: list[Failure]

    def give_up(self, failure: Failure) -> None:
        """The present challenge can't be used."""
        self.failures.append(failure)
        del self.challenges[0]


class Validation:
    """For the orders of one account."""

    def __init__(self, conversation: Conversation, account: Account, context: OrderContext) -> None:
        self._ca = conversation
        self._account = account
        self._context = context

    def prove(self, authorization_urls: Sequence[str], order: OrderUnderWay) -> None:
        """Publish all proofs, check them from here, let the CA look, and wait for its verdict on each name.

        Raises OrderFailed, Interrupted, OSError.
        """
        names = []
        for url in authorization_urls:
            authorization = self._fetch(url)
            if authorization.status == messages.STATUS_PENDING:
                name = _name_of(authorization)
                names.append(_Name(name, self._offered(url, authorization), []))
            elif authorization.status != messages.STATUS_VALID:
                raise OrderInvalid(_failure_of(authorization))
        published: list[Proof] = []
        try:
            self._publish(names, order, published)
            # Only now may the CA look: a stop during a check withdraws the proofs.
            challenges = [each.challenges[0] for each in names]
            for challenge in challenges:
                self._answer(challenge)
            self._wait_for_verdicts(challenges)
        finally:
            # What a killed process published stays until the order ends: a CA that was asked twice may look twice.
            self._context.kinds.withdraw([proof for proof in published if proof not in order.published])

    def _publish(self, names: Sequence[_Name], order: OrderUnderWay, published: list[Proof]) -> None:
        """Publish a proof for each name and check it from here, by its next challenge where one fails.

        `published` takes every proof that may be in place. Raises OrderFailed where a name has no challenge left.
        """
        waiting = list(names)
        while waiting:
            published += [each.challenges[0].proof for each in waiting]
            kept = tuple(dict.fromkeys((*order.published, *published)))
            self._context.journal.keep(replace(order, published=kept))
            failed: list[_Name] = []
            by_kind = [
                (kind, [each for each in waiting if each.challenges[0].kind is kind]) for kind in self._context.kinds
            ]
            for kind, own in by_kind:
                failed += self._publish_by(kind, own) if own else []
            if exhausted := [each for each in failed if not each.challenges]:
                raise OrderFailed(_merged([_of_all_ways(each) for each in exhausted]))
            for each in failed:
                self._context.tell(f"{each.name}: trying {each.challenges[0].kind.type}")
            waiting = failed

    def _publish_by(self, kind: ChallengeKind, names: Sequence[_Name]) -> list[_Name]:
        """The names for which this type failed."""
        try:
            kind.publish(
                [each.challenges[0].proof for each in names], Publishing(self._context.wait, self._context.tell)
            )
        except OrderFailed as failed:
            for each in names:
                self._give_up(each, failed.failure)
            return list(names)
        failed_names = []
        for each in names:
            self._context.tell(f"{each.name}: self-check of the {kind.type} challenge")
            if (failure := self._check_from_here(each.challenges[0])) is not None:
                self._give_up(each, failure)
                failed_names.append(each)
        return failed_names

    def _give_up(self, name: _Name, failure: Failure) -> None:
        self._context.tell(f"{name.name}: {failure.detail}")
        name.give_up(failure)

    def _check_from_here(self, challenge: _Challenge) -> Failure | None:
        """Raises Interrupted while the check still runs."""
        looked = gather(
            challenge.kind.self_check,
            [challenge.proof],
            at_once=1,
            budget=Budget(SELF_CHECK_SECONDS),
            check=self._check_stop,
        )
        return next(looked)

    def _check_stop(self) -> None:
        if self._context.wait(0):
            raise Interrupted

    def _offered(self, authorization_url: str, authorization: messages.Authorization) -> list[_Challenge]:
        """The challenges of our ways, in our order; only the one that the CA is looking at, where there is one.

        Raises OrderFailed where the CA offers none.
        """
        name = _name_of(authorization)
        ways = self._context.ways.get(name, [kind.type for kind in self._context.kinds])
        found: dict[str, _Challenge] = {}
        for body in authorization.challenges:
            offered: dict[str, Any] = body.chall.to_json()  # the library knows some types only as their JSON
            kind = self._context.kinds.find(str(offered.get("type")))
            is_looked_at = body.status == messages.STATUS_PROCESSING
            if kind is None or kind.type in found or not (kind.type in ways or is_looked_at):
                continue
            try:
                proof = kind.read(name, offered, self._account)
            except ValueError as error:
                raise OrderFailed(Failure(Cause.CA_ERROR, str(error), (name,))) from None
            found[kind.type] = _Challenge(authorization_url, body.uri, body.status, proof, kind)
            if is_looked_at:
                return [found[kind.type]]
        if not found:
            offers = f"the CA offers no {listed(tuple(ways))} challenge for {name}"
            detail = offers if ways else f"{name} has no challenge type that may prove it"
            raise OrderFailed(Failure(Cause.REQUEST_REFUSED, detail, (name,)))
        return [found[way] for way in ways if way in found]

    def _answer(self, challenge: _Challenge) -> None:
        """Let the CA look, unless it was asked to before an interruption."""
        if challenge.status == messages.STATUS_PROCESSING:
            return
        try:
            self._ca.post(challenge.url, _Ready(), names=(challenge.proof.name,))
        except OrderFailed:
            # A killed process's own request may have come a moment earlier: then what counts is the verdict.
            now = self._fetch(challenge.authorization_url)
            states = [each.status for each in now.challenges if each.uri == challenge.url]
            if now.status == messages.STATUS_PENDING and states == [messages.STATUS_PENDING]:
                raise

    def _wait_for_verdicts(self, waiting: list[_Challenge]) -> None:
        """The verdict on every name is awaited, so that all that fail are known at once."""
        failures = []
        # The CA is looking: a proof withdrawn now would count as a failed validation.
        timer = PollTimer(self._context, "the CA has been checking the names", grace=GRACE)
        while waiting:
            response: requests.Response | None = None
            still_open = []
            for challenge in waiting:
                name, way = challenge.proof.name, challenge.kind.type
                authorization = self._fetch(challenge.authorization_url)
                response = self._ca.network.last_response
                if authorization.status in _OPEN:
                    still_open.append(challenge)
                elif authorization.status == messages.STATUS_VALID:
                    self._context.tell(f"{name}: the CA has validated it by {way}")
                    self._context.note_proven(name, way)
                else:
                    self._context.tell(f"{name}: the CA could not validate it by {way}")
                    self._context.note_failed(name, way)
                    failures.append(_failure_of(authorization))
            waiting = still_open
            if waiting:
                timer.wait(response)
        if failures:
            raise OrderFailed(_merged(failures))

    def _fetch(self, url: str) -> messages.Authorization:
        response = self._ca.fetch(url)
        with translated_errors(self._ca.network):
            facts = response.json()
            require_fields(facts, "identifier", "status", "challenges")
            authorization: messages.Authorization = messages.Authorization.from_json(facts)
        return authorization


def _name_of(authorization: messages.Authorization) -> str:
    """As it was ordered (RFC 8555 §7.1.3)."""
    name: str = authorization.identifier.value
    return f"*.{name}" if authorization.wildcard else name


def _of_all_ways(name: _Name) -> Failure:
    """The first way's failure, with what the others said."""
    failures = name.failures
    return replace(failures[0], detail="; ".join(dict.fromkeys(each.detail for each in failures)))


def _failure_of(authorization: messages.Authorization) -> Failure:
    name = _name_of(authorization)
    for body in authorization.challenges:
        if body.error is not None:
            return replace(read_problem(to_problem(body.error), names=(name,)), names=(name,))
    status: Any = authorization.status
    return Failure(Cause.WRONG_ANSWER, f"the CA's authorization for {name} is {status.name}, without a reason", (name,))


def _merged(failures: Sequence[Failure]) -> Failure:
    """The first one leads; all names and all texts are kept."""
    details = [
        each.detail if not each.names or each.names[0] in each.detail else f"{', '.join(each.names)}: {each.detail}"
        for each in failures
    ]
    return replace(
        failures[0],
        detail="; ".join(dict.fromkeys(details)),
        names=tuple(dict.fromkeys(name for each in failures for name in each.names)),
    )
