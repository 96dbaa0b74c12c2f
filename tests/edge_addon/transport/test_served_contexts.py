"""What connections need of a TLS engine, on each engine: the certificates of real versions against Python's client."""

import contextlib
import hashlib
import os
import pty
import resource
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.model.snapshot import ServedCertificate
from certstore.net.tls_engine import EngineName, engine_in_force
from edge_addon.transport.alpn import MAIL_PROTOCOLS
from edge_addon.transport.served_contexts import ServedContexts, ServerStage, open_stage, served_contexts
from edge_addon.transport.tls_contexts import OutOfFiles
from tests.certificates import CertificateAuthority, Issued
from tests.descriptors import no_free_descriptor
from tests.edge_addon.transport.test_tls_contexts import publish
from tests.tls_engines import ENGINES, engine_of

CA = CertificateAuthority()
OTHER_CA = CertificateAuthority("Other CA")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
on_each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[EngineName]:
    with engine_of(request.param):
        yield request.param


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def contexts(engine: EngineName, layout: Layout) -> ServedContexts:
    return served_contexts(layout, Settings())


class Client:
    """One connection of a client to a stage, both over memory."""

    def __init__(
        self,
        stage: ServerStage,
        context: ssl.SSLContext,
        *,
        session: ssl.SSLSession | None = None,
        piece: int = 1 << 20,
    ) -> None:
        self.stage = stage
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="a.test", session=session)
        self._piece = piece

    def send(self) -> None:
        """What the client has written reaches the stage."""
        data = self._outgoing.read()
        for at in range(0, len(data), self._piece):
            self.stage.feed(data[at : at + self._piece])
            yield_to_stage(self.stage)

    def take(self) -> None:
        """What the stage has written reaches the client."""
        self._incoming.write(self.stage.output())

    def shake_hands(self) -> "Client":
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            self.send()
            self.take()
        self.tls.do_handshake()
        return self

    @property
    def leaf(self) -> str:
        return hashlib.sha256(self.tls.getpeercert(binary_form=True) or b"").hexdigest()

    def session(self) -> ssl.SSLSession:
        """Once the tickets of TLS 1.3 have come."""
        self.stage.write(b"x")
        self.take()
        assert self.tls.read(1) == b"x"
        assert self.tls.session is not None
        self.stage.close_notify()  # OpenSSL forgets the number of a session whose connection breaks off
        return self.tls.session


def yield_to_stage(stage: ServerStage) -> None:
    with contextlib.suppress(ssl.SSLWantReadError):
        stage.handshake()


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


def stage_of(contexts: ServedContexts, served: ServedCertificate, *, is_mail: bool = False) -> ServerStage:
    context = contexts.get(served, is_mail=is_mail)
    assert context is not None
    return open_stage(context)


def connect(
    contexts: ServedContexts,
    served: ServedCertificate,
    context: ssl.SSLContext,
    *,
    is_mail: bool = False,
    session: ssl.SSLSession | None = None,
) -> Client:
    return Client(stage_of(contexts, served, is_mail=is_mail), context, session=session).shake_hands()


# Certificates.


@on_each_version
def test_each_site_shows_its_own_certificate_with_its_own_chain(
    contexts: ServedContexts, layout: Layout, version: ssl.TLSVersion
) -> None:
    for name, ca, key in (
        ("a.test", CA, "ec256"), ("b.test", CA, "ec256"), ("c.test", OTHER_CA, "ec256"), ("d.test", CA, "rsa2048"),
    ):  # fmt: skip
        issued = ca.issue(name, key_type=key)
        served = publish(layout, name, 1, issued)
        client = client_context(version)
        client.verify_mode = ssl.CERT_REQUIRED
        client.load_verify_locations(cadata=ca.root_pem.decode())
        for _ in range(2):
            assert connect(contexts, served, client).leaf == issued.fingerprint


@pytest.mark.parametrize("is_mail", [False, True])
@on_each_version
def test_a_client_gets_the_pair_that_it_can_verify(
    contexts: ServedContexts, layout: Layout, version: ssl.TLSVersion, *, is_mail: bool
) -> None:
    """The two pairs come from different authorities, and each is shown with its own intermediate."""
    ec, rsa = CA.issue("a.test"), OTHER_CA.issue("a.test", key_type="rsa2048")
    both = publish(layout, "a.test", 1, ec, rsa=rsa)
    other = publish(layout, "b.test", 1, CA.issue("b.test"), rsa=OTHER_CA.issue("b.test", key_type="rsa2048"))
    connect(contexts, other, client_context(version), is_mail=is_mail)
    for issued, ca, ciphers in (
        (ec, CA, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (rsa, OTHER_CA, "ECDHE-RSA-AES128-GCM-SHA256"),
    ):
        client = client_context(ssl.TLSVersion.TLSv1_2)
        client.set_ciphers(ciphers)
        client.verify_mode = ssl.CERT_REQUIRED
        client.load_verify_locations(cadata=ca.root_pem.decode())
        assert connect(contexts, both, client, is_mail=is_mail).leaf == issued.fingerprint
    assert connect(contexts, both, client_context(version), is_mail=is_mail).leaf == ec.fingerprint


def test_half_a_pair_is_not_served(contexts: ServedContexts, layout: Layout) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"), rsa=CA.issue("a.test", key_type="rsa2048"))
    (layout.version("a.test", 1) / "privkey-rsa.pem").write_bytes(CA.issue("a.test", key_type="rsa2048").privkey_pem)
    assert contexts.get(served, is_mail=False) is None


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        pytest.param(None, b"", id="no key"),
        pytest.param(b"", None, id="no certificate"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None, id="junk"),
        pytest.param(None, CA.issue("a.test").privkey_pem, id="the key of another certificate"),
        pytest.param(None, CA.issue("a.test", key_type="rsa2048").privkey_pem, id="a key of another kind"),
        pytest.param(CA.issue("a.test").cert_pem + b"\n-----BEGIN CERTIFICATE-----\nAAAA\n", None, id="a torn chain"),
    ],
)
def test_what_does_not_load_is_a_problem_and_what_was_served_stays(
    contexts: ServedContexts, layout: Layout, certificate: bytes | None, key: bytes | None
) -> None:
    good = CA.issue("a.test")
    before = publish(layout, "a.test", 1, good)
    assert connect(contexts, before, client_context()).leaf == good.fingerprint
    bad = publish(layout, "a.test", 2, CA.issue("a.test"))
    alone = publish(layout, "b.test", 1, CA.issue("b.test"))
    for folder in (layout.version("a.test", 2), layout.version("b.test", 1)):
        for name, content in (("fullchain.pem", certificate), ("privkey.pem", key)):
            if content is not None:
                (folder / name).write_bytes(content)

    assert connect(contexts, bad, client_context()).leaf == good.fingerprint
    assert contexts.get(alone, is_mail=False) is None

    assert [(each.site, each.version, each.served) for each in contexts.unloadable] == [
        ("a.test", 2, 1),
        ("b.test", 1, None),
    ]
    assert all(each.reason for each in contexts.unloadable)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(engine: EngineName, layout: Layout) -> None:
    """On a terminal OpenSSL would ask, and the whole worker wait for an answer."""
    issued = CA.issue("a.test")
    served = publish(layout, "a.test", 1, issued)
    (layout.version("a.test", 1) / "privkey.pem").write_bytes(issued.encrypted_privkey_pem(b"word"))
    contexts = served_contexts(layout, Settings())
    child, terminal = pty.fork()
    if child == 0:
        os._exit(3 if contexts.get(served, is_mail=False) is None else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    os.close(terminal)


def test_without_a_free_descriptor_what_was_served_stays(contexts: ServedContexts, layout: Layout) -> None:
    first = CA.issue("a.test")
    old = publish(layout, "a.test", 1, first)
    connect(contexts, old, client_context())
    new = publish(layout, "a.test", 2, CA.issue("a.test"))
    other_chain = publish(layout, "b.test", 1, OTHER_CA.issue("b.test"))
    with no_free_descriptor():
        assert connect(contexts, new, client_context()).leaf == first.fingerprint
        for is_mail in (False, True):
            with pytest.raises(OutOfFiles):
                contexts.get(other_chain, is_mail=is_mail)
    assert contexts.unloadable == []
    assert connect(contexts, new, client_context()).leaf == new.fingerprint
    assert connect(contexts, other_chain, client_context()).leaf == other_chain.fingerprint


# Sessions.


@on_each_version
@pytest.mark.parametrize("has_tickets", [True, False])
def test_a_session_resumes_with_its_own_certificate_and_with_no_other(
    contexts: ServedContexts, layout: Layout, version: ssl.TLSVersion, *, has_tickets: bool
) -> None:
    sites = [publish(layout, name, 1, CA.issue(name)) for name in ("a.test", "b.test", "c.test")]
    client = client_context(version)
    if not has_tickets:
        client.options |= ssl.OP_NO_TICKET  # TLS 1.2 resumes by number then
    for site in sites:
        session = connect(contexts, site, client).session()
        for other in sites:
            again = connect(contexts, other, client, session=session)
            assert again.tls.session_reused is (other is site)
            assert again.leaf == other.fingerprint
        mail = connect(contexts, site, client, is_mail=True, session=session)
        assert not mail.tls.session_reused, "a session of a website can't pass for one of mail"
        assert mail.leaf == site.fingerprint


@on_each_version
def test_a_session_does_not_outlive_a_replaced_certificate(
    contexts: ServedContexts, layout: Layout, version: ssl.TLSVersion
) -> None:
    client = client_context(version)
    old = publish(layout, "a.test", 1, CA.issue("a.test"))
    session = connect(contexts, old, client).session()
    new = publish(layout, "a.test", 2, CA.issue("a.test"))
    for with_rsa in (False, True):
        if with_rsa:
            new = publish(layout, "a.test", 3, CA.issue("a.test"), rsa=CA.issue("a.test", key_type="rsa2048"))
        again = connect(contexts, new, client, session=session)
        assert not again.tls.session_reused
        assert again.leaf == new.fingerprint
        session = again.session()


@on_each_version
def test_a_session_of_two_pairs_resumes_and_ends_with_either(
    contexts: ServedContexts, layout: Layout, version: ssl.TLSVersion
) -> None:
    client = client_context(version)
    ec, rsa = CA.issue("a.test"), CA.issue("a.test", key_type="rsa2048")
    both = publish(layout, "a.test", 1, ec, rsa=rsa)
    session = connect(contexts, both, client).session()
    assert connect(contexts, both, client, session=session).tls.session_reused
    renewed = publish(layout, "a.test", 2, ec, rsa=CA.issue("a.test", key_type="rsa2048"))
    assert not connect(contexts, renewed, client, session=session).tls.session_reused


# Protocols.


@on_each_version
@pytest.mark.parametrize(
    ("offer", "is_mail", "selected"),
    [
        (["http/1.1", "h2"], False, "h2"),
        (["http/1.1"], False, "http/1.1"),
        (["imap"], False, None),
        (["imap"], True, "imap"),
        (["h2"], True, None),
        (["x\x02h2", "zhttp/1.1"], False, None),
        (["x" * 255, "http/1.1"], False, "http/1.1"),
        ([], False, None),
        ([MAIL_PROTOCOLS[-1], "pop3"], True, "pop3"),
    ],
)
def test_the_listener_s_protocols_are_selected_whole(
    contexts: ServedContexts,
    layout: Layout,
    version: ssl.TLSVersion,
    offer: list[str],
    is_mail: bool,
    selected: str | None,
) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    client = client_context(version)
    if offer:
        client.set_alpn_protocols(offer)
    connected = connect(contexts, served, client, is_mail=is_mail)
    assert (connected.stage.alpn, connected.tls.selected_alpn_protocol()) == (selected, selected)
    assert connected.stage.version == connected.tls.version() == version.name.replace("v1_", "v1.")


def test_http_2_can_be_off(engine: EngineName, layout: Layout) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    client = client_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    contexts = served_contexts(layout, Settings.model_validate({"http": {"http2": False}}))
    assert connect(contexts, served, client).stage.alpn == "http/1.1"


def test_the_lowest_version_is_that_of_the_settings(engine: EngineName, layout: Layout) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    contexts = served_contexts(layout, Settings.model_validate({"tls": {"minimum_version": "1.3"}}))
    assert connect(contexts, served, client_context()).stage.version == "TLSv1.3"
    old = Client(stage_of(contexts, served), client_context(ssl.TLSVersion.TLSv1_2))
    with contextlib.suppress(ssl.SSLWantReadError):
        old.tls.do_handshake()
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        old.send()
    assert old.stage.output() == b"\x15\x03\x03\x00\x02\x02\x46", "protocol_version"


# Records.


@on_each_version
@pytest.mark.parametrize("piece", [1, 7, 1500])
def test_a_handshake_may_come_in_pieces_of_any_size(
    contexts: ServedContexts, layout: Layout, version: ssl.TLSVersion, piece: int
) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    client = Client(stage_of(contexts, served), client_context(version), piece=piece).shake_hands()
    assert client.leaf == served.fingerprint


@on_each_version
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_data_arrives_whole_both_ways(
    contexts: ServedContexts, layout: Layout, version: ssl.TLSVersion, kind: type
) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    client = connect(contexts, served, client_context(version))
    for size in (0, 1, 16384, 16385, 100_000, 1 << 20, 3):
        sent = (bytes(range(251)) * (size // 251 + 1))[:size]
        client.stage.write(kind(sent))
        client.take()
        received = b""
        while len(received) < size:
            received += client.tls.read(size)
        assert received == sent
        client.tls.write(sent)
        client.send()
        back = b""
        while len(back) < size:
            back += client.stage.read()
        assert back == sent
        assert not client.stage.may_have_more
        with pytest.raises(ssl.SSLWantReadError):
            client.stage.read()


def test_one_read_returns_one_record_and_more_may_wait(contexts: ServedContexts, layout: Layout) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    client = connect(contexts, served, client_context())
    for part in (b"one", b"two"):
        client.tls.write(part)
    client.stage.feed(client._outgoing.read())
    assert client.stage.read() == b"one"
    assert client.stage.may_have_more
    assert client.stage.read() == b"two"
    assert not client.stage.may_have_more


@on_each_version
def test_close_notify_ends_and_is_answered(contexts: ServedContexts, layout: Layout, version: ssl.TLSVersion) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    client = connect(contexts, served, client_context(version))
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    client.stage.feed(client._outgoing.read())
    assert client.stage.read() == b""
    client.stage.close_notify()
    client.take()
    client.tls.unwrap()


def test_close_notify_in_the_middle_of_a_handshake_harms_nothing(contexts: ServedContexts, layout: Layout) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    first = Client(stage_of(contexts, served), client_context())
    with contextlib.suppress(ssl.SSLWantReadError):
        first.tls.do_handshake()
    first.send()
    first.stage.close_notify()
    assert connect(contexts, served, client_context()).leaf == served.fingerprint


@on_each_version
def test_a_broken_record_is_an_error_with_an_alert_and_only_of_its_connection(
    contexts: ServedContexts, layout: Layout, version: ssl.TLSVersion
) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    client, other = (connect(contexts, served, client_context(version)) for _ in range(2))
    client.tls.write(b"hello")
    record = bytearray(client._outgoing.read())
    record[-1] ^= 1
    client.stage.feed(bytes(record))
    with pytest.raises(ssl.SSLError, match=r"(?i)mac|decrypt|record layer"):
        client.stage.read()
    assert client.stage.output()[:1] in {b"\x15", b"\x17"}  # which looks like data in TLS 1.3
    other.tls.write(b"unharmed")
    other.send()
    assert other.stage.read() == b"unharmed"


def test_plain_text_after_the_hello_is_an_error_with_an_alert(contexts: ServedContexts, layout: Layout) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    stage = stage_of(contexts, served)
    stage.feed(b"\x16\x03\x01\x00\x05hello")
    with pytest.raises(ssl.SSLError) as caught:
        stage.handshake()
    assert not isinstance(caught.value, ssl.SSLWantReadError)
    assert stage.output()[:1] == b"\x15"


def test_a_client_without_a_common_cipher_gets_the_alert(contexts: ServedContexts, layout: Layout) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    client = client_context(ssl.TLSVersion.TLSv1_2)
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    refused = Client(stage_of(contexts, served), client)
    with contextlib.suppress(ssl.SSLWantReadError):
        refused.tls.do_handshake()
    with pytest.raises(ssl.SSLError, match=r"(?i)no.shared.cipher"):
        refused.send()
    assert refused.stage.output() == b"\x15\x03\x03\x00\x02\x02\x28", "handshake_failure"


@given(junk=st.binary(min_size=1, max_size=400), at=st.integers(0, 600), version=st.sampled_from(VERSIONS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
def test_junk_in_a_handshake_is_an_error_or_a_wait(
    contexts: ServedContexts, tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int, version: ssl.TLSVersion
) -> None:
    served = ServedCertificate("a.test", 1, *_FACTS)
    layout = contexts_layout(contexts)
    if not layout.version("a.test", 1).exists():
        publish(layout, "a.test", 1, _ISSUED)
    client = Client(stage_of(contexts, served), client_context(version))
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = client._outgoing.read()
    client.stage.feed(hello[:at] + junk + hello[at:])
    with contextlib.suppress(ssl.SSLError):
        client.stage.handshake()
        client.stage.read()
    client.stage.output()


_ISSUED: Issued = CA.issue("a.test")
_FACTS = (_ISSUED.fingerprint, _ISSUED.dns_names, _ISSUED.not_before, _ISSUED.not_after, False, False)


def contexts_layout(contexts: ServedContexts) -> Layout:
    return contexts._layout


# What stays behind.


def test_connections_outlive_the_contexts_that_they_came_from(engine: EngineName, layout: Layout) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    contexts = served_contexts(layout, Settings())
    client = client_context()
    client.set_alpn_protocols(["h2"])
    held = Client(stage_of(contexts, served), client)
    del contexts
    held.shake_hands()
    assert (held.leaf, held.stage.alpn) == (served.fingerprint, "h2")


@pytest.mark.parametrize("rounds", [3000])
def test_aborted_handshakes_and_replaced_certificates_leave_no_memory_behind(
    contexts: ServedContexts, layout: Layout, rounds: int
) -> None:
    """`python -m tests.edge_addon.transport.handshakes` makes a million."""
    from tests.edge_addon.transport.handshakes import strain

    strain(contexts, layout, rounds // 3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    strain(contexts, layout, rounds)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 3 * 1024, f"{grown} KB for {rounds} handshakes on {engine_in_force().name}"
