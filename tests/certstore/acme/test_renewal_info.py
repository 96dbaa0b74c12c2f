"""Windows, `replaces` and `alreadyReplaced` at a Pebble with ARI in front of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certstore.acme.issue import Issuer
from certstore.acme.network import Conversation
from certstore.acme.renewal_info import RenewalInfoAnswer, ask_renewal_info, certificate_id, read_window
from certstore.model.certificate.pem import to_pem
from certstore.model.renewal.ca import find_ca
from tests.certstore.acme.workshop import AGREED, Workshop, workshop
from tests.certstore.model.certificate.odd_certificates import (
    FEATURES,
    SERIAL,
    changed,
    put,
    sequence,
    to_text,
    with_extension,
)
from tests.certstore.model.certificate.odd_certificates import LEAF as ODD_LEAF
from tests.peers.renewal_windows import RenewalWindows

pytestmark = pytest.mark.peer

START = datetime(2027, 3, 1, tzinfo=UTC)
WINDOW = (START, START + timedelta(days=2))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with workshop(tmp_path_factory.mktemp("ca")) as made:
        yield made


@pytest.fixture
def front(shop: Workshop, tmp_path: Path) -> Iterator[RenewalWindows]:
    with RenewalWindows(shop.pebble, tmp_path) as made:
        made.window = WINDOW
        yield made


@contextmanager
def issuer_at(shop: Workshop, front: RenewalWindows) -> Iterator[Issuer]:
    anonymous = Conversation.begin(front.directory, ca_file=front.ca_file)
    account = shop.accounts.ensure(find_ca(front.directory), anonymous, AGREED)
    own = account.sign_in(anonymous)
    try:
        yield Issuer(own, account, shop.context())
    finally:
        own.close()
        anonymous.close()


def ask(front: RenewalWindows, certificate: str = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE") -> RenewalInfoAnswer:
    conversation = Conversation.begin(front.directory, ca_file=front.ca_file)
    try:
        return ask_renewal_info(conversation, certificate)
    finally:
        conversation.close()


def numbered(serial: int) -> bytes:
    """A certificate in PEM with this serial number, and the key identifier of RFC 9773's example."""
    key_identifier = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")
    authority_key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(authority_key.public_key())
        .serial_number(serial)
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=1))
        .add_extension(x509.AuthorityKeyIdentifier(key_identifier, None, None), critical=False)
    )
    return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_certificate_is_named_by_its_authority_and_serial() -> None:
    """The example of RFC 9773 §4.1: a serial whose highest bit is set keeps its leading zero byte."""
    assert certificate_id(numbered(0x8765_4321)) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
def test_negative_serial_is_named_by_its_bytes() -> None:
    """Some in-house CAs have issued them, and RFC 5280 §4.1.2.2 asks to be prepared."""
    der = x509.load_pem_x509_certificate(numbered(0x7765_4321)).public_bytes(serialization.Encoding.DER)
    negative = der.replace(b"\x77\x65\x43\x21", b"\x87\x65\x43\x21", 1)
    assert certificate_id(to_pem("CERTIFICATE", negative)) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.h2VDIQ"


def test_window_and_its_explanation_are_read(front: RenewalWindows) -> None:
    front.explanation_url = "https://ca.test/why"
    answer = ask(front)
    assert answer.window is not None
    assert (answer.window.start, answer.window.end) == WINDOW
    assert answer.window.explanation_url == "https://ca.test/why"
    assert answer.retry_after is not None
    assert answer.retry_after.total_seconds() == pytest.approx(6 * 3600, abs=60)
    assert front.asked == ["aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"]


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"oops"),
        (404, b'{"type": "urn:ietf:params:acme:error:malformed", "detail": "unknown"}'),
        (200, b"no json"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"suggestedWindow": {"start": "2027-03-01T00:00:00", "end": "2027-03-02T00:00:00"}}'),
        (200, b'{"suggestedWindow": {"start": "soon", "end": "later"}}'),
        (200, b'{"suggestedWindow": {"start": 1, "end": 2}}'),
        (200, b'{"suggestedWindow": {"start": "2027-03-02T00:00:00Z", "end": "2027-03-01T00:00:00Z"}}'),
        (200, b'{"suggestedWindow": {"start": "2027-03-02T00:00:00Z", "end": "2027-03-02T00:00:00Z"}}'),
    ],
    ids=["error", "unknown", "text", "list", "empty", "no zone", "words", "numbers", "backwards", "no length"],
)
def test_bad_window_is_no_window_and_says_why(front: RenewalWindows, answer: tuple[int, bytes]) -> None:
    front.answer = answer
    found = ask(front)
    assert found.window is None
    assert found.problem


def test_ca_without_windows_is_asked_no_further(shop: Workshop) -> None:
    conversation = shop.conversation()
    assert ask_renewal_info(conversation, "x.y").window is None
    conversation.close()


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://ca.test/\x1b[31m", 7, None])
def test_explanation_that_is_no_link_is_not_shown(url: object) -> None:
    facts = {"suggestedWindow": {"start": "2027-03-01T00:00:00Z", "end": "2027-03-02T00:00:00Z"}, "explanationURL": url}
    assert read_window(facts).explanation_url is None


def test_renewal_names_the_certificate_that_it_replaces_once(shop: Workshop, front: RenewalWindows) -> None:
    with issuer_at(shop, front) as issuer:
        request = replace(shop.request("a.test"), ca=find_ca(front.directory).key)
        first = {each.name: each.content for each in issuer.issue(request)}
        shop.journal.remove("a.test")
        old = certificate_id(first["fullchain.pem"])
        assert old is not None
        assert front.replaced == []
        issuer.issue(replace(request, replaces=old))
        shop.journal.remove("a.test")
        assert front.replaced == [old]
        assert front.refused == []


def test_certificate_that_was_replaced_already_is_ordered_without_saying_so(
    shop: Workshop, front: RenewalWindows
) -> None:
    front.replaced.append("x.y")
    with issuer_at(shop, front) as issuer:
        request = replace(shop.request("b.test"), ca=find_ca(front.directory).key, replaces="x.y")
        files = {each.name for each in issuer.issue(request)}
        shop.journal.remove("b.test")
    assert files == {"privkey.pem", "fullchain.pem"}
    assert front.refused == ["x.y"]


def test_replaces_is_not_sent_to_a_ca_without_windows(shop: Workshop) -> None:
    with shop.issuer() as issuer:
        issuer.issue(shop.request("c.test", replaces="x.y"))
    shop.journal.remove("c.test")


def test_odd_certificate_has_an_identifier_too() -> None:
    """Imported ones are renewed as any other; a strict parser would end the renewals of all."""
    odd = changed(put(SERIAL, b"\x02\x01\xfb"), with_extension(FEATURES, sequence(b"\x02\x01\x63")))
    identifier = certificate_id(to_text(odd) + ODD_LEAF.chain_pem)
    assert identifier is not None
    assert identifier.endswith(".-w")
