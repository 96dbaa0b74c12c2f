"""How the names of one order are proven to the CA (RFC 8555 §7.5), by whichever challenge type the edge uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import requests
from acme import messages
from josepy.interfaces import JSONDeSerializable

from certstore.acme.account import Account
from certstore.acme.challenge_kind import Proof
from certstore.acme.network import Conversation, OrderFailed, require_fields, to_problem, translated_errors
from certstore.acme.order_context import Interrupted, OrderContext, PollTimer
from certstore.acme.order_journal import OrderUnderWay
from certstore.model.challenge import is_token
from certstore.model.renewal.acme_problems import read_problem
from certstore.model.renewal.failure import Cause, Failure
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
        kind, challenges = self._context.kind, []
        for url in authorization_urls:
            authorization = self._fetch(url)
            if authorization.status == messages.STATUS_PENDING:
                challenges.append(self._offered(url, authorization))
            elif authorization.status != messages.STATUS_VALID:
                raise OrderInvalid(_failure_of(authorization))
        proofs = tuple(challenge.proof for challenge in challenges)
        self._context.journal.keep(replace(order, published=proofs))
        try:
            kind.publish(proofs)
            for challenge in challenges:
                self._context.tell(f"{challenge.proof.name}: self-check of the {kind.type} challenge")
                self._check_from_here(challenge.proof)
            # Only now may the CA look: a stop during a check withdraws the proofs.
            for challenge in challenges:
                self._answer(challenge)
            self._wait_for_verdicts([(each.authorization_url, each.proof.name) for each in challenges])
        finally:
            # What a killed process published stays until the order ends: a CA that was asked twice may look twice.
            kind.withdraw([proof for proof in proofs if proof not in order.published])

    def _check_from_here(self, proof: Proof) -> None:
        """Raises OrderFailed, or Interrupted while the check still runs."""
        looked = gather(
            self._context.kind.self_check, [proof], at_once=1, budget=Budget(SELF_CHECK_SECONDS), check=self._check_stop
        )
        if (failure := next(looked)) is not None:
            raise OrderFailed(failure)

    def _check_stop(self) -> None:
        if self._context.wait(0):
            raise Interrupted

    def _offered(self, authorization_url: str, authorization: messages.Authorization) -> _Challenge:
        """The challenge of our kind. Raises OrderFailed where the CA offers none."""
        name, wanted = authorization.identifier.value, self._context.kind.type
        for body in authorization.challenges:
            offered: dict[str, Any] = body.chall.to_json()  # the library knows some types only as their JSON
            if offered.get("type") != wanted:
                continue
            token = offered.get("token")
            if not isinstance(token, str) or not is_token(token):
                detail = f"the CA sent a token for {name} that RFC 8555 does not allow"
                raise OrderFailed(Failure(Cause.CA_ERROR, detail, (name,)))
            proof = Proof(name, token, self._account.key_authorization(token))
            return _Challenge(authorization_url, body.uri, body.status, proof)
        raise OrderFailed(Failure(Cause.REQUEST_REFUSED, f"the CA offers no {wanted} challenge for {name}", (name,)))

    def _answer(self, challenge: _Challenge) -> None:
        """Let the CA look, unless it was asked to before an interruption."""
        if challenge.status == messages.STATUS_PROCESSING:
            return
        try:
            self._ca.post(challenge.url, _Ready(), names=(challenge.proof.name,))
        except OrderFailed:
            # A killed process's own request may have come a moment earlier: then what counts is the verdict.
            url = challenge.authorization_url
            now = self._fetch(url)
            if now.status == messages.STATUS_PENDING and self._offered(url, now).status == messages.STATUS_PENDING:
                raise

    def _wait_for_verdicts(self, waiting: list[tuple[str, str]]) -> None:
        """`waiting` holds the URLs of authorizations and their names. The verdict on every one of them is awaited, so
        that all names that fail are known at once."""
        failures = []
        # The CA is looking: a proof withdrawn now would count as a failed validation.
        timer = PollTimer(self._context, "the CA has been checking the names", grace=GRACE)
        while waiting:
            response: requests.Response | None = None
            still_open = []
            for url, name in waiting:
                authorization = self._fetch(url)
                response = self._ca.network.last_response
                if authorization.status in _OPEN:
                    still_open.append((url, name))
                elif authorization.status == messages.STATUS_VALID:
                    self._context.tell(f"{name}: the CA has validated it")
                else:
                    self._context.tell(f"{name}: the CA could not validate it")
                    self._context.note_failed(name)
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


def _failure_of(authorization: messages.Authorization) -> Failure:
    name = authorization.identifier.value
    for body in authorization.challenges:
        if body.error is not None:
            return replace(read_problem(to_problem(body.error), names=(name,)), names=(name,))
    status: Any = authorization.status
    return Failure(Cause.WRONG_ANSWER, f"the CA's authorization for {name} is {status.name}, without a reason", (name,))


def _merged(failures: Sequence[Failure]) -> Failure:
    """The first one leads; all names and all texts are kept."""
    detail = "; ".join(
        each.detail if each.names and each.names[0] in each.detail else f"{', '.join(each.names)}: {each.detail}"
        for each in failures
    )
    return replace(
        failures[0], detail=detail, names=tuple(dict.fromkeys(name for each in failures for name in each.names))
    )
