"""Which library does the TLS: the usual one, another by wish, and another where the usual one is not what it was."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cryptography
import pytest

from certstore.net import openssl_probe, tls_engine
from certstore.net.memory_handshake import shake_hands, trusting_client
from certstore.net.tls_engine import (
    ENGINE_VARIABLE,
    EngineName,
    engine_in_force,
    libraries_in_force,
    library_in_force,
    load,
)
from certstore.net.tls_server import server_context
from tests.certificates import CertificateAuthority
from tests.tls_engines import ENGINES, engine_of, forget_engine

CA = CertificateAuthority()
EC, RSA = CA.issue("a.test"), CA.issue("a.test", key_type="rsa2048")
PAIRS = [(each.fullchain_pem.decode(), each.privkey_pem.decode()) for each in (EC, RSA)]


@pytest.fixture(autouse=True)
def undecided() -> Iterator[None]:
    forget_engine()
    yield
    forget_engine()


def test_the_openssl_of_cryptography_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)
    engine = engine_in_force()
    assert (engine.name, engine.problem) == (EngineName.OPENSSL, "")
    assert f"cryptography {cryptography.__version__}" in engine.description


def test_python_s_ssl_serves_by_wish_and_that_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENGINE_VARIABLE, "ssl")
    engine = engine_in_force()
    assert (engine.name, engine.library, engine.problem) == (EngineName.SSL, ssl.OPENSSL_VERSION, "")


def test_an_unknown_wish_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENGINE_VARIABLE, "gnutls")
    engine = engine_in_force()
    assert engine.name is EngineName.SSL
    assert "'gnutls', expected 'openssl' or 'ssl'" in engine.problem


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (openssl_probe.Differs("no session resumes"), "no session resumes"),
        (AttributeError("SSL_new"), "SSL_new"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_whatever_the_probe_finds_python_s_ssl_takes_over(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, words: str
) -> None:
    def fail() -> None:
        raise fault

    monkeypatch.setattr(openssl_probe, "probe", fail)
    engine = engine_in_force()
    assert engine.name is EngineName.SSL
    assert engine.problem.startswith(f"TLS runs on Python's ssl ({ssl.OPENSSL_VERSION})")
    assert engine.problem.endswith(words)


DOCTORED = """
from cryptography.hazmat.bindings.openssl.binding import Binding
{}
"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("del Binding.lib.SSL_set_bio, Binding.lib.BIO_read", "does not bind BIO_read, SSL_set_bio"),
        ("Binding.lib.SSL_CTX_set_session_id_context = lambda *_: 1", "with the certificate of another"),
        ("Binding.lib.SSL_use_PrivateKey = lambda *_: 1", "no shared cipher"),
        ("Binding.lib.SSL_use_certificate = lambda *_: 1", "key values mismatch"),
        ("Binding.lib.SSL_CTX_set_alpn_select_cb = lambda *_: None", "a client gets another protocol"),
        ("Binding.lib.SSL_pending = None", "not callable"),
        ("Binding.lib = None", "does not bind"),
    ],
)
def test_doctored_bindings_are_noticed_before_a_client_comes(tmp_path: Path, change: str, words: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(DOCTORED.format(change))
    asked = (
        "from certstore.net.tls_engine import engine_in_force; print(engine_in_force().name, engine_in_force().problem)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    environment.pop(ENGINE_VARIABLE, None)
    found = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("ssl TLS runs on Python's ssl")
    assert words in found.stdout


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pairs", [PAIRS[:1], PAIRS[1:], PAIRS], ids=["EC", "RSA", "both"])
def test_what_is_loaded_for_a_trial_serves_on_the_engine_in_force(
    engine: EngineName, pairs: list[tuple[str, str]]
) -> None:
    with engine_of(engine):
        loaded = load(pairs)
        assert isinstance(loaded, ssl.SSLContext) is (engine is EngineName.SSL)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert shake_hands(loaded, trusting_client(version)).getpeercert(binary_form=True) in {
                EC.cert_der,
                RSA.cert_der,
            }


def test_a_verdict_holds_for_the_libraries_of_this_machine_at_one_security_level() -> None:
    level = f"security level {server_context().security_level}"
    with engine_of(EngineName.SSL):
        assert library_in_force() == f"{ssl.OPENSSL_VERSION}, {level}"
    with engine_of(EngineName.OPENSSL):
        assert library_in_force() == f"{engine_in_force().library}, and {ssl.OPENSSL_VERSION}, {level}"
        assert libraries_in_force() in library_in_force()


def test_the_variable_is_named_where_people_look_for_it() -> None:
    assert f"{tls_engine.ENGINE_VARIABLE}=ssl" in Path("README.md").read_text(encoding="utf-8")
