"""The running edge where `cryptography` binds less than it needs: it serves all the same, and says so everywhere."""

import ssl
from pathlib import Path

import pytest

from certstore.net.tls_engine import ENGINE_VARIABLE
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import certedge
from tests.deadlines import wait_for
from tests.running import drop_certificate, running_edge

CA = CertificateAuthority()
MAIN, SITE = CA.issue("edge.test"), CA.issue("a.test")
SETTINGS = {"listeners": [{"kind": "https"}], "workers": 1}
DOCTORED = """
from cryptography.hazmat.bindings.openssl.binding import Binding
del Binding.lib.SSL_use_PrivateKey
"""


def test_with_a_missing_binding_python_s_ssl_serves_and_status_says_why(tmp_path: Path) -> None:
    (tmp_path / "doctored").mkdir()
    (tmp_path / "doctored" / "sitecustomize.py").write_text(DOCTORED)
    environment = {"PYTHONPATH": str(tmp_path / "doctored"), ENGINE_VARIABLE: "openssl"}
    with running_edge(tmp_path, SETTINGS, {"main": MAIN, "a.test": SITE}, environment=environment) as edge:
        assert edge.fingerprint("https", "a.test") == SITE.fingerprint
        assert edge.fingerprint("https", "b.test") == MAIN.fingerprint
        renewed = CA.issue("a.test")
        drop_certificate(edge.store, "a.test", renewed)
        wait_for(lambda: edge.fingerprint("https", "a.test") == renewed.fingerprint, "the dropped certificate")

        reason = "does not bind SSL_use_PrivateKey"
        assert f"TLS runs on Python's ssl ({ssl.OPENSSL_VERSION}) instead of cryptography's OpenSSL" in edge.stderr
        assert reason in edge.stderr
        shown = certedge(edge.folder, "status")
        assert shown.code == 3
        assert reason in shown.out
        service = certedge(edge.folder, "status", "--json").json["service"]
        assert service["tls"] == f"{ssl.OPENSSL_VERSION} (ssl)"
        assert [each["code"] for each in service["problems"]] == ["tls_fallback"]


@pytest.mark.parametrize(("wish", "described"), [("ssl", f"{ssl.OPENSSL_VERSION} (ssl)"), ("openssl", "(openssl)")])
def test_the_engine_that_was_wished_for_serves_and_is_named(tmp_path: Path, wish: str, described: str) -> None:
    environment = {ENGINE_VARIABLE: wish}
    with running_edge(tmp_path, SETTINGS, {"main": MAIN}, environment=environment) as edge:
        assert edge.fingerprint("https", None) == MAIN.fingerprint
        assert described in edge.stderr
        service = certedge(edge.folder, "status", "--json").json["service"]
        assert service["tls"].endswith(described)
        assert service["problems"] == []
