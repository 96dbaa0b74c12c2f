"""The TLS stage over memory, against Python's TLS client: server names, records, junk."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.transport.served_contexts import ServerStage
from edge_addon.transport.tls_stage import MAXIMUM_HELLO, Hello, HelloContext, HelloReader, NotTls, TlsStage
from tests.certificates import CertificateAuthority, Issued

CA = CertificateAuthority()
SITE = CA.issue("a.test")


class MemoryClient:
    """A TLS client over memory. With `issued_by` None it trusts no certificate."""

    def __init__(
        self,
        server_name: str | None,
        *,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        session: ssl.SSLSession | None = None,
        context: ssl.SSLContext | None = None,
        trusts: CertificateAuthority = CA,
    ) -> None:
        self.context = context or client_context(version, trusts)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name, session=session)

    def hello(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()


def client_context(version: ssl.TLSVersion, trusts: CertificateAuthority = CA) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=trusts.root_pem.decode())
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    return context


@pytest.fixture
def hellos() -> HelloContext:
    return HelloContext(ssl.TLSVersion.TLSv1_2)


def server_context(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("certificate")
    issued.write_to(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
    return context


def do_handshake(client: MemoryClient, stage: ServerStage, first: bytes = b"") -> None:
    """Pass bytes back and forth until both sides are done."""
    pending = first
    done = [False, False]
    for _ in range(10):
        for index, (end, feed, output, incoming) in enumerate(
            (
                (stage.handshake, stage.feed, stage.output, pending),
                (client.tls.do_handshake, client.incoming.write, client.outgoing.read, b""),
            )
        ):
            feed(incoming or pending)
            try:
                end()
                done[index] = True
            except ssl.SSLWantReadError:
                pass
            pending = output()
        if all(done) and not pending:
            return
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("server_name", ["a.test", "xn--bcher-kva.test", None])
def test_server_name_is_read_from_the_hello(
    hellos: HelloContext, version: ssl.TLSVersion, server_name: str | None
) -> None:
    sent = MemoryClient(server_name, version=version).hello()

    hello = HelloReader(hellos).feed(sent)

    assert isinstance(hello, Hello)
    assert hello.server_name == server_name
    assert hello.received == sent
    assert hello.refusal[:1] == b"\x15", "an alert record"
    assert hello.refusal[-1] == ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


@given(cuts=st.lists(st.integers(1, 600), max_size=12))
def test_hello_in_any_pieces_gives_the_same_name(cuts: list[int]) -> None:
    sent = MemoryClient("a.test").hello()
    reader = HelloReader(HelloContext(ssl.TLSVersion.TLSv1_2))
    positions = sorted({min(cut, len(sent) - 1) for cut in cuts})
    pieces = [sent[start:end] for start, end in zip([0, *positions], [*positions, len(sent)], strict=True)]

    answers = [reader.feed(piece) for piece in pieces]

    assert answers[:-1] == [None] * (len(pieces) - 1)
    assert isinstance(answers[-1], Hello)
    assert answers[-1].server_name == "a.test"
    assert answers[-1].received == sent


def test_readers_of_two_connections_do_not_mix_their_names(hellos: HelloContext) -> None:
    first, second = HelloReader(hellos), HelloReader(hellos)
    a, b = MemoryClient("a.test").hello(), MemoryClient("b.test").hello()

    assert first.feed(a[:50]) is None
    answer_b = second.feed(b)
    answer_a = first.feed(a[50:])

    assert isinstance(answer_a, Hello)
    assert isinstance(answer_b, Hello)
    assert (answer_a.server_name, answer_b.server_name) == ("a.test", "b.test")


def test_early_bytes_behind_the_hello_are_kept(hellos: HelloContext) -> None:
    sent = MemoryClient("a.test").hello() + b"\x17\x03\x03\x00\x01x"

    hello = HelloReader(hellos).feed(sent)

    assert isinstance(hello, Hello)
    assert hello.received == sent


@given(junk=st.binary(min_size=1, max_size=300))
def test_junk_never_raises_and_never_has_a_name(junk: bytes) -> None:
    answer = HelloReader(HelloContext(ssl.TLSVersion.TLSv1_2)).feed(b"\x16\x03\x01" + junk)

    assert answer is None or isinstance(answer, NotTls) or answer.server_name is None


def test_an_endless_hello_is_refused(hellos: HelloContext) -> None:
    reader = HelloReader(hellos)
    record = b"\x16\x03\x01\x40\x00"
    handshake = b"\x01\x01\x00\x00"  # a ClientHello that announces 64 KB

    answer: object = reader.feed(record + handshake + bytes(16380))
    fed = 16389
    while answer is None and fed < 2 * MAXIMUM_HELLO:
        answer = reader.feed(record + bytes(16384))
        fed += 16389

    assert isinstance(answer, NotTls)
    assert fed <= MAXIMUM_HELLO + 16389


def test_a_version_below_the_minimum_gets_openssls_alert() -> None:
    hellos = HelloContext(ssl.TLSVersion.TLSv1_3)

    answer = HelloReader(hellos).feed(MemoryClient("a.test", version=ssl.TLSVersion.TLSv1_2).hello())

    assert isinstance(answer, NotTls)
    assert answer.alert[-1] == ssl.ALERT_DESCRIPTION_PROTOCOL_VERSION


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_records_pass_both_ways_after_the_handshake(
    tmp_path_factory: pytest.TempPathFactory, hellos: HelloContext, version: ssl.TLSVersion
) -> None:
    client = MemoryClient("a.test", version=version)
    hello = HelloReader(hellos).feed(client.hello())
    assert isinstance(hello, Hello)
    stage = TlsStage(server_context(tmp_path_factory, SITE))
    do_handshake(client, stage, hello.received)

    body = bytes(range(256)) * 400
    stage.write(body)
    client.incoming.write(stage.output())
    received = b""
    while len(received) < len(body):
        received += client.tls.read(65536)
    client.tls.write(b"ping")
    stage.feed(client.outgoing.read())

    assert received == body
    assert stage.read() == b"ping"
    assert not stage.may_have_more
    assert stage.version == version.name.replace("TLSv1_", "TLSv1.")


def test_a_client_that_trusts_another_authority_refuses_the_certificate(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    client = MemoryClient("a.test", trusts=CertificateAuthority("Other CA"))
    stage = TlsStage(server_context(tmp_path_factory, SITE))

    with pytest.raises(ssl.SSLCertVerificationError):
        do_handshake(client, stage, client.hello())


def test_close_notify_reads_as_the_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    client = MemoryClient("a.test")
    stage = TlsStage(server_context(tmp_path_factory, SITE))
    do_handshake(client, stage, client.hello())

    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    stage.feed(client.outgoing.read())

    assert stage.read() == b""


def test_a_broken_record_raises_and_leaves_an_alert(tmp_path_factory: pytest.TempPathFactory) -> None:
    client = MemoryClient("a.test")
    stage = TlsStage(server_context(tmp_path_factory, SITE))
    do_handshake(client, stage, client.hello())
    client.tls.write(b"hello")
    record = bytearray(client.outgoing.read())
    record[-1] ^= 1

    stage.feed(bytes(record))
    with pytest.raises(ssl.SSLError, match=r"(?i)mac|decrypt"):
        stage.read()

    assert stage.output()[:1] in (b"\x15", b"\x17")  # the alert, which looks like data in TLS 1.3
