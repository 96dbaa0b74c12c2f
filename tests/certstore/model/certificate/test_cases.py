"""Files from the field, each folder with what is right for it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from certstore.model.certificate.bundle import CertificateBundle, Refused, read_bundle
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.text import first_line

CASES = Path(__file__).parent / "cases"
THEN = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)

SERVED: dict[str, tuple[int, tuple[str, ...]]] = {
    # folder: certificates that are sent, codes of what is noted
    "ber-pkcs12-and-pkcs7/p12.lab.test": (2, ()),
    "cross-signed-chain-cut/one.lab.test": (3, ()),
    "cross-signed-chain-cut/two.lab.test": (3, ()),
    "file-not-recognised-is-not-named/a.lab.test": (2, ()),
    "file-not-recognised-is-not-named/b.lab.test": (2, ()),
    "leftover-fragment-vetoes-a-whole-pair/f0.lab.test": (2, ("left_out",)),
    "leftover-fragment-vetoes-a-whole-pair/f2.lab.test": (2, ("left_out",)),
    "must-staple-unsaid/m.lab.test": (2, ("must_staple",)),
    "password-file-with-a-mark/b.lab.test": (2, ()),
    "pfx-with-two-keys/mine.lab.test": (2, ()),
    "strict-parser-calls-good-certificates-damaged/s01.lab.test": (2, ()),
    "strict-parser-calls-good-certificates-damaged/s03.lab.test": (2, ()),
    "strict-parser-calls-good-certificates-damaged/s05.lab.test": (2, ()),
    "strict-parser-calls-good-certificates-damaged/s07.lab.test": (2, ()),
    "strict-parser-calls-good-certificates-damaged/s10.lab.test": (2, ()),
    "text-that-names-the-markers/comment.lab.test": (2, ()),
    "text-that-names-the-markers/note.lab.test": (2, ()),
    "tls-feature-unknown-number/t.lab.test": (2, ()),
    "trusted-certificate-block/t.lab.test": (2, ()),
    "windows-wrappings/a.lab.test": (2, ()),
}
REFUSED = {"explicit-curve-goes-live/x.lab.test": ("unsupported_key", "explicit parameters")}


def read(folder: str) -> CertificateBundle | Refused:
    place = CASES / folder
    files = [DroppedFile(each.name, each.read_bytes()) for each in sorted(place.iterdir())]
    password = next((first_line(each.content) for each in files if each.name.startswith("password")), None)
    return read_bundle(files, password=password, now=THEN, names=(place.name,))


def test_every_folder_has_its_right_value() -> None:
    folders = {str(each.parent.relative_to(CASES)) for each in CASES.rglob("*") if each.is_file()} - {"."}
    assert folders == SERVED.keys() | REFUSED.keys()


@pytest.mark.parametrize("folder", SERVED)
def test_served(folder: str) -> None:
    sent, noted = SERVED[folder]
    bundle = read(folder)
    assert isinstance(bundle, CertificateBundle), bundle
    assert bundle.primary.dns_names == (Path(folder).name,)
    assert bundle.primary.fullchain_pem.count(b"-----BEGIN CERTIFICATE-----") == sent
    assert tuple(each.code for each in bundle.problems) == noted


@pytest.mark.parametrize("folder", REFUSED)
def test_refused(folder: str) -> None:
    code, words = REFUSED[folder]
    verdict = read(folder)
    assert isinstance(verdict, Refused)
    assert [each.code for each in verdict.findings] == [code]
    assert words in verdict.message
