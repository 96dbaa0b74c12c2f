"""Warnings as signed JSON documents, POSTed to a real HTTPS server and verified by another implementation."""

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from certstore.model.layout import Layout
from certstore.model.notify.standing_problems import FoundProblem
from certstore.model.notify.warnings import Matter, WatchedSite, decide_matter, stalled
from certstore.model.renewal.decision import LiveCertificate, Origin
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.state import FRESH, RenewalState
from certstore.model.settings.models import NotifySettings, Source
from certstore.notify.channel import ChannelFailed
from certstore.notify.notifier import Notifier
from certstore.notify.webhook import secret_from, sign
from tests.certificates import CertificateAuthority
from tests.peers.mail_server import MailServer

BEGIN = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FAILED = RenewalState(
    failures=3, failing_since=BEGIN - DAY, failure=Failure(Cause.PAUSED, "this name is paused", ("a.test",))
)


@dataclass
class Receiver:
    """Records what it received, as (headers, body); answers with `status`."""

    url: str = ""
    status: int = 204
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.received]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    authority = CertificateAuthority("Receiver")
    (tmp_path / "hook-ca.pem").write_bytes(authority.root_pem)
    (tmp_path / "hook.pem").write_bytes(authority.issue("localhost").combined_pem)
    (tmp_path / "secret").write_text(SECRET + "\n")
    record = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            record.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(record.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "hook.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    record.url = f"https://localhost:{server.server_port}/hook?token=hidden"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield record
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class World:
    """One failing site and a notifier over it; certificates end on day 30."""

    folder: Path
    url: str
    now: datetime = BEGIN
    states: dict[str, RenewalState] = field(default_factory=lambda: {"a.test": FAILED})
    extra: list[Matter] = field(default_factory=list)
    problems: list[FoundProblem] = field(default_factory=list)

    def notifier(self, notify: dict[str, Any] | None = None, **changes: object) -> Notifier:
        hook = {"url": self.url, "secret_file": "secret", "ca_file": "hook-ca.pem", **changes}
        layout = Layout(self.folder / "store")
        for each in (layout.state, layout.temporary):
            each.mkdir(parents=True, exist_ok=True)
        settings = NotifySettings.model_validate({**(notify or {}), "webhook": hook})
        return Notifier(
            settings,
            self.folder,
            layout,
            self.matters,
            edge="edge.test",
            clock=lambda: self.now,
            problems=lambda now: self.problems,
            node="edge-a",
        )

    def matters(self, now: datetime) -> list[tuple[Matter, tuple[str, ...]]]:
        found: list[tuple[Matter, tuple[str, ...]]] = [(matter, ()) for matter in self.extra]
        for site, state in self.states.items():
            live = LiveCertificate(site, (site,), BEGIN - 60 * DAY, BEGIN + 30 * DAY, Origin.ACME, "ca")
            matter = decide_matter(WatchedSite(site, (site, f"imap.{site}"), Source.ACME, live, state), now)
            if matter is not None:
                found.append((matter, ("owner@example.org",)))
        return found


@pytest.fixture
def world(tmp_path: Path, receiver: Receiver) -> World:
    return World(tmp_path, receiver.url)


def test_another_implementation_verifies_the_signature(world: World, receiver: Receiver) -> None:
    world.now = datetime.now(UTC)  # the verifier refuses old timestamps
    notifier = world.notifier()
    assert notifier.test() == (["webhook"], [])
    notifier.stop()
    ((headers, body),) = receiver.received
    assert headers["content-type"] == "application/json"
    assert Webhook(SECRET).verify(body, headers)["kind"] == "test"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", headers)


def test_document_has_the_facts_of_a_mail(world: World, receiver: Receiver) -> None:
    notifier = world.notifier()
    notifier.round()
    notifier.stop()
    (document,) = receiver.documents()
    assert {key: document[key] for key in ("version", "kind", "edge", "at", "resolved")} == {
        "version": 1, "kind": "notice", "edge": "edge.test", "at": "2027-03-01T12:00:00+00:00", "resolved": [],
    }  # fmt: skip
    (site,) = document["sites"]
    assert (site["site"], site["host"], site["kind"]) == ("a.test", "a.test", "failing")
    assert site["names"] == ["a.test", "imap.a.test"]
    assert site["cause"] == "this name is paused"
    assert site["not_after"] == "2027-03-31T12:00:00+00:00"
    assert site["remedy"]


def test_resolution_is_a_document_too(world: World, receiver: Receiver) -> None:
    notifier = world.notifier()
    notifier.round()
    world.states["a.test"] = FRESH
    notifier.round()
    notifier.stop()
    assert [each["kind"] for each in receiver.documents()] == ["notice", "resolved"]
    assert receiver.documents()[1]["resolved"] == ["a.test"]


def test_stalled_maintenance_is_reported(world: World, receiver: Receiver) -> None:
    world.states.clear()
    world.extra = [stalled(BEGIN - timedelta(hours=1))]
    notifier = world.notifier()
    notifier.round()
    notifier.stop()
    assert receiver.documents()[0]["maintenance_stalled_since"] == "2027-03-01T11:00:00+00:00"


def test_many_sites_are_bounded_and_counted(world: World, receiver: Receiver) -> None:
    world.states = {f"s{number}.test": FAILED for number in range(250)}
    notifier = world.notifier()
    notifier.round()
    notifier.stop()
    (document,) = receiver.documents()
    assert len(document["sites"]) == 200
    assert document["more_sites"] == 50


def test_restart_sends_nothing_again(world: World, receiver: Receiver) -> None:
    for _ in range(3):
        notifier = world.notifier()
        notifier.round()
        notifier.stop()
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [500, 503, 408, 429])
def test_receiver_in_trouble_gets_the_same_notice_later(world: World, receiver: Receiver, status: int) -> None:
    receiver.status = status
    notifier = world.notifier()
    notifier.round()
    assert notifier.problem is not None
    assert f"answered {status}" in notifier.problem
    receiver.status = 200
    notifier.round()
    assert len(receiver.received) == 1, "it gets a minute to recover"
    world.now += 2 * MINUTE
    notifier.round()
    notifier.stop()
    first, second = (headers["webhook-id"] for headers, _ in receiver.received)
    assert first == second
    assert notifier.problem is None


@pytest.mark.parametrize(
    ("status", "words"), [(400, "400"), (404, "404"), (304, "304"), (300, "300"), (301, "redirects are not followed")]
)
def test_refused_document_is_reported_and_tried_again_hours_later(
    world: World, receiver: Receiver, status: int, words: str
) -> None:
    receiver.status = status
    notifier = world.notifier()
    for _ in range(5):
        notifier.round()
        world.now += MINUTE
    assert len(receiver.received) == 1
    assert notifier.problem is not None
    assert words in notifier.problem
    receiver.status = 200
    world.now += timedelta(hours=6)
    notifier.round()
    notifier.stop()
    assert len(receiver.received) == 2


def test_a_refused_notice_does_not_wait_for_a_date_that_the_clock_no_longer_shows(
    world: World, receiver: Receiver
) -> None:
    receiver.status = 400
    world.now = BEGIN + 2 * DAY
    notifier = world.notifier()
    notifier.round()
    receiver.status = 200
    world.now = BEGIN
    notifier.round()
    notifier.stop()
    assert len(receiver.received) == 2


@pytest.mark.parametrize("host", [f"{'a' * 70}.test", "127.0.0.1..test", ".test", "*.test"])
def test_a_host_that_no_library_accepts_is_a_problem_that_quotes_nothing(world: World, host: str) -> None:
    world.url = f"https://{host}/hidden"
    notifier = world.notifier()
    notifier.round()
    notifier.stop()
    assert notifier.problem is not None
    assert "is not valid" in notifier.problem
    assert "hidden" not in notifier.problem


def test_server_that_is_not_trusted_gets_no_document(world: World, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "other-ca.pem").write_bytes(CertificateAuthority("Other").root_pem)
    notifier = world.notifier(ca_file="other-ca.pem")
    notifier.round()
    notifier.stop()
    assert receiver.received == []
    assert notifier.problem is not None
    assert "certificate" in notifier.problem


def test_environment_does_not_replace_the_trusted_authority(
    world: World, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "hook-ca.pem"))
    (tmp_path / "other-ca.pem").write_bytes(CertificateAuthority("Other").root_pem)
    notifier = world.notifier(ca_file="other-ca.pem")
    notifier.round()
    notifier.stop()
    assert receiver.received == []


def test_no_message_contains_secrets_of_the_url_or_the_file(
    world: World, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 500
    notifier = world.notifier()
    notifier.round()
    notifier.stop()
    assert notifier.problem is not None
    for text in (notifier.problem, caplog.text):
        assert "hidden" not in text
        assert SECRET not in text


@pytest.mark.parametrize(
    ("content", "words"), [("short", "shorter than 16 bytes"), ("whsec_%%%", "not base64"), ("", "shorter")]
)
def test_unusable_secret_sends_nothing_unsigned(
    world: World, receiver: Receiver, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "secret").write_text(content)
    notifier = world.notifier()
    with pytest.raises(ChannelFailed, match=words):
        notifier.test()
    notifier.stop()
    assert receiver.received == []


def test_missing_secret_is_named_and_found_without_a_reload(world: World, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "secret").rename(tmp_path / "aside")
    notifier = world.notifier()
    with pytest.raises(ChannelFailed, match="secret_file"):
        notifier.test()
    (tmp_path / "aside").rename(tmp_path / "secret")
    assert notifier.test() == (["webhook"], [])
    notifier.stop()


def test_failing_webhook_delays_no_mail_and_failing_mail_server_no_webhook(
    world: World, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mail-ca.pem"))
    with MailServer(tmp_path) as server:
        receiver.status = 503
        notifier = world.notifier(server.settings())
        notifier.round()
        assert sorted(str(each["To"]) for each in server.messages) == ["admin@example.org", "owner@example.org"]
        receiver.status = 200
        server.stop()
        world.states["b.test"] = FAILED
        world.now += DAY
        notifier.round()
        notifier.stop()
        assert receiver.documents()[-1]["sites"], "delivered while the mail server is down"


def test_signature_is_that_of_the_specifications_example() -> None:
    body = b'{"test": 2432232314}'
    secret = secret_from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/x",
        "https://hooks.example.org:99999/hidden",
        "https://hooks.example.org:hidden/",
        "https://hooks example.org/hidden",
        "http://localhost:80\r\nhidden: 1/",
        "https://hooks.example.org/\nhidden",
        "https://[::1/hidden",
        "ftp://hooks.example.org",
        "https://",
        "https://me:pw@hooks.example.org/",
        "hooks",
    ],
)
def test_url_that_would_send_in_clear_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="https") as refused:
        NotifySettings.model_validate({"webhook": {"url": url, "secret_file": "secret"}})
    assert "hidden" not in "".join(each["msg"] for each in refused.value.errors())


def test_problems_of_the_service_are_a_list_beside_the_sites(world: World, receiver: Receiver) -> None:
    world.states = {}
    world.problems = [FoundProblem("upstream_down", "web http://10.0.0.1", "it has been down since 12:00")]
    notifier = world.notifier()
    for minute in range(100):
        world.problems = world.problems if minute < 15 else []
        notifier.round()
        world.now += MINUTE
    notifier.stop()
    begun, over = receiver.documents()
    assert (begun["version"], begun["kind"], begun["node"], begun["sites"]) == (1, "notice", "edge-a", [])
    assert begun["problems"] == [
        {
            "code": "upstream_down",
            "scope": "web http://10.0.0.1",
            "title": "A server behind the edge is down: web http://10.0.0.1",
            "message": "it has been down since 12:00",
            "since": "2027-03-01T12:00:00+00:00",
        }
    ]
    assert (over["kind"], over["problems"], over["resolved"]) == ("resolved", [], [])
    assert over["resolved_problems"] == ["a server behind the edge is down: web http://10.0.0.1"]
