"""Certificate files and site.yaml: whatever a tenant drops is read or refused with words, and never raises."""

from __future__ import annotations

import contextlib
import datetime as dt

from certstore.model.certificate.bundle import CertificateBundle, Refused, choose_bundle
from certstore.model.certificate.contents import Unlocked, read_contents
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.pem import find_blocks
from certstore.model.settings.loading import SettingsError, parse_site
from tests.certificates import CertificateAuthority
from tests.fuzz.target import Target, words

_CA = CertificateAuthority()
_ONE = _CA.issue("a.test", "b.test")
_NOW = dt.datetime.now(dt.UTC)


def _closed(content: bytes, password: bytes | None) -> Unlocked:
    """Protected files are opened in a child process, which has limits; here only what finds them is tried."""
    raise ValueError("not opened here")


def check_certificate_file(data: bytes) -> None:
    find_blocks(data)
    _choose(DroppedFile("a.pem", data))


def check_certificate_beside_its_key(data: bytes) -> None:
    _choose(DroppedFile("a.crt", data), DroppedFile("a.key", _ONE.privkey_pem))


def _choose(*files: DroppedFile) -> None:
    result = choose_bundle(read_contents(files, b"secret", _closed), names=(), now=_NOW)
    assert isinstance(result, CertificateBundle | Refused)
    if isinstance(result, Refused):
        assert result.findings


def check_site_yaml(data: bytes) -> None:
    with contextlib.suppress(SettingsError):
        parse_site(data.decode("utf-8", "replace"), "site.yaml")


_MARKS = (
    b"-----BEGIN ",
    b"-----END ",
    b"CERTIFICATE-----",
    b"PRIVATE KEY-----",
    b"TRUSTED CERTIFICATE-----",
    b"\r\n",
    b"\n",
    b"EC PRIVATE KEY-----",
    b"Proc-Type: 4,ENCRYPTED\n",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"=",
    b"MII",
    b"X509 CRL-----",
    b"PKCS7-----",
)
_DER = (
    b"\x30",
    b"\x30\x80",
    b"\x30\x82\x01\x00",
    b"\x06\x03\x55\x1d\x11",
    b"\x02\x01\x00",
    b"\x03\x02\x00\x01",
    b"\x04\x00",
    b"\x05\x00",
    b"\x0c\x01a",
    b"\x13\x01*",
    b"\x17\x0d260101000000Z",
    b"\x01\x01\xff",
    b"\xa3",
    b"\xa0\x03\x02\x01\x02",
    b"\x82\x06b.test",
    b"\x84\xff\xff\xff\xff",
)
TARGETS = {
    "pem": Target(
        check_certificate_file,
        (_ONE.combined_pem, _ONE.fullchain_pem, _ONE.privkey_pem, _ONE.encrypted_privkey_pem(b"secret"), b"hello"),
        _MARKS,
        6000,
    ),
    "der": Target(check_certificate_beside_its_key, (_ONE.cert_der, _ONE.pkcs12(b"secret")), _DER, 3000),
    "site-yaml": Target(
        check_site_yaml,
        (
            b"names: [a.test, '*.b.test']\ncertificate: acme\nkey_type: ecdsa\n",
            b"upstream: http://127.0.0.1:8080\ninspect: true\n",
            b"contact: a@b.test\nupstream:\n  - url: https://a.test\n    name: b\n",
            b"certificate: main\n",
        ),
        (
            *words(
                "names: certificate: upstream: inspect: contact: key_type: acme main file true ~ null {a: [ ] } & * !"
                " !! | > - : , # --- ... <<: %YAML 0x1 1e9 .inf 2026-01-01"
            ),
            b"\n",
            b"\n  ",
            b"\n- ",
            b"&a ",
            b"*a",
            b"!!python/object:os.system",
            b"\t",
            b"\xc3\xa4",
            b"\x00",
            b"'",
            b'"',
        ),
        300,
    ),
}
