"""The certificates that prove names to a CA, over memory; `whole/test_tls_alpn01` shows them at the running edge."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from certstore.model.challenge import ACME_IDENTIFIER, ALPN_PROTOCOL, acme_identifier
from edge_addon.transport.served_contexts import ServedContext, open_stage
from edge_addon.transport.tls_contexts import OutOfFiles
from edge_addon.transport.validation import CAPACITY, ValidationContexts, make_certificate
from tests.descriptors import no_free_descriptor
from tests.edge_addon.transport.test_tls_stage import MemoryClient, do_handshake
from tests.tls_engines import ENGINES, engine_of

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
PROOF, OTHER = b"t" * 43 + b"." + b"k" * 43, b"u" * 43 + b"." + b"k" * 43


@pytest.fixture(params=ENGINES)
def contexts(request: pytest.FixtureRequest) -> Iterator[ValidationContexts]:
    with engine_of(request.param):
        yield ValidationContexts("1.2", lambda: NOW)


def shown(context: ServedContext, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The certificate that a client gets."""
    offering = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    offering.check_hostname = False
    offering.verify_mode = ssl.CERT_NONE
    offering.minimum_version = offering.maximum_version = version
    offering.set_alpn_protocols([ALPN_PROTOCOL])
    client, stage = MemoryClient("a.test", context=offering), open_stage(context)
    do_handshake(client, stage, client.hello())
    assert stage.alpn == ALPN_PROTOCOL
    certificate = client.tls.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def test_certificate_has_the_name_and_the_digest_of_the_proof() -> None:
    certificate = x509.load_pem_x509_certificate(make_certificate("a.test", PROOF, NOW))
    found = {each.oid.dotted_string: each for each in certificate.extensions}
    assert set(found) == {ACME_IDENTIFIER, x509.SubjectAlternativeName.oid.dotted_string}
    extension = found[ACME_IDENTIFIER]
    assert extension.critical
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value == acme_identifier(PROOF)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    assert certificate.not_valid_after_utc - NOW <= timedelta(days=7)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_one_certificate_serves_a_token_and_another_its_successor(
    contexts: ValidationContexts, version: ssl.TLSVersion
) -> None:
    first = shown(contexts.make("a.test", PROOF), version)
    assert shown(contexts.make("a.test", PROOF), version) == first
    assert shown(contexts.make("b.test", PROOF), version) != first
    assert shown(contexts.make("a.test", OTHER), version) != first
    assert shown(contexts.make("a.test", PROOF), version) != first, "the old key is gone"


def test_every_handshake_has_a_context_of_its_own(contexts: ValidationContexts) -> None:
    assert contexts.make("a.test", PROOF) != contexts.make("a.test", PROOF)


def test_certificates_are_kept_for_a_bounded_number_of_names(contexts: ValidationContexts) -> None:
    first, kept = (shown(contexts.make(name, PROOF)) for name in ("first.test", "kept.test"))
    for number in range(CAPACITY - 1):
        contexts.make(f"n{number}.test", PROOF)
        shown(contexts.make("kept.test", PROOF)) if number == 0 else None
    assert shown(contexts.make("kept.test", PROOF)) == kept
    assert shown(contexts.make("first.test", PROOF)) != first


def test_forgotten_name_gets_a_new_certificate(contexts: ValidationContexts) -> None:
    first = shown(contexts.make("a.test", PROOF))
    contexts.forget("a.test")
    contexts.forget("never.test")
    assert shown(contexts.make("a.test", PROOF)) != first


def test_key_is_written_to_no_file_system(contexts: ValidationContexts, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        contexts.make("a.test", PROOF)
    assert list(tmp_path.iterdir()) == []


def test_want_of_descriptors_is_told_from_other_faults(contexts: ValidationContexts) -> None:
    contexts.make("a.test", PROOF)
    with no_free_descriptor(), pytest.raises(OutOfFiles):
        contexts.make("a.test", PROOF)
    assert shown(contexts.make("a.test", PROOF))
