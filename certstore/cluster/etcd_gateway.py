"""Requests to the JSON gateway of one etcd member: TLS, sign-in, deadlines, and what its errors mean.

Every request has a deadline for all of it and a bound on its answer. No proxy and no CA bundle of the environment plays
a part: only `cluster.ca_file` says who may speak for the engine. Knows neither keys nor leases.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID
from urllib3 import Timeout
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.exceptions import SSLError as TlsFailed
from urllib3.response import BaseHTTPResponse

from certstore.cluster.engine import Compacted, EngineFailed, EngineFull, EngineLost, EngineRefused, LeaseGone
from certstore.model.text import shown
from certstore.net.bounded_http import Deadline, FollowedConnection, FollowedPool, reason_of
from certstore.net.tls_client import verifying_context

ANSWER_BYTES = 64 << 20
CONNECT_SECONDS = 2.0
_SIGN_IN_SECONDS = 5.0  # bcrypt, on purpose slow, on a machine that may be busy
_SIGN_IN_BYTES = 65_536
FAILURES = (HTTPError, OSError, ValueError)
"""What urllib3 and the libraries below it raise."""
_MESSAGE_LIMIT = 200
# Codes of gRPC that the gateway hands on.
_INVALID, _NOT_FOUND, _DENIED, _PRECONDITION, _OUT_OF_RANGE, _NO_METHOD, _NO_TOKEN = 3, 5, 7, 9, 11, 12, 16
_COMMON_NAME = "CommonName of client"


class Unanswered(EngineLost):
    """The request may have gone out, and no usable answer came."""


class AnswerTooLong(EngineRefused):
    """Ask for less at a time."""


class _TokenForgotten(EngineRefused):
    pass


class _AccessOpen(EngineRefused):
    """The engine knows no users: its access control is off."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user of the engine's own authentication. The file is read at each sign-in."""

    username: str
    password_file: Path


def engine_context(ca_file: Path, client_cert: Path | None) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one) for files that can't be used."""
    context = verifying_context(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_cert is not None:
        # With a password a locked key is refused; without one OpenSSL would ask on the terminal and wait.
        context.load_cert_chain(client_cert, password="")
    return context


def has_common_name(client_cert: Path) -> bool:
    """Of the first certificate in the file. Raises OSError, and ValueError for a file without one."""
    certificate = x509.load_pem_x509_certificates(client_cert.read_bytes())[0]
    return bool(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


class Gateway:
    """Thread-safe. `endpoint` is https://host:port."""

    def __init__(self, endpoint: str, context: ssl.SSLContext, login: Login | None = None) -> None:
        parts = urlsplit(endpoint)
        self.endpoint = endpoint
        self._host, self._port = parts.hostname or "", parts.port or 2379
        self._context = context
        self._login = login
        self._token = ""
        self._signing_in = threading.Lock()
        self._under_way: set[Deadline] = set()
        self._pool = FollowedPool(self._host, self._port, maxsize=4, retries=False, ssl_context=context)

    def ask(self, path: str, body: Mapping[str, Any], seconds: float, most: int = ANSWER_BYTES) -> dict[str, Any]:
        """The answer's object. Raises what EngineFailed derives: `Unanswered` if the request may have been applied."""
        content = json.dumps(body).encode()

        def ask() -> dict[str, Any]:
            return understood(self.endpoint, *self._post(path, content, self.headers(), seconds, most))

        return self._signed_in(ask)

    def headers(self) -> dict[str, str]:
        """Of every request."""
        # Without hasleader, a member that is cut off from the others keeps a feed open and shows nothing on it.
        headers = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}
        return {**headers, "Authorization": self._token} if self._token else headers

    def connection(self) -> HTTPSConnection:
        """A connection outside the pool, for an answer without an end."""
        return FollowedConnection(self._host, self._port, timeout=CONNECT_SECONDS, ssl_context=self._context)

    def abandon(self) -> None:
        """End the requests that are under way: they raise Unanswered now rather than when their time is over."""
        for deadline in self._under_way.copy():
            deadline.end_now()

    def close(self) -> None:
        self._pool.close()

    def _signed_in[T](self, ask: Callable[[], T]) -> T:
        """Signs in if there is no token yet, and again if the engine has forgotten it.

        This never repeats a write: a request with an unknown token is refused before anything is done with it.
        """
        if self._login is None:
            return ask()
        try:
            token = self._token or self._sign_in(self._login, "")
        except _AccessOpen:
            # Nodes get their passwords before it is switched on. A token that was drawn before does no harm after.
            return ask()
        try:
            return ask()
        except _TokenForgotten:
            self._sign_in(self._login, token)
            return ask()

    def _sign_in(self, login: Login, forgotten: str) -> str:
        with self._signing_in:
            if self._token and self._token != forgotten:
                return self._token  # another thread was faster
            attempted = f"{self.endpoint}: sign in as {login.username}"
            try:
                password = login.password_file.read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                raise EngineRefused(f"{attempted}: cluster.password_file: {reason}") from None
            body = json.dumps({"name": login.username, "password": password}).encode()
            answer = self._post("/v3/auth/authenticate", body, {}, _SIGN_IN_SECONDS, _SIGN_IN_BYTES)
            token = understood(attempted, *answer).get("token")
            if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
                raise EngineRefused(f"{attempted}: there is no token in the answer")
            self._token = token
            return token

    def _post(
        self, path: str, content: bytes, headers: Mapping[str, str], seconds: float, most: int
    ) -> tuple[int, bytes]:
        with Deadline(seconds) as deadline:
            self._under_way.add(deadline)
            try:
                response = self._pool.urlopen(
                    "POST",
                    path,
                    content,
                    headers,
                    redirect=False,
                    timeout=Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds),
                    preload_content=False,
                    decode_content=False,
                )
                answer = _whole_body(response, most)
            except FAILURES as error:
                raise named_failure(self.endpoint, error, seconds, is_slow=deadline.is_over) from None
            finally:
                self._under_way.discard(deadline)
            if deadline.is_over:  # cut off, which an answer without a length does not show
                raise named_failure(self.endpoint, TimeoutError(), seconds, is_slow=True)
        if answer is None:
            raise AnswerTooLong(f"{self.endpoint}: the answer to {path} is longer than {most} bytes")
        return response.status, answer


def _whole_body(response: BaseHTTPResponse, most: int) -> bytes | None:
    """None if it is longer than `most`. The connection is kept only after a whole body."""
    answer = bytearray()
    try:
        # Only the read that finds nothing more notices a body that ended before its length.
        while piece := response.read(most + 1 - len(answer), decode_content=False):
            answer += piece
            if len(answer) > most:
                response.close()
                return None
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return bytes(answer)


def named_failure(endpoint: str, error: Exception, seconds: float, *, is_slow: bool) -> EngineLost:
    """Ours for one of the libraries' exceptions: `EngineLost` itself only if nothing was sent."""
    is_slow = is_slow or isinstance(error, TimeoutError)
    text = f"{endpoint}: " + (f"no whole answer within {seconds:g} s" if is_slow else reason_of(error))
    return EngineLost(text) if _is_unsent(error) else Unanswered(text)


def _is_unsent(error: BaseException) -> bool:
    if isinstance(error, TlsFailed):
        return any(isinstance(each, ssl.SSLCertVerificationError) for each in (*error.args, error.__cause__))
    return isinstance(error, (NewConnectionError, ConnectTimeoutError, ssl.SSLCertVerificationError))


def understood(attempted: str, status: int, content: bytes) -> dict[str, Any]:
    """The object in an answer; raises what its error means."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if status == 200 and isinstance(answer, dict):
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("code"), int):
        raise named(attempted, answer["code"], str(answer.get("message") or answer.get("error", "")))
    if _COMMON_NAME.encode() in content:
        raise named(attempted, _INVALID, _COMMON_NAME)
    if status == 404:
        raise EngineRefused(f"{attempted}: there is no JSON gateway: is etcd's --enable-grpc-gateway off?")
    raise Unanswered(f"{attempted}: status {status} without an error of etcd's: is this an etcd?")


def named(attempted: str, code: int, message: str) -> EngineFailed:
    """What a gRPC error of etcd means to us."""
    plain = shown(message.removeprefix("etcdserver: "))[:_MESSAGE_LIMIT]
    text = f"{attempted}: {plain}"
    if "database space exceeded" in message:
        return EngineFull(text)
    if "lease not found" in message:
        return LeaseGone(text)
    if "compacted" in message:
        return Compacted(text)
    if message.endswith("no leader"):  # refused before anything was done with the request
        return EngineLost(text)
    if _COMMON_NAME in message:
        hint = "the client certificate has a CommonName, which etcd's gateway refuses; issue one without"
        return EngineRefused(f"{attempted}: {hint}")
    if "authentication is not enabled" in message:
        return _AccessOpen(text)
    if code == _NO_TOKEN:
        return _TokenForgotten(text)
    if code in (_INVALID, _NOT_FOUND, _DENIED, _PRECONDITION, _OUT_OF_RANGE, _NO_METHOD):
        return EngineRefused(text)
    return Unanswered(text)
