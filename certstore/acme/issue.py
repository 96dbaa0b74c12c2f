"""One order (RFC 8555 §7.4), from the request to key and chain; interrupted at any point, it is picked up again.

Talks to the CA in the order that the CA's answers dictate, shows tokens while they are needed, and keeps the journal.
Decides neither whether to order nor with which names, and does not store the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import requests
from acme import challenges as acme_challenges
from acme import messages
from josepy.json_util import field as json_field

from certstore.acme import keys
from certstore.acme.account import Account
from certstore.acme.chains import alternate_links, select_chain
from certstore.acme.challenges import Challenges, SelfCheck
from certstore.acme.network import Conversation, OrderFailed, read_retry_after, to_problem, told
from certstore.acme.order_journal import OrderJournal, OrderRequest, OrderUnderWay, Part
from certstore.files.clock import utc_now
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import FULLCHAIN, FULLCHAIN_RSA, PRIVKEY, PRIVKEY_RSA
from certstore.model.renewal.acme_problems import read_problem
from certstore.model.renewal.failure import Cause, Failure

PATIENCE = timedelta(minutes=5)
"""For the CA's part of one step; what takes longer is picked up at the next attempt."""
GRACE = timedelta(seconds=15)
_FIRST_PAUSE, _LONGEST_PAUSE, _PAUSE_GROWTH = 0.2, 5.0, 1.6
_WORTH_PICKING_UP = frozenset({Cause.CA_UNREACHABLE, Cause.CA_ERROR, Cause.RATE_LIMITED, Cause.OWN_LISTENER})


class Interrupted(Exception):
    """The process is being stopped; the journal knows how far the order came."""


class OrderDead(OrderFailed):
    """The CA had given the order up before anything was done for it now."""


class NewOrder(messages.NewOrder):
    """With the field of RFC 9773 §5."""

    replaces: str | None = json_field("replaces", omitempty=True)


@dataclass(frozen=True, slots=True)
class OrderContext:
    """What an order needs besides the CA. `wait` returns True when the process is to stop; `tell` is for a person who
    watches; `note_order` and `note_failed` are for counting the CA's limits."""

    journal: OrderJournal
    challenges: Challenges
    look: SelfCheck
    wait: Callable[[float], bool]
    tell: Callable[[str], None] = lambda message: None
    note_order: Callable[[], None] = lambda: None
    note_failed: Callable[[str], None] = lambda name: None
    clock: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep


class Issuer:
    """Orders at one CA in the name of one account. One thread, one order at a time."""

    def __init__(
        self, conversation: Conversation, account: Account, context: OrderContext, preferred_chain: str | None = None
    ) -> None:
        self._ca = conversation
        self._account = account
        self._context = context
        self._preferred_chain = preferred_chain

    def issue(self, request: OrderRequest) -> list[DroppedFile]:
        """The files of the new version; the journal is left for the caller to remove once they are taken in.

        Raises OrderFailed, Interrupted, OSError.
        """
        journal = self._context.journal
        left = journal.load(request.site)
        # The CA may be looking at an interrupted order's tokens at this moment: they stay until it is settled.
        with self._context.challenges.hidden_after(left.tokens if left is not None else ()):
            return self._issued(request, journal.find(request, self._context.clock()))

    def _issued(self, request: OrderRequest, known: OrderUnderWay | None) -> list[DroppedFile]:
        journal = self._context.journal
        if known is not None:
            self._context.tell("an order that was interrupted is picked up")
            try:
                return self._complete(known)
            except OrderDead:
                journal.remove(request.site)
            except OrderFailed as failed:
                if failed.failure.names or failed.failure.cause in (Cause.CA_UNREACHABLE, Cause.RATE_LIMITED):
                    self._give_up(request, failed.failure)
                    raise
                # The CA does not know it, or it is none any more: begun anew, once.
                journal.remove(request.site)
        parts = tuple(Part(part, keys.to_pem(keys.make_key(part))) for part in _parts(request))
        order = journal.keep(OrderUnderWay(request, self._context.clock(), parts))
        try:
            return self._complete(order)
        except OrderFailed as failed:
            self._give_up(request, failed.failure)
            raise

    def _give_up(self, request: OrderRequest, failure: Failure) -> None:
        if failure.cause not in _WORTH_PICKING_UP:
            self._context.journal.remove(request.site)

    def _complete(self, order: OrderUnderWay) -> list[DroppedFile]:
        files = []
        for position, part in enumerate(order.parts):
            if part.fullchain is None:
                order, part = self._finish(order, part, is_first=position == 0)
            assert part.fullchain is not None, "a finished part has its chain"  # noqa: S101
            names = (PRIVKEY, FULLCHAIN) if position == 0 else (PRIVKEY_RSA, FULLCHAIN_RSA)
            files += [DroppedFile(names[0], part.key_pem), DroppedFile(names[1], part.fullchain.encode())]
        return files

    def _finish(self, order: OrderUnderWay, part: Part, *, is_first: bool) -> tuple[OrderUnderWay, Part]:
        """One certificate: its order is made if it is not there yet, and followed to its end."""
        request = order.request
        if part.url is None:
            part = replace(part, url=self._open(request, replaces=request.replaces if is_first else None))
            order = self._context.journal.keep(order.with_part(part))
        assert part.url is not None, "an opened order has its URL"  # noqa: S101
        part = replace(part, fullchain=self._follow(part.url, order, part))
        return self._context.journal.keep(replace(order.with_part(part), tokens=())), part

    def _open(self, request: OrderRequest, *, replaces: str | None) -> str:
        """A new order at the CA; its URL."""
        if replaces is not None and not self._ca.has("renewalInfo"):
            replaces = None
        body = NewOrder(
            identifiers=[messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name) for name in request.names],
            profile=self._profile(request.profile),
            replaces=replaces,
        )
        self._context.tell(f"ordering {', '.join(request.names)}")
        self._context.note_order()
        try:
            response = self._ca.post(self._ca.directory["newOrder"], body, names=request.names)
        except OrderFailed:
            refusal = self._ca.network.last_response
            if (
                replaces is None
                or refusal is None
                or not 400 <= refusal.status_code < 500
                or refusal.status_code == 429
            ):
                raise
            # Replaced already (409), or a certificate that this account may not replace: RFC 9773 §5.
            return self._open(request, replaces=None)
        url = response.headers.get("Location")
        if not url:
            raise OrderFailed(Failure(Cause.CA_ERROR, "the CA took the order and did not say where it is"))
        return url

    def _profile(self, profile: str | None) -> str | None:
        offered = self._ca.meta.profiles
        if profile is None or not offered:
            return None
        if profile not in offered:
            detail = f"the CA does not offer the profile {profile}; it offers {', '.join(sorted(offered))}"
            raise OrderFailed(Failure(Cause.SETTINGS, detail))
        return profile

    def _follow(self, url: str, under_way: OrderUnderWay, part: Part) -> str:
        """Do what the order's status asks for until there is a chain (RFC 8555 §7.1.6)."""
        request = under_way.request
        pauses = _Pauses(self._context, "the CA is busy with the order")
        is_proven = is_touched = False
        while True:
            order = self._order(url, request)
            response = self._ca.network.last_response
            if order.status == messages.STATUS_VALID and order.certificate:
                return self._download(order.certificate)
            if order.status == messages.STATUS_INVALID:
                failure = _order_failure(order, request.names)
                raise OrderFailed(failure) if is_touched else OrderDead(failure)
            if order.status == messages.STATUS_PENDING and not is_proven:
                self._prove(order, under_way)
                is_proven = is_touched = True
                continue
            if order.status == messages.STATUS_READY:
                self._finalize(url, order, request, part)
                is_touched = True
            pauses.take(response)

    def _order(self, url: str, request: OrderRequest) -> messages.Order:
        response = self._ca.fetch(url, names=request.names)
        with told(self._ca.network):
            facts = response.json()
            _need(facts, "status", "authorizations", "finalize")
            order: messages.Order = messages.Order.from_json(facts)
        return order

    def _finalize(self, url: str, order: messages.Order, request: OrderRequest, part: Part) -> None:
        self._context.tell(f"all names are proven; the {part.key_type} certificate is requested")
        csr = keys.make_csr(keys.from_pem(part.key_pem), request.names)
        try:
            self._ca.post(order.finalize, messages.CertificateRequest(csr=csr), names=request.names)
        except OrderFailed:
            # As in `_answer`: for the same key, as it is the journal's.
            if self._order(url, request).status not in (messages.STATUS_PROCESSING, messages.STATUS_VALID):
                raise

    def _prove(self, order: messages.Order, under_way: OrderUnderWay) -> None:
        """Show all tokens, look at them ourselves, tell the CA, and wait for its verdict on each name."""
        open_ones = []
        for url in order.authorizations:
            authorization = self._authorization(url)
            if authorization.status == messages.STATUS_PENDING:
                open_ones.append((url, authorization.identifier.value, self._http01(authorization)))
            elif authorization.status != messages.STATUS_VALID:
                raise OrderDead(_authorization_failure(authorization))
        shown = [(str(body.chall.encode("token")), self._key_authorization(body)) for _, _, body in open_ones]
        self._context.journal.keep(replace(under_way, tokens=tuple(token for token, _ in shown)))
        # Those that a killed process showed stay on, to the end of the order: a CA that was asked twice may look twice.
        with self._context.challenges.shown(shown, kept=under_way.tokens):
            for (url, name, body), (token, key_authorization) in zip(open_ones, shown, strict=True):
                self._context.tell(f"{name}: the token is looked at through our own port 80")
                if (failure := self._context.look(name, token, key_authorization)) is not None:
                    raise OrderFailed(failure)
                self._answer(url, name, body)
            self._wait_for_verdicts([(url, name) for url, name, _ in open_ones])

    def _answer(self, url: str, name: str, body: messages.ChallengeBody) -> None:
        """Tell the CA to look, unless it was told before an interruption."""
        if body.status == messages.STATUS_PROCESSING:
            return
        try:
            self._ca.post(body.uri, body.chall.response(self._account.key), names=(name,))
        except OrderFailed:
            # A killed process's own request may have come a moment earlier: then what counts is the verdict.
            now = self._authorization(url)
            if now.status == messages.STATUS_PENDING and self._http01(now).status == messages.STATUS_PENDING:
                raise

    def _wait_for_verdicts(self, waiting: list[tuple[str, str]]) -> None:
        """Every name's verdict is heard, so that all that fail are known at once."""
        failures = []
        # The CA is looking: a token taken away now would count as a failed validation.
        pauses = _Pauses(self._context, "the CA looks at the names", grace=GRACE)
        while waiting:
            response: requests.Response | None = None
            still = []
            for url, name in waiting:
                authorization = self._authorization(url)
                response = self._ca.network.last_response
                if authorization.status in (messages.STATUS_PENDING, messages.STATUS_PROCESSING):
                    still.append((url, name))
                elif authorization.status == messages.STATUS_VALID:
                    self._context.tell(f"{name}: the CA is satisfied")
                else:
                    self._context.tell(f"{name}: the CA is not satisfied")
                    self._context.note_failed(name)
                    failures.append(_authorization_failure(authorization))
            waiting = still
            if waiting:
                pauses.take(response)
        if failures:
            raise OrderFailed(_merged(failures))

    def _authorization(self, url: str) -> messages.Authorization:
        response = self._ca.fetch(url)
        with told(self._ca.network):
            facts = response.json()
            _need(facts, "identifier", "status", "challenges")
            authorization: messages.Authorization = messages.Authorization.from_json(facts)
        return authorization

    def _http01(self, authorization: messages.Authorization) -> messages.ChallengeBody:
        name = authorization.identifier.value
        for body in authorization.challenges:
            if isinstance(body.chall, acme_challenges.HTTP01):
                if self._context.challenges.is_token(str(body.chall.encode("token"))):
                    return body
                raise OrderFailed(Failure(Cause.CA_ERROR, f"the CA's token for {name} is none", (name,)))
        raise OrderFailed(Failure(Cause.REQUEST_REFUSED, f"the CA offers no http-01 challenge for {name}", (name,)))

    def _key_authorization(self, body: messages.ChallengeBody) -> str:
        key_authorization: str = body.chall.key_authorization(self._account.key)
        return key_authorization

    def _download(self, url: str) -> str:
        response = self._ca.fetch(url)
        chains = [response.text]
        if self._preferred_chain is not None:
            chains += [self._ca.fetch(link).text for link in alternate_links(response)]
        return select_chain(chains, self._preferred_chain)


def _need(facts: Any, *fields: str) -> None:
    """Raise ValueError where the library would go on with nothing in the place of what RFC 8555 requires."""
    if not isinstance(facts, dict) or any(facts.get(name) is None for name in fields):
        raise ValueError(f"it lacks one of {', '.join(fields)}")


class _Pauses:
    """Ever longer pauses, within what the CA asks for, up to the end of patience."""

    def __init__(self, context: OrderContext, what: str, *, grace: timedelta = timedelta()) -> None:
        """For the time of `grace` the wish to stop is not heard."""
        self._context = context
        self._what = what
        self._grace_ends = context.clock() + grace
        self._pause = _FIRST_PAUSE
        self._deadline = context.clock() + PATIENCE

    def take(self, response: requests.Response | None) -> None:
        now = self._context.clock()
        if now >= self._deadline:
            raise OrderFailed(Failure(Cause.CA_ERROR, f"{self._what} for more than {PATIENCE.seconds // 60} minutes"))
        wanted = read_retry_after(response)
        pause = self._pause if wanted is None else max(self._pause, min((wanted - now).total_seconds(), 60.0))
        self._pause = min(self._pause * _PAUSE_GROWTH, _LONGEST_PAUSE)
        if self._context.wait(pause):
            if now >= self._grace_ends:
                raise Interrupted
            self._context.sleep(min(pause, _LONGEST_PAUSE))


def _parts(request: OrderRequest) -> Sequence[str]:
    return tuple(request.key_type.split("+"))


def _authorization_failure(authorization: messages.Authorization) -> Failure:
    name = authorization.identifier.value
    for body in authorization.challenges:
        if body.error is not None:
            return replace(read_problem(to_problem(body.error), names=(name,)), names=(name,))
    status: Any = authorization.status
    return Failure(Cause.WRONG_ANSWER, f"{name}: its authorization is {status.name}", (name,))


def _order_failure(order: messages.Order, names: Sequence[str]) -> Failure:
    if order.error is None:
        return Failure(Cause.CA_ERROR, "the CA has given the order up and does not say why")
    return read_problem(to_problem(order.error), names=names)


def _merged(failures: Sequence[Failure]) -> Failure:
    """The first one leads; all names and all words are kept."""
    detail = "; ".join(
        each.detail if each.names and each.names[0] in each.detail else f"{', '.join(each.names)}: {each.detail}"
        for each in failures
    )
    return replace(
        failures[0], detail=detail, names=tuple(dict.fromkeys(name for each in failures for name in each.names))
    )
