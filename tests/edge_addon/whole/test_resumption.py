"""TLS sessions with the running edge: one may only resume with the certificate that its server name selects.

A client offers, under one name, a session that it got under another. OpenSSL reports whether the server resumed it
(`session_reused`); the certificate, or that of the session, shows which one the connection uses.
"""

import hashlib
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from certstore.net.tls_engine import EngineName
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.running import RunningEdge, drop_certificate, running_edge
from tests.tls_engines import ENGINES, engine_of

CA = CertificateAuthority()
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
MAIN, OTHER_NAME = "edge.test", "unknown.test"


@dataclass(frozen=True)
class Visit:
    session: ssl.SSLSession
    fingerprint: str | None
    was_resumed: bool


class Client:
    """A TLS client of one version that keeps its context: a session only works with the context that it came from."""

    def __init__(self, edge: RunningEdge, version: ssl.TLSVersion) -> None:
        self._port = edge.port("https")
        self.context = ssl.create_default_context(cadata=CA.root_pem.decode())
        self.context.minimum_version = self.context.maximum_version = version
        self.context.check_hostname = False

    def visit(self, server_name: str | None, session: ssl.SSLSession | None = None) -> Visit:
        """Connect and request a page, so that the tickets of TLS 1.3 arrive; returns the result."""
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=60) as plain,
            self.context.wrap_socket(plain, server_hostname=server_name, session=session) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (server_name or MAIN).encode())
            while secure.recv(65536):
                pass
            leaf = secure.getpeercert(binary_form=True)
            assert secure.session is not None
            assert leaf is not None
            return Visit(secure.session, fingerprint(leaf), bool(secure.session_reused))


@contextmanager
def only_worker(edge: RunningEdge, pid: int) -> Iterator[None]:
    """Stop all other workers, so that this one accepts: otherwise the kernel decides."""
    others = [each for each in edge.worker_pids() if each != pid]
    for each in others:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in others:
            os.kill(each, signal.SIGCONT)


def fingerprint(leaf: bytes) -> str:
    return hashlib.sha256(leaf).hexdigest()


@pytest.fixture(scope="module")
def certificates() -> dict[str, Issued]:
    return {"main": CA.issue(MAIN), "a.test": CA.issue("a.test", "www.a.test"), "b.test": CA.issue("b.test")}


@pytest.fixture(scope="module", params=ENGINES)
def edge(
    tmp_path_factory: pytest.TempPathFactory, certificates: dict[str, Issued], request: pytest.FixtureRequest
) -> Iterator[RunningEdge]:
    settings = {"listeners": [{"kind": "https"}, {"kind": "imaps", "upstream": "127.0.0.1:9"}], "workers": 1}
    with (
        engine_of(request.param),
        running_edge(tmp_path_factory.mktemp("edge"), settings, dict(certificates)) as running,
    ):
        yield running


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def client(edge: RunningEdge, request: pytest.FixtureRequest) -> Client:
    return Client(edge, request.param)


@pytest.mark.parametrize("name", [MAIN, "a.test", "b.test", OTHER_NAME, None])
def test_a_session_resumes_under_its_own_name(client: Client, name: str | None) -> None:
    """The control: without it, a server that never resumes would pass all tests below."""
    first = client.visit(name)
    second = client.visit(name, first.session)

    assert not first.was_resumed
    assert second.was_resumed
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("saved_under", "offered_under"),
    [
        ("a.test", "b.test"),
        ("a.test", MAIN),
        ("a.test", None),
        ("a.test", OTHER_NAME),
        (MAIN, "a.test"),
        (None, "a.test"),
        (OTHER_NAME, "b.test"),
    ],
)
def test_a_session_never_resumes_onto_another_certificate(
    client: Client, certificates: dict[str, Issued], saved_under: str | None, offered_under: str | None
) -> None:
    saved = client.visit(saved_under)

    offered = client.visit(offered_under, saved.session)

    wanted = certificates.get(offered_under or "main", certificates["main"])
    assert not offered.was_resumed
    assert offered.fingerprint == wanted.fingerprint


def test_a_session_does_not_outlive_a_replaced_certificate(client: Client, edge: RunningEdge) -> None:
    saved = client.visit("b.test")
    renewed = CA.issue("b.test")
    drop_certificate(edge.store, "b.test", renewed)
    wait_for(lambda: edge.fingerprint("https", "b.test") == renewed.fingerprint, "the renewed certificate is served")

    offered = client.visit("b.test", saved.session)

    assert not offered.was_resumed
    assert offered.fingerprint == renewed.fingerprint


@pytest.mark.parametrize("name", ["a.test", None])
def test_a_web_session_does_not_resume_on_a_mail_listener(edge: RunningEdge, name: str | None) -> None:
    """Each purpose has its own context, even for the main certificate, so no protocol can pass for another."""
    web = Client(edge, ssl.TLSVersion.TLSv1_2)
    saved = web.visit(name)
    with (
        socket.create_connection(("127.0.0.1", edge.port("imaps")), timeout=60) as plain,
        web.context.wrap_socket(plain, server_hostname=name, session=saved.session) as secure,
    ):
        assert not secure.session_reused
        leaf = secure.getpeercert(binary_form=True)
        assert leaf is not None
        assert fingerprint(leaf) == edge.fingerprint("https", MAIN)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_sessions_of_main_and_of_shared_sites_resume_on_any_worker(
    version: ssl.TLSVersion, engine: EngineName, tmp_path: Path, certificates: dict[str, Issued]
) -> None:
    """On `openssl` those of all sites with the intermediates of one of these."""
    settings = {"listeners": [{"kind": "https"}], "workers": 3, "tls": {"shared_sites": 1}}
    other_chain = CertificateAuthority("Other CA").issue("c.test")
    with engine_of(engine), running_edge(tmp_path, settings, {**certificates, "c.test": other_chain}) as edge:
        client = Client(edge, version)

        def resumed(name: str) -> list[bool]:
            """Whether every worker resumes a session of the first one."""
            first, *_ = workers = edge.worker_pids()
            with only_worker(edge, first):
                session = client.visit(name).session
            taken = []
            for worker in workers:
                with only_worker(edge, worker):
                    taken.append(client.visit(name, session).was_resumed)
            return taken

        assert resumed(MAIN) == [True, True, True]
        assert resumed("a.test") == [True, True, True]
        assert resumed("b.test") == ([True, False, False] if engine is EngineName.SSL else [True, True, True])
        # The negative control: beyond the number of shared sites each worker has its own ticket keys.
        client.context.verify_mode = ssl.CERT_NONE
        assert resumed("c.test") == [True, False, False]
        before = edge.worker_pids()
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(set(edge.worker_pids()) - {before[0]}) == 3, "another worker")
        assert resumed("a.test") == [True, True, True]
        session = client.visit("a.test").session
        edge.reload()
        assert all(client.visit("a.test", session).was_resumed for _ in range(5))
