"""The probe passes here, and fails where clients would be served wrongly; `test_tls_engine` has what follows."""

import ssl

import pytest

from certstore.net import openssl_probe
from certstore.net.openssl_contexts import ChainContexts
from certstore.net.openssl_stage import OpenSslStage


def test_this_library_passes_again_and_again() -> None:
    for _ in range(3):
        openssl_probe.probe()


def _another_first(self: OpenSslStage) -> bytes:
    return _READ(self)[::-1]


_READ = OpenSslStage.read


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("OpenSslStage.read", _another_first, "data does not arrive"),
        ("OpenSslStage.alpn", property(lambda _: "h3"), "data does not arrive"),
        ("ChainContexts.servable", ChainContexts.alone, "do not share a context"),
    ],
)
def test_what_a_client_would_notice_the_probe_notices(
    monkeypatch: pytest.MonkeyPatch, name: str, change: object, words: str
) -> None:
    monkeypatch.setattr(f"certstore.net.openssl_probe.{name}", change)
    with pytest.raises(openssl_probe.Differs, match=words):
        openssl_probe.probe()


def test_a_closing_that_says_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenSslStage, "close_notify", lambda _: None)
    with pytest.raises(ssl.SSLError):
        openssl_probe.probe()
