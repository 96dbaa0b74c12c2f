"""Shared by the tests of `read_bundle`: an authority, two leaves of it, and reading them in one line."""

from __future__ import annotations

import datetime as dt
from typing import TypedDict, Unpack

from certstore.model.certificate.bundle import CertificateBundle, KeyPair, Refused, read_bundle
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Finding
from tests.certificates import CertificateAuthority, Issued

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
CA = CertificateAuthority()
ONE = CA.issue("a.test", "b.test")
OTHER = CA.issue("a.test", "b.test")
PASSWORD = b"correct horse"


class Options(TypedDict, total=False):
    password: bytes | None
    names: tuple[str, ...]
    force: bool
    now: dt.datetime


def read(
    *contents: bytes,
    password: bytes | None = None,
    names: tuple[str, ...] = (),
    force: bool = False,
    now: dt.datetime = NOW,
) -> CertificateBundle | Refused:
    """Each content is a file whose name says nothing: file0.bin, file1.bin, …"""
    files = [DroppedFile(f"file{index}.bin", content) for index, content in enumerate(contents)]
    return read_bundle(files, password=password, names=names, force=force, now=now)


def accepted(*contents: bytes, **options: Unpack[Options]) -> CertificateBundle:
    result = read(*contents, **options)
    assert isinstance(result, CertificateBundle), result
    return result


def refused(*contents: bytes, **options: Unpack[Options]) -> list[Finding]:
    result = read(*contents, **options)
    assert isinstance(result, Refused), result
    return list(result.findings)


def is_whole(pair: KeyPair, issued: Issued) -> bool:
    """The pair is exactly what was issued, in normal form."""
    return (pair.fingerprint, pair.privkey_pem, pair.fullchain_pem) == (
        issued.fingerprint,
        issued.privkey_pem,
        issued.fullchain_pem,
    )


def cut(pem: bytes, part: float) -> bytes:
    return pem[: int(len(pem) * part)]
