"""A CA, or something in its place, that answers against RFC 8555: each answer becomes a failure in words."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from certstore.acme.account import Accounts
from certstore.acme.challenge_kind import ChallengeKinds
from certstore.acme.http01 import http01
from certstore.acme.issue import Issuer
from certstore.acme.network import Conversation, OrderFailed, read_clock_error
from certstore.acme.order_context import OrderContext
from certstore.acme.order_journal import OrderJournal, OrderRequest
from certstore.model.renewal.ca import find_ca
from certstore.model.renewal.failure import Cause
from tests.certstore.acme.workshop import AGREED, make_layout
from tests.ports import free_port, listening_socket

DEEP = b"[" * 200_000
RESOURCES = {"newNonce": "nonce", "newAccount": "account", "newOrder": "new-order"}


@contextmanager
def serving(changed: str, status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    """The URL of a directory. Everything is as at a CA, except the answer under the path `changed`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            name = self.path.strip("/")
            is_changed = name == changed
            content = body if is_changed else json.dumps(usual(name)).encode()
            self.send_response(status if is_changed else 201 if name in ("account", "new-order") else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Replay-Nonce", "bm9uY2U")
            self.send_header("Location", f"{base}/{'order' if name == 'new-order' else name}")
            for header in headers.items() if is_changed else ():
                self.send_header(*header)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_HEAD = answer  # noqa: N815  http.server looks for these names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    def usual(name: str) -> dict[str, object]:
        name_of_ours = {"type": "dns", "value": "a.test"}
        challenge = {"type": "http-01", "url": f"{base}/challenge", "token": "A" * 43, "status": "pending"}
        answers: dict[str, dict[str, object]] = {
            "directory": {name: f"{base}/{path}" for name, path in RESOURCES.items()},
            "order": {"status": "pending", "authorizations": [f"{base}/authorization"], "finalize": f"{base}/finalize"},
            "authorization": {"status": "pending", "identifier": name_of_ours, "challenges": [challenge]},
        }
        return answers.get(name, {"status": "valid"})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"{base}/directory"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def order_at(directory: str, root: Path) -> None:
    layout, ca = make_layout(root), find_ca(directory)
    anonymous = Conversation.begin(directory)
    account = Accounts(layout).ensure(ca, anonymous, AGREED)
    context = OrderContext(OrderJournal(layout), ChallengeKinds(http01(layout, ())), lambda seconds: False)
    own = account.sign_in(anonymous)
    try:
        Issuer(own, account, context).issue(OrderRequest("a.test", ca.key, ("a.test",), "ec256"))
    finally:
        own.close()
        anonymous.close()


SENT = datetime(2027, 1, 1, 12, 0, 0, 500_000, UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Date": "Fri, 01 Jan 2027 12:00:00 GMT"}, 0),
        ({"Date": "Fri, 01 Jan 2027 12:00:02 GMT"}, 0),
        ({"Date": "Fri, 01 Jan 2027 12:30:02 GMT"}, 1799.5),
        ({"Date": "Fri, 01 Jan 2027 11:30:00 GMT"}, -1799.5),
        ({"Date": "Fri, 01 Jan 2027 11:30:00 GMT", "Age": "1800"}, 0),
        ({"Date": "yesterday"}, 0),
        ({"Date": "Fri, 99 Jan 99999 11:30:00 GMT"}, 0),
        ({}, 0),
    ],
    ids=["the same", "on the way", "ahead", "behind", "from a cache", "no date", "an odd date", "none"],
)
def test_clock_of_the_ca_is_compared_with_the_time_that_the_answer_took(
    headers: dict[str, str], seconds: float
) -> None:
    response = requests.Response()
    response.headers.update(headers)
    error = read_clock_error(response, SENT, SENT + timedelta(seconds=2))
    assert error == timedelta(seconds=seconds)


PROBLEM = {"type": "urn:ietf:params:acme:error:malformed", "detail": "no"}


@pytest.mark.parametrize(
    ("changed", "status", "body", "headers"),
    [
        pytest.param("directory", 200, b'"down for maintenance"', {}, id="a directory that is a text"),
        pytest.param("directory", 200, b"{}", {}, id="a directory without resources"),
        pytest.param("directory", 200, DEEP, {}, id="a directory that never closes its brackets"),
        pytest.param("account", 400, DEEP, {}, id="a problem that never closes its brackets"),
        pytest.param(
            "new-order", 400, json.dumps(PROBLEM | {"detail": 5}).encode(), {}, id="a detail that is a number"
        ),
        pytest.param(
            "new-order", 400, json.dumps(PROBLEM | {"detail": ["x"]}).encode(), {}, id="a detail that is a list"
        ),
        pytest.param("new-order", 429, json.dumps(PROBLEM).encode(), {"Retry-After": "9" * 5000}, id="a wait too long"),
        pytest.param(
            "new-order", 429, json.dumps(PROBLEM).encode(), {"Retry-After": "²"}, id="a wait that is no number"
        ),
        pytest.param("order", 200, b'{"status": "pending"}', {}, id="an order without authorizations"),
        pytest.param("authorization", 200, b'{"status": "pending"}', {}, id="an authorization of no name"),
        pytest.param("authorization", 200, b"[]", {}, id="an authorization that is a list"),
    ],
)
def test_odd_answer_is_a_failure_of_the_ca(
    tmp_path: Path, changed: str, status: int, body: bytes, headers: dict[str, str]
) -> None:
    with serving(changed, status, body, headers) as directory, pytest.raises(OrderFailed) as failed:
        order_at(directory, tmp_path)
    assert failed.value.failure.cause in (Cause.CA_ERROR, Cause.REQUEST_REFUSED, Cause.RATE_LIMITED)
    assert failed.value.failure.detail.isprintable()
    assert list((tmp_path / "challenges").iterdir()) == []


def test_ca_that_hangs_up_is_named_with_the_reason(tmp_path: Path) -> None:
    with listening_socket() as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            connected, _ = listener.accept()
            connected.recv(65536)
            connected.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(OrderFailed) as failed:
            order_at(f"http://127.0.0.1:{port}/directory", tmp_path)
        thread.join()
    failure = failed.value.failure
    assert failure.cause is Cause.CA_UNREACHABLE
    assert failure.detail == f"127.0.0.1:{port}: Remote end closed connection without response"


@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1", "Connection refused"), ("no-such-host.invalid", "known|resolution|resolve")]
)
def test_ca_out_of_reach_is_named_without_the_librarys_objects(tmp_path: Path, host: str, reason: str) -> None:
    with pytest.raises(OrderFailed) as failed:
        order_at(f"https://{host}:{(port := free_port())}/directory", tmp_path)
    detail = failed.value.failure.detail
    assert detail.startswith(f"{host}:{port}: ")
    assert re.search(reason, detail)
    assert "object at" not in detail


def test_file_of_authorities_that_is_missing_is_a_failure_that_names_it(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(OrderFailed, match=re.escape(str(missing))) as failed:
        Conversation.begin(f"https://127.0.0.1:{free_port()}/directory", ca_file=missing)
    assert failed.value.failure.cause is Cause.CA_UNREACHABLE
