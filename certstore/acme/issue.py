"""One order (RFC 8555 §7.4), from the request to the key and the chain. Interrupted at any point, it can be resumed.

Takes the steps that the CA's answers call for, and keeps the journal. Decides neither whether to order nor for which
names, and does not store the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from acme import messages
from josepy.json_util import field as json_field

from certstore.acme import keys
from certstore.acme.account import Account
from certstore.acme.chains import alternate_links, select_chain
from certstore.acme.network import Conversation, OrderFailed, require_fields, to_problem, translated_errors
from certstore.acme.order_context import OrderContext, PollTimer
from certstore.acme.order_journal import OrderRequest, OrderUnderWay, Part
from certstore.acme.validation import OrderInvalid, Validation
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import FULLCHAIN, FULLCHAIN_RSA, PRIVKEY, PRIVKEY_RSA
from certstore.model.renewal.acme_problems import read_problem
from certstore.model.renewal.failure import Cause, Failure

_WORTH_RESUMING = frozenset(
    {Cause.CA_UNREACHABLE, Cause.CA_ERROR, Cause.RATE_LIMITED, Cause.OWN_LISTENER, Cause.DNS_PROVIDER, Cause.CLUSTER}
)
_SAYS_NOTHING_OF_THE_ORDER = frozenset({Cause.CA_UNREACHABLE, Cause.RATE_LIMITED, Cause.OWN_LISTENER, Cause.CLUSTER})


class NewOrder(messages.NewOrder):
    """With the field of RFC 9773 §5."""

    replaces: str | None = json_field("replaces", omitempty=True)


class Issuer:
    """Orders at one CA in the name of one account. One thread, one order at a time."""

    def __init__(
        self, conversation: Conversation, account: Account, context: OrderContext, preferred_chain: str | None = None
    ) -> None:
        self._ca = conversation
        self._context = context
        self._preferred_chain = preferred_chain
        self._validation = Validation(conversation, account, context)

    def issue(self, request: OrderRequest, kept_keys: Mapping[str, bytes] = MappingProxyType({})) -> list[DroppedFile]:
        """The files of the new version. The caller removes the order from the journal once they are in the store.

        `kept_keys` are PEM by the part of the key type that they serve; for the other parts new ones are made.

        Raises OrderFailed, Interrupted, OSError.
        """
        journal = self._context.journal
        left = journal.load(request.site)
        try:
            return self._issue(request, journal.find(request, self._context.clock()), kept_keys)
        finally:
            # The CA may be looking at an interrupted order's proofs while this runs: they stay until it is settled.
            self._context.kinds.withdraw(left.published if left is not None else ())

    def _issue(
        self, request: OrderRequest, known: OrderUnderWay | None, kept_keys: Mapping[str, bytes]
    ) -> list[DroppedFile]:
        journal = self._context.journal
        if known is not None:
            self._context.tell("resuming an interrupted order")
            try:
                return self._complete(known)
            except OrderInvalid:
                journal.remove(request.site)
            except OrderFailed as failed:
                if failed.failure.names or failed.failure.cause in _SAYS_NOTHING_OF_THE_ORDER:
                    self._drop_hopeless(request, failed.failure)
                    raise
                # The CA does not know the order, or can do nothing with it: begin again, once.
                journal.remove(request.site)
        parts = tuple(
            Part(part, kept_keys.get(part) or keys.to_pem(keys.make_key(part)))
            for part in keys.parts_of(request.key_type)
        )
        order = journal.keep(OrderUnderWay(request, self._context.clock(), parts))
        try:
            return self._complete(order)
        except OrderFailed as failed:
            self._drop_hopeless(request, failed.failure)
            raise

    def _drop_hopeless(self, request: OrderRequest, failure: Failure) -> None:
        if failure.cause not in _WORTH_RESUMING:
            self._context.journal.remove(request.site)

    def _complete(self, order: OrderUnderWay) -> list[DroppedFile]:
        files = []
        file_names = ((PRIVKEY, FULLCHAIN), (PRIVKEY_RSA, FULLCHAIN_RSA))
        for position, (part, (key_name, chain_name)) in enumerate(zip(order.parts, file_names, strict=False)):
            chain = part.fullchain
            if chain is None:
                order, chain = self._finish(order, part, replaces=order.request.replaces if position == 0 else None)
            files += [DroppedFile(key_name, part.key_pem), DroppedFile(chain_name, chain.encode())]
        return files

    def _finish(self, order: OrderUnderWay, part: Part, *, replaces: str | None) -> tuple[OrderUnderWay, str]:
        """One certificate: place its order unless that was done before, and follow it to its chain."""
        url = part.url
        if url is None:
            url = self._open(order.request, replaces=replaces)
            part = replace(part, url=url)
            order = self._context.journal.keep(order.with_part(part))
        chain = self._follow(url, order, part)
        order = replace(order.with_part(replace(part, fullchain=chain)), published=())
        return self._context.journal.keep(order), chain

    def _open(self, request: OrderRequest, *, replaces: str | None) -> str:
        """Place a new order at the CA; returns its URL."""
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
            raise OrderFailed(
                Failure(Cause.CA_ERROR, "the CA accepted the order, but its answer lacks the order's URL")
            )
        return url

    def _profile(self, profile: str | None) -> str | None:
        offered = self._ca.meta.profiles
        if profile is None or not offered:
            return None
        if profile not in offered:
            detail = f"the CA has no profile {profile}; it offers {', '.join(sorted(offered))}"
            raise OrderFailed(Failure(Cause.SETTINGS, detail))
        return profile

    def _follow(self, url: str, order: OrderUnderWay, part: Part) -> str:
        """Do what the order's status asks for until there is a chain (RFC 8555 §7.1.6)."""
        request = order.request
        timer = PollTimer(self._context, "the CA has been working on the order")
        is_proven = is_touched = False
        while True:
            state = self._fetch(url, request)
            response = self._ca.network.last_response
            if state.status == messages.STATUS_VALID and state.certificate:
                return self._download(state.certificate)
            if state.status == messages.STATUS_INVALID:
                failure = _failure_of(state, request.names)
                raise OrderFailed(failure) if is_touched else OrderInvalid(failure)
            if state.status == messages.STATUS_PENDING and not is_proven:
                self._validation.prove(state.authorizations, order)
                is_proven = is_touched = True
                continue
            if state.status == messages.STATUS_READY:
                self._finalize(url, state, request, part)
                is_touched = True
            timer.wait(response)

    def _fetch(self, url: str, request: OrderRequest) -> messages.Order:
        response = self._ca.fetch(url, names=request.names)
        with translated_errors(self._ca.network):
            facts = response.json()
            require_fields(facts, "status", "authorizations", "finalize")
            order: messages.Order = messages.Order.from_json(facts)
        return order

    def _finalize(self, url: str, order: messages.Order, request: OrderRequest, part: Part) -> None:
        self._context.tell(f"all names are proven; requesting the {part.key_type} certificate")
        csr = keys.make_csr(keys.from_pem(part.key_pem), request.names)
        try:
            self._ca.post(order.finalize, messages.CertificateRequest(csr=csr), names=request.names)
        except OrderFailed:
            # A killed process's own request may have come first. It was for the same key, which the journal keeps.
            if self._fetch(url, request).status not in (messages.STATUS_PROCESSING, messages.STATUS_VALID):
                raise

    def _download(self, url: str) -> str:
        response = self._ca.fetch(url)
        chains = [response.text]
        if self._preferred_chain is not None:
            chains += [self._ca.fetch(link).text for link in alternate_links(response)]
        return select_chain(chains, self._preferred_chain)


def _failure_of(order: messages.Order, names: Sequence[str]) -> Failure:
    if order.error is None:
        return Failure(Cause.CA_ERROR, "the CA declared the order invalid and gave no reason")
    return read_problem(to_problem(order.error), names=names)
