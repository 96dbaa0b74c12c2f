"""The ownership of what a connection is made of; `transport/test_served_contexts` shows what it does for clients."""

import dataclasses
import gc
import ssl
from typing import Any

import pytest

from certstore.net.memory_handshake import shake_hands, trusting_client
from certstore.net.openssl import NULL, ffi, lib, take_error
from certstore.net.openssl_contexts import ChainContexts, Servable
from certstore.net.openssl_credentials import decode
from certstore.net.openssl_stage import OpenSslStage, Scratch
from tests.certificates import CertificateAuthority

CA = CertificateAuthority()
ISSUED, OTHER = CA.issue("a.test"), CA.issue("b.test")


@pytest.fixture
def servable() -> Servable:
    return ChainContexts("1.2", [], Scratch()).servable(decode([(ISSUED.fullchain_pem, ISSUED.privkey_pem)]))


class Counted:
    """A function of the library that also counts its calls, and answers NULL from the given call on."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch, *, fails_from: int | None = None) -> None:
        self._call, self._fails_from = getattr(lib, name), fails_from
        self.given: list[Any] = []
        monkeypatch.setattr(lib, name, self)

    def __call__(self, *arguments: Any) -> Any:
        self.given.append(arguments[0] if arguments else None)
        if self._fails_from is not None and len(self.given) >= self._fails_from:
            return NULL
        return self._call(*arguments)


def test_each_connection_is_freed_once(servable: Servable, monkeypatch: pytest.MonkeyPatch) -> None:
    freed = Counted("SSL_free", monkeypatch)
    stages = [servable.stage() for _ in range(5)]
    assert freed.given == []
    del stages
    gc.collect()
    assert len(freed.given) == len({int(_address(each)) for each in freed.given}) == 5


def _address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


@pytest.mark.parametrize(("call", "freed"), [(1, [True, False]), (2, [False, True])])
def test_without_memory_for_a_queue_the_other_and_the_connection_are_freed(
    servable: Servable, monkeypatch: pytest.MonkeyPatch, call: int, freed: list[bool]
) -> None:
    monkeypatch.setattr(lib, "BIO_new", _null_at(call))
    queues, connections = Counted("BIO_free", monkeypatch), Counted("SSL_free", monkeypatch)
    with pytest.raises(MemoryError):
        servable.stage()
    gc.collect()
    assert [each == NULL for each in queues.given] == freed
    assert len(connections.given) == 1


def _null_at(call: int) -> Any:
    made, calls = lib.BIO_new, 0

    def new(kind: Any) -> Any:
        nonlocal calls
        calls += 1
        return NULL if calls == call else made(kind)

    return new


def test_without_memory_for_a_connection_nothing_is_freed(servable: Servable, monkeypatch: pytest.MonkeyPatch) -> None:
    Counted("SSL_new", monkeypatch, fails_from=1)
    queues, connections = Counted("BIO_free", monkeypatch), Counted("SSL_free", monkeypatch)
    with pytest.raises(MemoryError):
        servable.stage()
    assert (queues.given, connections.given) == ([], [])


def test_without_memory_for_smaller_queues_the_old_ones_serve_on(
    servable: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    Counted("BIO_new", monkeypatch, fails_from=3)
    shake_hands(servable, trusting_client(ssl.TLSVersion.TLSv1_3))


def test_a_key_that_is_not_the_certificate_s_never_serves_another_s(servable: Servable) -> None:
    pair, other = servable.credentials, decode([(OTHER.fullchain_pem, OTHER.privkey_pem)])
    (one,), (two,) = pair.pairs, other.pairs
    mixed = dataclasses.replace(pair, pairs=(dataclasses.replace(one, certificate=two.certificate),))
    with pytest.raises(ssl.SSLError, match="key values mismatch"):
        OpenSslStage(servable.context, mixed, servable.scratch)
    seen = shake_hands(servable, trusting_client(ssl.TLSVersion.TLSv1_3))
    assert seen.getpeercert(binary_form=True) == ISSUED.cert_der


def test_an_error_that_others_left_in_the_library_s_list_is_not_this_connection_s(servable: Servable) -> None:
    client = trusting_client(ssl.TLSVersion.TLSv1_3)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = client.wrap_bio(to_client, to_server), servable.stage()
    for _ in range(3):
        for side in (ours.do_handshake, theirs.handshake):
            _leave_an_error()
            try:
                side()
            except ssl.SSLWantReadError:
                pass
            theirs.feed(to_server.read())
            to_client.write(theirs.output())
    _leave_an_error()
    with pytest.raises(ssl.SSLWantReadError):
        theirs.read()
    _leave_an_error()
    theirs.write(b"sent")
    to_client.write(theirs.output())
    assert ours.read(10) == b"sent"


def _leave_an_error() -> None:
    bio = lib.BIO_new_mem_buf(b"none", 4)
    lib.PEM_read_bio_X509(bio, NULL, NULL, NULL)
    lib.BIO_free(bio)


# What Python's client can't do.


class RawClient:
    """A client on the same library, over memory."""

    def __init__(self, stage: OpenSslStage, *, version: int, groups: bytes | None = None) -> None:
        context = ffi.gc(lib.SSL_CTX_new(lib.TLS_client_method()), lib.SSL_CTX_free)
        lib.SSL_CTX_set_max_proto_version(context, version)
        can_choose = hasattr(lib, "SSL_CTX_set1_curves_list") and hasattr(lib, "SSL_get0_group_name")
        if groups is not None and not (can_choose and lib.SSL_CTX_set1_curves_list(context, groups) == 1):
            lib.ERR_clear_error()
            pytest.skip(f"this OpenSSL has no {groups.decode()}")
        self.tls = ffi.gc(lib.SSL_new(context), lib.SSL_free)
        self._incoming, self._outgoing = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
        lib.SSL_set_bio(self.tls, self._incoming, self._outgoing)
        lib.SSL_set_connect_state(self.tls)
        self._stage, self._buffer = stage, ffi.new("char[]", 1 << 16)

    def exchange(self) -> None:
        """What the client has to send reaches the stage."""
        size = lib.BIO_read(self._outgoing, self._buffer, 1 << 16)
        if size > 0:
            self._stage.feed(ffi.buffer(self._buffer, size)[:])

    def take(self) -> None:
        answer = self._stage.output()
        lib.BIO_write(self._incoming, answer, len(answer))

    def shake_hands(self) -> None:
        for _ in range(3):
            lib.SSL_do_handshake(self.tls)
            self.exchange()
            try:
                self._stage.handshake()
            except ssl.SSLWantReadError:
                pass
            self.take()
        assert lib.SSL_do_handshake(self.tls) == 1


def test_a_hybrid_post_quantum_key_exchange_is_made(servable: Servable) -> None:
    client = RawClient(servable.stage(), version=lib.TLS1_3_VERSION, groups=b"X25519MLKEM768")
    client.shake_hands()
    assert ffi.string(lib.SSL_get0_group_name(client.tls)).upper() == b"X25519MLKEM768"


def test_a_client_can_not_renegotiate(servable: Servable) -> None:
    stage = servable.stage()
    client = RawClient(stage, version=lib.TLS1_2_VERSION)
    client.shake_hands()
    assert stage.version == "TLSv1.2"
    assert lib.SSL_renegotiate(client.tls) == 1
    lib.SSL_do_handshake(client.tls)
    client.exchange()
    with pytest.raises(ssl.SSLWantReadError):
        stage.read()  # a warning is all that it answers (RFC 5246 section 7.2.2)
    client.take()
    assert lib.SSL_do_handshake(client.tls) != 1
    assert "no renegotiation" in str(take_error("nothing"))
