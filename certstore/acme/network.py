"""A conversation with one CA: requests signed with the account's key, nonces, and every error as a `Failure`.

The `acme` library signs and parses. This adds what it leaves to its users: nonces that are refused repeatedly,
Retry-After, problem documents of a 409, and one exception for everything that can go wrong. Use it from one thread at a
time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from acme import client, errors, messages
from josepy.errors import Error as JoseError
from josepy.interfaces import JSONDeSerializable
from josepy.jwa import ES256, ES384, ES512, RS256, JWASignature
from josepy.jwk import JWK, JWKEC

from certstore.files.clock import utc_now
from certstore.model.renewal.acme_problems import Problem, read_problem
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.standing_record import StandingOffer, read_offer
from certstore.net.bounded_http import bounded, reason_of

logger = logging.getLogger(__name__)
# The library logs whole requests at debug level, but contact addresses and tokens do not belong in a log.
logging.getLogger("acme").setLevel(logging.INFO)

USER_AGENT = "certedge"
TIMEOUT_SECONDS = 30
_NEEDED = ("newNonce", "newAccount", "newOrder")
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_NONCE_TRIES = 25
"""Pebble refuses one good nonce in twenty by default, and nearly all if so configured; a real CA refuses none."""


class OrderFailed(Exception):
    """Something failed at the CA or on the way to it; `failure` says what."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class Network(client.ClientNetwork):
    """The library's network, which here remembers its last answer, bounds every answer, and retries refused nonces."""

    last_response: requests.Response | None = None
    clock_error: timedelta = timedelta()
    """How far the CA's clock was ahead of ours at the last answer, less what the way of the answer explains."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bounded(self.session)

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        self.last_response = None
        sent = utc_now()
        self.last_response = super()._send_request(method, url, *args, **kwargs)
        self.clock_error = read_clock_error(self.last_response, sent, utc_now())
        return self.last_response

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(_NONCE_TRIES):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)


def _read_standing(network: Network) -> StandingOffer | None:
    response = network.last_response
    meta = response.json().get("meta") if response is not None else None
    return read_offer(meta) if isinstance(meta, dict) else None


class Conversation:
    """A CA's directory, and requests to what it names. Raises OrderFailed from every method."""

    def __init__(self, network: Network, directory: messages.Directory, standing: StandingOffer | None = None) -> None:
        """`standing` is what the directory says about dns-persist-01, which the library does not know."""
        self.network = network
        self.directory = directory
        self.standing = standing

    @classmethod
    def begin(cls, url: str, *, ca_file: Path | None = None, key: JWK | None = None) -> Conversation:
        """Fetch the directory. Without a `key`, only requests that need no account are possible."""
        network = Network(key, alg=signature_algorithm(key), user_agent=USER_AGENT, timeout=TIMEOUT_SECONDS)
        if ca_file is not None:
            # requests accepts a path here; the library's annotation knows only a bool.
            network.verify_ssl = cast(bool, str(ca_file))
        try:
            with translated_errors(network):
                directory = client.ClientV2.get_directory(url, network)
                for resource in _NEEDED:
                    directory[resource]
                standing = _read_standing(network)
        except OrderFailed:
            network.session.close()
            raise
        return cls(network, directory, standing)

    def with_key(self, key: JWK) -> Conversation:
        """Another conversation with the same CA, in the name of an account and over separate connections."""
        network = Network(key, alg=signature_algorithm(key), user_agent=USER_AGENT, timeout=TIMEOUT_SECONDS)
        network.verify_ssl = self.network.verify_ssl
        return Conversation(network, self.directory, self.standing)

    @property
    def meta(self) -> messages.Directory.Meta:
        meta: messages.Directory.Meta = self.directory["meta"]
        return meta

    def has(self, resource: str) -> bool:
        try:
            return bool(self.directory[resource])
        except KeyError:
            return False

    def post(self, url: str, body: JSONDeSerializable | None, *, names: Sequence[str] = ()) -> requests.Response:
        """A signed POST; `body` None makes it a POST-as-GET. A refusal would be about `names`."""
        with translated_errors(self.network, names=names):
            # The library annotates the body as required, and sends an empty one for None, as RFC 8555 §6.3 asks.
            return self.network.post(url, cast(JSONDeSerializable, body), new_nonce_url=self.directory["newNonce"])

    def fetch(self, url: str, *, names: Sequence[str] = ()) -> requests.Response:
        return self.post(url, None, names=names)

    def get(self, url: str) -> requests.Response:
        """Without an account."""
        with translated_errors(self.network):
            return self.network.get(url)

    def close(self) -> None:
        self.network.session.close()


_ODD = (
    errors.Error,
    JoseError,
    OSError,  # of which requests' exceptions are; a bare one is a file of authorities that can't be read
    # What the library raises where JSON has an unexpected shape, or is nested too deeply.
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


@contextmanager
def translated_errors(network: Network, *, names: Sequence[str] = ()) -> Iterator[None]:
    """Turn everything that the library, the network or a CA's odd answer raises into OrderFailed."""
    try:
        yield
    except _ODD as error:
        raise OrderFailed(_failure(error, network, names)) from error


def require_fields(facts: Any, *fields: str) -> None:
    """Raise ValueError where the library would go on with nothing in the place of what RFC 8555 requires."""
    if not isinstance(facts, dict) or any(facts.get(name) is None for name in fields):
        raise ValueError(f"it lacks one of {', '.join(fields)}")


def _failure(error: Exception, network: Network, names: Sequence[str]) -> Failure:
    response = network.last_response
    retry_after = read_retry_after(response)
    if isinstance(error, messages.Error):
        status = response.status_code if response is not None else None
        return read_problem(to_problem(error, status), retry_after=retry_after, names=names)
    if isinstance(error, OSError) and response is None:
        return Failure(Cause.CA_UNREACHABLE, _reason(error), retry_after=retry_after)
    if response is not None and not response.ok:
        return read_problem(_body_problem(response), retry_after=retry_after, names=names)
    return Failure(
        Cause.CA_ERROR, f"the CA sent an answer that makes no sense ({_short(error)})", retry_after=retry_after
    )


def to_problem(error: messages.Error, status: int | None = None) -> Problem:
    """Convert the library's problem document to ours."""
    return Problem(
        str(error.typ),
        next((each for each in (error.detail, error.title) if each and isinstance(each, str)), ""),
        error.identifier.value if error.identifier is not None else None,
        status,
        tuple(to_problem(each) for each in error.subproblems or ()),
    )


def _body_problem(response: requests.Response) -> Problem:
    """For answers whose document the library leaves out: a 409, or an error page."""
    try:
        return to_problem(messages.Error.from_json(response.json()), response.status_code)
    except _ODD:
        detail = f"the CA answered {response.status_code} {response.reason}"
        return Problem("about:blank", detail, status=response.status_code)


def read_retry_after(response: requests.Response | None, now: Callable[[], datetime] | None = None) -> datetime | None:
    """RFC 9110 §10.2.3: seconds or a date. None where the header is missing or is neither."""
    text = response.headers.get("Retry-After") if response is not None else None
    if text is None:
        return None
    if _SECONDS.fullmatch(text.strip()):
        return (now() if now else utc_now()) + timedelta(seconds=min(int(text), 10**8))
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def read_clock_error(response: requests.Response, sent: datetime, received: datetime) -> timedelta:
    """How far the answer's `Date` lies outside of the time in which it was made, by our clock; positive where it is
    later. Zero where there is no date, or the answer came from a cache (RFC 9110 §6.6.1, RFC 9111 §5.1)."""
    try:
        date = parsedate_to_datetime(response.headers.get("Date", ""))
    except (ValueError, OverflowError):
        return timedelta()
    if date.tzinfo is None or "Age" in response.headers:
        return timedelta()
    if date > received:
        return date - received
    return min(date - sent + timedelta(seconds=1), timedelta())  # the date has no fractions


def signature_algorithm(key: JWK | None) -> JWASignature:
    """RFC 7518 §3.1, by the kind and size of the account's key."""
    if isinstance(key, JWKEC):
        return {256: ES256, 384: ES384, 521: ES512}[key.key.key_size]
    return RS256


def _reason(error: OSError) -> str:
    """The host, where it is known, and what is wrong."""
    reason, request = reason_of(error), getattr(error, "request", None)
    return f"{urlsplit(str(request.url)).netloc}: {reason}" if request is not None and request.url else reason


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:400] or type(error).__name__
