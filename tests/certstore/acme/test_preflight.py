"""Preflight against a local DNS and web servers on loopback addresses: each fault gives its own finding.

127.0.0.1 is this edge, 127.0.0.2 another server with the answers of the test, and 127.0.0.3 is unused. All of them are
private addresses, so what would be fatal at a public one is doubtful here; `test_preflight_findings` has the others.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.rcode
import pytest

from certstore.acme.challenge_kind import ChallengeKinds, ProbeContext, WayProbe
from certstore.acme.dns_facts import Resolver
from certstore.acme.http01 import http01
from certstore.acme.name_probe import Ports
from certstore.acme.order_context import Interrupted
from certstore.acme.preflight import Preflight
from certstore.acme.tls_alpn01 import tls_alpn01
from certstore.model.layout import Layout
from certstore.model.renewal.ca import find_ca
from certstore.model.renewal.choice import NameChoice, Ways
from certstore.model.renewal.preflight_facts import (
    Answer,
    CannotProve,
    DirectoryFacts,
    DirectoryStep,
    PreflightFinding,
    Severity,
    WayFacts,
)
from certstore.model.renewal.preflight_findings import is_slow
from certstore.model.renewal.probe_targets import ProbeTargets
from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import Settings
from certstore.net import bounded_http
from certstore.net.bounded_http import ANSWER_BYTES
from certstore.net.lanes import Budget
from certstore.net.own_address import is_local
from tests.certificates import CertificateAuthority
from tests.certstore.acme.workshop import AlpnResponder, Responder, make_layout
from tests.peers.dns import DnsServer
from tests.peers.tarpit import tarpit
from tests.ports import free_port, listening_socket

CA = DirectoryFacts("https://ca.test/dir", DirectoryStep.DONE, identities=("ca.test",))


@dataclass
class Scene:
    """The world that a preflight sees; `redirects` holds the targets of the other server's redirects, by name."""

    layout: Layout
    dns: DnsServer
    responder: Responder
    stranger: ThreadingHTTPServer
    alpn: AlpnResponder
    redirects: dict[str, str] = field(default_factory=dict)
    probed: dict[str, WayFacts] = field(default_factory=dict)
    targets: ProbeTargets = field(default_factory=lambda: ProbeTargets(allows_private=True))

    def preflight(self, **bounds: Any) -> Preflight:
        resolver = Resolver(HostPort("127.0.0.1", self.dns.port), lifetime=2.0)
        ports = Ports(self.responder.port, free_port())
        kind = http01(self.layout, (), ports, self.targets)

        @contextlib.contextmanager
        def noting(context: ProbeContext) -> Iterator[WayProbe]:
            with kind.probing(context) as probe:

                def probe_name(name: str, addresses: Sequence[str], budget: Budget) -> WayFacts:
                    way = probe(name, addresses, budget)
                    self.probed[name] = way
                    return way

                yield probe_name

        return Preflight(resolver, ChallengeKinds(replace(kind, probing=noting)), **bounds)

    def check(
        self, *names: str, directory: DirectoryFacts = CA, account_url: str | None = None
    ) -> list[PreflightFinding]:
        return list(self.preflight().check(names, directory, account_url=account_url).findings)

    def choose(self, name: str, *failed: str) -> NameChoice:
        """With both ways to reach this edge."""
        ports = Ports(self.responder.port, self.alpn.port)
        facts = {"listeners": [{"kind": "https", "listen": f"127.0.0.1:{self.alpn.port}"}]}
        settings = Settings.model_validate(facts)
        kinds = ChallengeKinds(
            http01(self.layout, (), ports, self.targets), tls_alpn01(self.layout, settings, ports, self.targets)
        )
        preflight = replace(self.preflight(), kinds=kinds)
        (choice,) = preflight.check([name], CA, ways=Ways(failed={name: failed})).choices
        return choice

    def answers(self, name: str) -> list[Answer]:
        """How each address of the name answered, before it is put into words."""
        self.check(name)
        return [probe.answer for probe in self.probed[name].probes]

    def point(self, name: str, *addresses: str) -> None:
        for address in addresses:
            kind = "AAAA" if ":" in address else "A"
            self.dns.records.setdefault((name, kind), []).append(address)


@contextmanager
def stranger_at(host: str, port: int, redirects: dict[str, str]) -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = (self.headers["Host"] or "").partition(":")[0]
            target = redirects.get(name)
            self.send_response(302 if target else 404)
            if target:
                count = int(self.path.rpartition("?")[2]) if "?" in self.path else 0
                self.send_header("Location", target.format(path=self.path, next=count + 1))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    server = Server((host, port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    layout = make_layout(tmp_path / "store")
    responder = Responder(layout)
    redirects: dict[str, str] = {}
    alpn = AlpnResponder(layout)
    with (
        responder.running(),
        alpn.running(),
        DnsServer() as server,
        stranger_at("127.0.0.2", responder.port, redirects) as stranger,
    ):
        yield Scene(layout, server, responder, stranger, alpn, redirects)
        assert list(layout.challenges.iterdir()) == [], "the probe's token is gone"
        assert list(layout.alpn_challenges.iterdir()) == []


def codes(findings: list[PreflightFinding]) -> list[tuple[str | None, str]]:
    return [(finding.name, finding.code) for finding in findings]


def test_names_that_lead_here_pass(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.1")
    scene.point("b.test", "127.0.0.1")
    assert scene.check("a.test", "b.test") == []
    assert {host for host, _ in scene.responder.asked} == {"a.test", "b.test"}


def test_wrong_a_record_is_named_with_its_address(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.1", "127.0.0.2")
    (finding,) = scene.check("a.test")
    assert finding.code == "address_wrong"
    assert "127.0.0.2" in finding.message
    assert "another server answers" in finding.message
    assert "404" not in finding.message


def test_wrong_aaaa_record_alone_is_found(scene: Scene) -> None:
    with stranger_at("::1", scene.responder.port, {}):
        scene.point("a.test", "127.0.0.1", "::1")
        (finding,) = scene.check("a.test")
    assert finding.code == "address_wrong"
    assert "::1" in finding.message
    assert "AAAA" in finding.remedy


def test_closed_port_is_doubtful(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.3")
    (finding,) = scene.check("a.test")
    assert (finding.code, finding.severity) == ("address_refused", Severity.DOUBTFUL)


def test_name_that_does_not_exist_is_fatal_and_others_pass(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.1")
    findings = scene.check("a.test", "gone.test")
    assert codes(findings) == [("gone.test", "no_such_name")]
    assert findings[0].severity is Severity.FATAL


def test_broken_zone_is_fatal(scene: Scene) -> None:
    scene.dns.codes["a.test"] = dns.rcode.SERVFAIL
    findings = scene.check("a.test")
    assert ("a.test", "dns_server_failure") in codes(findings)
    assert {finding.severity for finding in findings} == {Severity.FATAL}


def test_caa_of_another_ca_is_fatal(scene: Scene) -> None:
    scene.point("www.a.test", "127.0.0.1")
    scene.dns.records["a.test", "CAA"] = ['0 issue "other.example"']
    assert codes(scene.check("www.a.test")) == [("www.a.test", "caa_forbids")]
    scene.dns.records["a.test", "CAA"].append('0 issue "ca.test"')
    assert scene.check("www.a.test") == []


def test_caa_for_another_account_or_method_is_fatal(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.1")
    scene.dns.records["a.test", "CAA"] = ['0 issue "ca.test; accounturi=https://ca.test/acct/1"']
    assert scene.check("a.test", account_url="https://ca.test/acct/1") == []
    assert codes(scene.check("a.test", account_url="https://ca.test/acct/2")) == [("a.test", "caa_forbids")]
    scene.dns.records["a.test", "CAA"] = ['0 issue "ca.test; validationmethods=dns-01"']
    assert codes(scene.check("a.test")) == [("a.test", "caa_forbids")]


# Which way a name takes


def test_first_way_that_is_open_is_taken_and_the_next_is_not_looked_at(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.1")
    choice = scene.choose("a.test")
    assert choice.ways == ("http-01", "tls-alpn-01")
    assert scene.alpn.asked == []


def test_closed_port_80_leads_to_port_443(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.1")
    scene.responder.unhelpful.add("a.test")
    choice = scene.choose("a.test")
    assert (choice.ways, choice.findings) == (("tls-alpn-01", "http-01"), ())
    assert "not http-01 (a.test has the address 127.0.0.1, where another server answers on port" in choice.why


def test_both_closed_leave_doubts_about_the_first(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.3")
    choice = scene.choose("a.test")
    assert choice.ways == ("http-01", "tls-alpn-01")
    assert codes(list(choice.findings)) == [("a.test", "address_refused")]


def test_way_that_failed_at_the_ca_is_looked_at_last(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.1")
    choice = scene.choose("a.test", "http-01")
    assert choice.ways == ("tls-alpn-01", "http-01")
    assert scene.responder.asked == []


@pytest.mark.parametrize(
    ("methods", "ways"),
    [
        ("tls-alpn-01", ("tls-alpn-01",)),
        ("http-01", ("http-01",)),
        ("dns-01,tls-alpn-01", ("tls-alpn-01",)),
        ("dns-01", ()),
    ],
)
def test_caa_methods_are_judged_by_each_way(scene: Scene, methods: str, ways: tuple[str, ...]) -> None:
    scene.point("a.test", "127.0.0.1")
    scene.dns.records["a.test", "CAA"] = [f'0 issue "ca.test; validationmethods={methods}"']
    choice = scene.choose("a.test")
    assert choice.ways == ways
    if not ways:
        assert {finding.code for finding in choice.findings} == {"caa_forbids"}
        assert "this edge proves names by tls-alpn-01" in choice.findings[1].message


@pytest.mark.parametrize("seconds", [30.0, 0.0], ids=["checked", "no time is left"])
def test_type_that_the_site_must_not_use_is_never_chosen_and_never_asked(scene: Scene, seconds: float) -> None:
    scene.point("a.test", "127.0.0.1")
    ways = Ways(("http-01",), barred={"http-01": CannotProve("nobody named the site", "adopt it")})
    (choice,) = scene.preflight(seconds=seconds).check(["a.test"], CA, ways=ways).choices
    assert (choice.ways, choice.last_resort) == ((), ())
    assert [(each.message, each.remedy) for each in choice.findings] == [("nobody named the site", "adopt it")]
    assert scene.probed == {}


def test_name_without_addresses_can_be_proven_by_neither(scene: Scene) -> None:
    choice = scene.choose("gone.test")
    assert (choice.ways, codes(list(choice.findings))) == ((), [("gone.test", "no_such_name")])


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("http://a.test{path}", Answer.REDIRECT_LOOP),
        ("http://a.test/?{next}", Answer.TOO_MANY_REDIRECTS),
        ("http://elsewhere.test{path}", Answer.REDIRECT_ELSEWHERE),
        ("http://nowhere.test{path}", Answer.REDIRECT_ELSEWHERE),
        ("http://a.test:8080{path}", Answer.REDIRECT_FORBIDDEN),
        ("ftp://a.test{path}", Answer.REDIRECT_FORBIDDEN),
        ("http://[{path}", Answer.REDIRECT_FORBIDDEN),
        ("http://127.0.0.2{path}", Answer.REDIRECT_FORBIDDEN),
        ("http://inside.test{path}", Answer.REDIRECT_FORBIDDEN),
        ("http://mapped.test{path}", Answer.REDIRECT_FORBIDDEN),
    ],
    ids=[
        "loop", "endless", "another host", "a host without address", "another port", "another scheme", "no URL",
        "an address", "the machine's own credentials", "the same in another form",
    ],
)  # fmt: skip
def test_redirects_that_lead_nowhere(scene: Scene, target: str, answer: Answer) -> None:
    scene.point("a.test", "127.0.0.2")
    scene.point("elsewhere.test", "127.0.0.2")
    scene.point("inside.test", "169.254.169.254")
    scene.point("mapped.test", "::ffff:169.254.169.254")
    scene.redirects["a.test"] = target
    assert scene.answers("a.test") == [answer]
    (finding,) = scene.check("a.test")
    assert finding.code == "address_wrong", "of a server inside no more is told"
    assert "another server answers" in finding.message
    assert target.partition("{")[0] not in finding.message


def test_a_redirect_to_a_private_server_is_never_connected_to(scene: Scene) -> None:
    """The stranger itself may be asked, but 127.0.0.3, where its redirect leads, is one that no CA could reach."""
    scene.targets = ProbeTargets([HostPort("127.0.0.2", scene.responder.port)])
    scene.point("a.test", "127.0.0.2")
    scene.point("inside.test", "127.0.0.3")
    scene.redirects["a.test"] = "http://inside.test{path}"
    with socket.create_server(("127.0.0.3", scene.responder.port)) as inside:
        assert scene.answers("a.test") == [Answer.REDIRECT_FORBIDDEN]
        inside.setblocking(False)
        with pytest.raises(BlockingIOError):
            inside.accept()


def test_private_address_is_not_asked_and_the_setting_is_named(scene: Scene) -> None:
    scene.targets = ProbeTargets()
    scene.point("a.test", "127.0.0.1")
    (finding,) = scene.check("a.test")
    assert (finding.code, finding.severity) == ("address_not_asked", Severity.DOUBTFUL)
    assert "acme.probe_private" in finding.remedy
    assert scene.responder.asked == []


def test_the_edges_own_address_is_asked_whatever_the_setting(scene: Scene) -> None:
    scene.targets = ProbeTargets([HostPort("0.0.0.0", scene.responder.port)], is_local)
    scene.point("a.test", "127.0.0.1")
    assert scene.check("a.test") == []


@pytest.mark.parametrize(
    "greeting",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"],
    ids=["silent start", "endless head", "endless body"],
)
def test_tarpit_costs_a_name_its_time_and_others_nothing(scene: Scene, greeting: bytes) -> None:
    addresses = [f"127.0.0.{last}" for last in range(50, 80)]
    scene.point("slow.test", *addresses)
    scene.point("good.test", "127.0.0.1")
    with contextlib.ExitStack() as stack:
        for address in addresses[:4]:
            stack.enter_context(tarpit(scene.responder.port, address, greeting=greeting))
        began = time.monotonic()
        findings = scene.preflight(name_seconds=1.0).check(["slow.test", "good.test"], CA).findings
        took = time.monotonic() - began
    assert {finding.name for finding in findings} == {"slow.test"}
    assert {finding.severity for finding in findings} == {Severity.DOUBTFUL}, "the CA is asked anyway"
    assert {"address_timed_out", "check_unfinished"} >= {finding.code for finding in findings}
    assert is_slow(findings)
    assert took < 20, "not the 24 seconds that four addresses may take"


def test_all_names_of_an_order_share_one_time(scene: Scene) -> None:
    names = [f"n{number}.test" for number in range(40)]
    scene.dns.silent |= set(names)
    began = time.monotonic()
    findings = scene.preflight(name_seconds=1.0, seconds=1.5).check(names, CA).findings
    assert time.monotonic() - began < 20
    assert {finding.name for finding in findings} == set(names)
    assert {finding.severity for finding in findings} == {Severity.DOUBTFUL}


def test_stop_does_not_wait_for_a_probe(scene: Scene) -> None:
    scene.point("slow.test", "127.0.0.5")
    stopping = threading.Event()
    with tarpit(scene.responder.port):
        threading.Timer(0.2, stopping.set).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            scene.preflight(is_stopping=stopping.is_set).check(["slow.test"], CA)
        assert time.monotonic() - began < 5


def test_a_name_with_many_addresses_is_asked_at_a_few_of_each_family(scene: Scene) -> None:
    scene.point(
        "a.test", *[f"127.0.1.{last}" for last in range(200)], *[f"::ffff:127.0.2.{last}" for last in range(99)]
    )
    scene.check("a.test")
    assert [":" in probe.address for probe in scene.probed["a.test"].probes] == [True, True, False, False]


def test_redirect_that_ends_at_this_edge_passes(scene: Scene) -> None:
    scene.point("a.test", "127.0.0.2")
    scene.point("front.test", "127.0.0.1")
    scene.redirects["a.test"] = "http://front.test{path}"
    assert scene.check("a.test") == []


def test_server_that_speaks_something_else_is_no_http(scene: Scene) -> None:
    with socket.create_server(("127.0.0.4", scene.responder.port)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.test ESMTP\r\n")
                connection.recv(1000)

        thread = threading.Thread(target=greet)
        thread.start()
        scene.point("a.test", "127.0.0.4")
        assert scene.answers("a.test") == [Answer.NO_HTTP]
        thread.join()


# --- the CA's directory ---


def at_directory(url: str, ca_file: Path | None = None, layout: Layout | None = None) -> DirectoryFacts:
    kinds = ChallengeKinds(http01(layout or Layout(Path("/nonexistent")), ()))
    return Preflight(Resolver(HostPort("127.0.0.1", 9)), kinds, ca_file).check_directory(find_ca(url))


@contextmanager
def https_server(folder: Path, answer: bytes, status: int = 200) -> Iterator[tuple[str, Path]]:
    authority = CertificateAuthority()
    (folder / "ca.pem").write_bytes(authority.root_pem)
    (folder / "server.pem").write_bytes(authority.issue("localhost").combined_pem)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that does not trust us is expected
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"https://localhost:{server.server_address[1]}/dir", folder / "ca.pem"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


DIRECTORY = b'{"newNonce": "n", "newAccount": "a", "newOrder": "o", "meta": {"caaIdentities": ["ca.test"]}}'


def test_directory_that_answers_says_its_names(tmp_path: Path) -> None:
    with https_server(tmp_path, DIRECTORY) as (url, ca_file):
        facts = at_directory(url, ca_file)
    assert (facts.step, facts.identities) == (DirectoryStep.DONE, ("ca.test",))


def test_directory_that_is_not_trusted_fails_at_tls(tmp_path: Path) -> None:
    with https_server(tmp_path, DIRECTORY) as (url, _):
        assert at_directory(url).step is DirectoryStep.TLS
        assert at_directory(url, tmp_path / "missing.pem").step is DirectoryStep.TLS


@pytest.mark.parametrize(
    ("answer", "status", "step"),
    [
        (b"<html>", 200, DirectoryStep.CONTENT),
        (b"[]", 200, DirectoryStep.CONTENT),
        (b"{}", 200, DirectoryStep.CONTENT),
        (b"", 503, DirectoryStep.HTTP),
        (DIRECTORY.replace(b'["ca.test"]', b"5"), 200, DirectoryStep.CONTENT),
        (b"[" * 200_000, 200, DirectoryStep.CONTENT),
        (b'"' + b"x" * ANSWER_BYTES, 200, DirectoryStep.HTTP),
    ],
    ids=["a page", "a list", "an empty object", "an error", "a number for names", "brackets without end", "a long one"],
)
def test_directory_that_is_none(tmp_path: Path, answer: bytes, status: int, step: DirectoryStep) -> None:
    with https_server(tmp_path, answer, status) as (url, ca_file):
        assert at_directory(url, ca_file).step is step


def test_directory_that_comes_byte_by_byte_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "ANSWER_SECONDS", 0.5)
    with listening_socket() as listener:
        stop = threading.Event()

        def trickle() -> None:
            with listener.accept()[0] as connected, contextlib.suppress(OSError):
                connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not stop.wait(0.05):
                    connected.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            facts = at_directory(f"http://127.0.0.1:{listener.getsockname()[1]}/dir")
        finally:
            stop.set()
            thread.join()
    assert (facts.step, facts.seen) == (DirectoryStep.HTTP, "no whole answer within 0.5 seconds")


def test_directory_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_directory(f"https://127.0.0.1:{free_port()}/dir").step is DirectoryStep.TCP
    assert at_directory("https://no-such-host.invalid/dir").step is DirectoryStep.DNS
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    assert at_directory("https://ca.example/dir").step is DirectoryStep.PROXY


def test_own_address_that_no_listener_takes_is_known_as_such(scene: Scene) -> None:
    scene.point("b.test", "127.0.0.3")
    scene.targets = ProbeTargets(is_local=is_local, allows_private=True)
    (finding,) = scene.check("b.test")
    assert (finding.code, finding.severity) == ("address_without_listener", Severity.FATAL)
