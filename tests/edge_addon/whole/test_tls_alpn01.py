"""TLS-ALPN-01 at the running edge (RFC 8737): only a CA's hello for a name under validation gets its proof.

Everything else that offers `acme-tls/1` gets an alert, and the handshakes of sites go on as if nothing were there.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certstore.model.challenge import ACME_IDENTIFIER, ALPN_PROTOCOL, acme_identifier
from certstore.model.layout import Layout
from certstore.net.own_address import PROXY_V2_LOCAL
from edge_addon.transport import alpn
from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.edge_addon.transport.test_alpn import cut
from tests.running import RunningEdge, running_edge

CA = CertificateAuthority()
MAIN, SITE = CA.issue("edge.test"), CA.issue("a.test")
PROOF = "t" * 43 + "." + "k" * 43
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
NO_PROTOCOL = "alert no application protocol"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    settings = {
        "listeners": [
            {"kind": "https"},
            {"kind": "https", "accept_proxy_protocol": True},
            {"kind": "imaps", "upstream": "127.0.0.1:9"},
            {"kind": "imap", "upstream": "127.0.0.1:9"},
        ],
        "upstream": "http://127.0.0.1:9",  # nobody listens there: a request that is relayed gets a 502
        "trusted_proxies": ["127.0.0.1/32"],
        "workers": 1,
    }
    with running_edge(tmp_path_factory.mktemp("edge"), settings, {"main": MAIN, "a.test": SITE}) as running:
        wait_for(lambda: running.fingerprint("https", "a.test") == SITE.fingerprint, "the site is served")
        yield running


@contextmanager
def under_validation(edge: RunningEdge, *names: str, proof: str = PROOF) -> Iterator[None]:
    """As control publishes it."""
    paths = [path for name in names if (path := Layout(edge.store).alpn_challenge(name)) is not None]
    for path in paths:
        path.write_text(proof)
    try:
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Shown:
    """What a handshake ended in: a certificate and a protocol, or the reason of the client's library."""

    certificate: bytes | None = None
    protocol: str | None = None
    version: str | None = None
    session: ssl.SSLSession | None = None
    was_resumed: bool = False
    after: bytes = b""
    refusal: str = ""

    @property
    def proof(self) -> bytes | None:
        if self.certificate is None:
            return None
        extensions = x509.load_der_x509_certificate(self.certificate).extensions
        found = [each for each in extensions if each.oid.dotted_string == ACME_IDENTIFIER]
        if not found:
            return None
        assert found[0].critical
        assert isinstance(found[0].value, x509.UnrecognizedExtension)
        return found[0].value.value


def client_context(*protocols: str, version: ssl.TLSVersion = TLS_1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def shake_hands(
    edge: RunningEdge,
    name: str | None,
    *protocols: str,
    kind: str = "https",
    position: int = 0,
    first: bytes = b"",
    context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
    version: ssl.TLSVersion = TLS_1_3,
    sends: bytes = b"",
) -> Shown:
    """`first` comes before TLS, and `sends` after the handshake."""
    context = context or client_context(*protocols, version=version)
    with closing(socket.create_connection(("127.0.0.1", edge.port(kind, position)), timeout=60)) as plain:
        plain.sendall(first)
        try:
            with context.wrap_socket(plain, server_hostname=name, session=session) as secure:
                secure.settimeout(60)
                if sends:
                    with suppress(OSError):
                        secure.sendall(sends)
                after = b""
                with suppress(ConnectionError, ssl.SSLError):
                    while data := secure.recv(65536):
                        after += data
                        if not sends:
                            break
                return Shown(
                    secure.getpeercert(binary_form=True),
                    secure.selected_alpn_protocol(),
                    secure.version(),
                    secure.session,
                    bool(secure.session_reused),
                    after,
                )
        except ssl.SSLError as error:
            return Shown(refusal=str(error))


def validate(edge: RunningEdge, name: str | None = "a.test", **how: object) -> Shown:
    """As a CA does."""
    return shake_hands(edge, name, ALPN_PROTOCOL, **how)  # type: ignore[arg-type]


def is_proven(shown: Shown, proof: str = PROOF) -> bool:
    return shown.protocol == ALPN_PROTOCOL and shown.proof == acme_identifier(proof.encode())


REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_name_under_validation_is_proven_and_the_connection_closes(edge: RunningEdge, version: ssl.TLSVersion) -> None:
    with under_validation(edge, "a.test"):
        shown = validate(edge, version=version, sends=REQUEST)
    assert is_proven(shown)
    assert shown.version == {TLS_1_2: "TLSv1.2", TLS_1_3: "TLSv1.3"}[version]
    assert shown.after == b"", "no session answers"
    assert shown.certificate is not None
    certificate = x509.load_der_x509_certificate(shown.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.test"]
    assert len(names) == 1
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    certificate.verify_directly_issued_by(certificate)


def test_name_without_a_site_can_be_proven_too(edge: RunningEdge) -> None:
    with under_validation(edge, "new.test"):
        assert is_proven(validate(edge, "new.test"))
        assert is_proven(validate(edge, "NEW.test"))


@pytest.mark.parametrize(
    ("name", "protocols"),
    [
        ("b.test", (ALPN_PROTOCOL,)),
        (None, (ALPN_PROTOCOL,)),
        ("www.a.test", (ALPN_PROTOCOL,)),
        ("a.test", (ALPN_PROTOCOL, "h2")),
        ("a.test", ("h2", "http/1.1", ALPN_PROTOCOL)),
        ("a.test", (ALPN_PROTOCOL, "imap")),
    ],
    ids=["another name", "no name", "a name below", "before h2", "behind the web's", "with mail's"],
)
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_any_other_offer_gets_an_alert(
    edge: RunningEdge, name: str | None, protocols: tuple[str, ...], version: ssl.TLSVersion
) -> None:
    with under_validation(edge, "a.test"):
        assert NO_PROTOCOL in shake_hands(edge, name, *protocols, version=version).refusal


def test_nothing_is_proven_once_the_token_is_gone(edge: RunningEdge) -> None:
    with under_validation(edge, "a.test"):
        assert is_proven(validate(edge))
    assert NO_PROTOCOL in validate(edge).refusal


def test_new_token_of_the_same_name_makes_a_new_certificate(edge: RunningEdge) -> None:
    with under_validation(edge, "a.test"):
        first, again = validate(edge), validate(edge)
    other = "u" * 43 + "." + "k" * 43
    with under_validation(edge, "a.test", proof=other):
        second = validate(edge)
    assert first.certificate == again.certificate
    assert is_proven(second, other)
    assert second.certificate != first.certificate


@pytest.mark.parametrize(
    "content",
    ["", "not a key authorization", "x" * 5000, "-----BEGIN PRIVATE KEY-----\nMIG"],
    ids=lambda text: text[:9],
)
def test_file_that_is_no_key_authorization_proves_nothing(edge: RunningEdge, content: str) -> None:
    with under_validation(edge, "a.test", proof=content):
        assert NO_PROTOCOL in validate(edge).refusal


def test_link_in_the_folder_is_not_followed(edge: RunningEdge, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text(PROOF)
    path = Layout(edge.store).alpn_challenge("linked.test")
    assert path is not None
    path.symlink_to(target)
    try:
        assert NO_PROTOCOL in validate(edge, "linked.test").refusal
    finally:
        path.unlink()


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_sessions_do_not_pass_between_a_site_and_a_validation(edge: RunningEdge, version: ssl.TLSVersion) -> None:
    context = client_context(version=version)
    at_site = shake_hands(edge, "a.test", context=context, sends=REQUEST)
    assert at_site.session is not None
    resumed = shake_hands(edge, "a.test", context=context, session=at_site.session, sends=REQUEST)
    assert resumed.was_resumed, "the site's sessions do resume"
    context.set_alpn_protocols([ALPN_PROTOCOL])
    with under_validation(edge, "a.test"):
        shown = shake_hands(edge, "a.test", context=context, session=at_site.session)
        assert is_proven(shown)
        assert not shown.was_resumed
        if shown.session is not None:
            again = shake_hands(edge, "a.test", context=context, session=shown.session)
            assert is_proven(again)
            assert not again.was_resumed


@pytest.mark.parametrize("size", [1, 7, 100])
def test_hello_cut_into_records_and_packets_is_read_whole(edge: RunningEdge, size: int) -> None:
    with under_validation(edge, "a.test"):
        for offers, is_fine in (((ALPN_PROTOCOL,), True), (("h2", ALPN_PROTOCOL), False)):
            client = client_context(*offers)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client.wrap_bio(incoming, outgoing, server_hostname="a.test")
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            hello = cut(outgoing.read(), size)
            with closing(socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60)) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(0, len(hello), max(len(hello) // 5, 1)):
                    plain.sendall(hello[at : at + max(len(hello) // 5, 1)])
                if not is_fine:
                    assert plain.recv(65536) == alpn.NO_APPLICATION_PROTOCOL
                    continue
                while True:
                    incoming.write(plain.recv(65536))
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        continue
                assert tls.selected_alpn_protocol() == ALPN_PROTOCOL
                assert is_proven(Shown(tls.getpeercert(binary_form=True), tls.selected_alpn_protocol()))


def test_proxy_header_may_come_first(edge: RunningEdge) -> None:
    source = b"PROXY TCP4 203.0.113.9 127.0.0.1 4000 443\r\n"
    with under_validation(edge, "a.test"):
        for header in (source, PROXY_V2_LOCAL):
            assert is_proven(validate(edge, position=1, first=header))
        assert NO_PROTOCOL in validate(edge, "b.test", position=1, first=source).refusal


def test_http2_client_that_offers_it_too_is_refused_and_without_it_served(edge: RunningEdge) -> None:
    with under_validation(edge, "a.test"):
        assert NO_PROTOCOL in shake_hands(edge, "a.test", "h2", ALPN_PROTOCOL).refusal
        served = shake_hands(
            edge, "a.test", "h2", "http/1.1", sends=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\njunk" + b"\0" * 20
        )
    assert served.protocol == "h2"
    assert served.certificate == ssl.PEM_cert_to_DER_cert(SITE.cert_pem.decode())


def test_http2_talk_after_a_validation_gets_no_answer(edge: RunningEdge) -> None:
    with under_validation(edge, "a.test"):
        shown = validate(edge, sends=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    assert is_proven(shown)
    assert shown.after == b""


def test_mail_listeners_never_prove_a_name(edge: RunningEdge) -> None:
    with under_validation(edge, "a.test"):
        for offers in ((ALPN_PROTOCOL,), ("imap", ALPN_PROTOCOL)):
            assert NO_PROTOCOL in shake_hands(edge, "a.test", *offers, kind="imaps").refusal
        with closing(socket.create_connection(("127.0.0.1", edge.port("imap")), timeout=60)) as plain:
            reader = plain.makefile("rb")
            assert reader.readline().startswith(b"* OK")
            plain.sendall(b"a STARTTLS\r\n")
            assert reader.readline().startswith(b"a OK")
            with pytest.raises(ssl.SSLError) as refused:
                client_context(ALPN_PROTOCOL).wrap_socket(plain, server_hostname="a.test")
        assert NO_PROTOCOL in str(refused.value)


@pytest.mark.parametrize("protocols", [(), ("h2", "http/1.1"), ("http/1.1",)], ids=["none", "h2", "http/1.1"])
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_handshakes_of_the_site_are_the_same_while_its_name_is_under_validation(
    edge: RunningEdge, protocols: tuple[str, ...], version: ssl.TLSVersion
) -> None:
    def visit() -> tuple[object, ...]:
        shown = shake_hands(
            edge, "a.test", *protocols, version=version, sends=REQUEST if "h2" not in protocols else b"x"
        )
        return shown.certificate, shown.protocol, shown.version, shown.refusal, shown.after[:12]

    before = visit()
    with under_validation(edge, "a.test"):
        assert is_proven(validate(edge))
        assert visit() == before
    assert before[0] == ssl.PEM_cert_to_DER_cert(SITE.cert_pem.decode())
