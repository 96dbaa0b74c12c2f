"""Recognising what files hold; no file makes it raise or hang."""

import base64
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certstore.model.certificate.bundle import CertificateBundle, Refused
from certstore.model.certificate.contents import PROTECTED_LIMIT, TooMuchWork, Unlocked, read_contents
from certstore.model.certificate.der import encoded
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Refusal
from certstore.model.certificate.pem import to_pem
from tests.certstore.model.bundles import CA, ONE, PASSWORD, read
from tests.certstore.model.certificate.odd_certificates import LEAF as ODD
from tests.certstore.model.certificate.odd_certificates import (
    POLICIES,
    SAN,
    SERIAL,
    changed,
    put,
    sequence,
    with_extension,
)

RSA = CA.issue("a.test", key_type="rsa2048")


def test_same_certificate_and_key_are_kept_once_with_the_first_file_s_name() -> None:
    files = [DroppedFile(name, ONE.combined_pem) for name in ("first", "second")]
    contents = read_contents([*files, DroppedFile("third", ONE.cert_der)], None)
    assert [(facts.label, file) for facts, file in contents.certificates.items()] == [
        ("a.test", "first"),
        ("CN=Test CA Intermediate", "first"),
    ]
    assert [key.file for key in contents.keys.values()] == ["first"]


def test_files_that_hold_neither_are_named_and_no_fault() -> None:
    contents = read_contents([DroppedFile("notes.txt", b"hello"), DroppedFile("a.pem", ONE.combined_pem)], None)
    assert contents.ignored == ("notes.txt",)
    assert contents.faults == contents.locked == ()


# A file says itself how often its password is hashed.


def encrypted_der() -> bytes:
    lines = ONE.encrypted_privkey_pem(PASSWORD).splitlines()
    return base64.b64decode(b"".join(lines[1:-1]))


def test_no_more_protected_keys_are_opened_than_belong_to_one_site() -> None:
    opened = []

    def count(content: bytes, password: bytes | None) -> Unlocked:
        opened.append(content)
        raise ValueError

    files = [DroppedFile(f"{number}.p12", ONE.pkcs12(PASSWORD)) for number in range(PROTECTED_LIMIT)]
    files += [DroppedFile("keys.pem", ONE.encrypted_privkey_pem(PASSWORD) * 20)]
    found = read_contents(files, PASSWORD, count)
    assert {each.code for each in found.pieces} == {Refusal.TOO_LARGE}
    assert "keys.pem" in found.pieces[0].found
    assert len(opened) == PROTECTED_LIMIT


def test_after_one_that_takes_too_long_no_other_is_opened() -> None:
    opened = []

    def endless(content: bytes, password: bytes | None) -> Unlocked:
        opened.append(content)
        raise TooMuchWork

    files = [DroppedFile("a.pem", ONE.encrypted_privkey_pem(PASSWORD)), DroppedFile("b.p12", ONE.pkcs12(PASSWORD))]
    found = read_contents(files, PASSWORD, endless)
    assert [each.code for each in found.pieces] == [Refusal.UNREADABLE]
    assert "the private key in a.pem takes too long to open" in found.pieces[0].found
    assert len(opened) == 1


# Strangers' files may hold thousands of each.


@pytest.mark.parametrize(
    ("piece", "what"),
    [
        (lambda number: ONE.cert_der[:-2] + bytes([number % 256, number // 256]), "CERTIFICATE"),
        (lambda number: ONE.privkey_der + bytes([number % 256, number // 256]), "PRIVATE KEY"),
    ],
    ids=["certificates", "keys"],
)
def test_thousands_of_blocks_are_counted_and_not_loaded(piece: Callable[[int], bytes], what: str) -> None:
    files = [
        DroppedFile(f"{number}.pem", b"".join(to_pem(what, piece(1000 * number + each)) for each in range(1000)))
        for number in range(3)
    ]
    begun = time.process_time()
    found = read_contents(files, None)
    assert time.process_time() - begun < 0.5
    assert Refusal.TOO_LARGE in {each.code for each in found.faults}
    assert "3000" in found.faults[-1].message


def test_the_same_intermediates_in_many_files_count_once() -> None:
    files = [DroppedFile(f"{number}.pem", ONE.fullchain_pem) for number in range(300)]
    assert read_contents(files, None).faults == ()


@pytest.mark.parametrize("label", ["PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
def test_headers_in_blocks_that_have_none_are_not_read(label: str) -> None:
    """RFC 7468 §2: only the labels of RFC 1421 have headers."""
    traditional = ONE.encrypted_privkey_pem(PASSWORD, traditional=True)
    content = traditional.replace(b"EC PRIVATE KEY", label.encode())

    def never(content: bytes, password: bytes | None) -> Unlocked:
        raise AssertionError("it was opened")

    found = read_contents([DroppedFile("key.pem", content)], PASSWORD, never)
    assert [each.code for each in found.pieces] == [Refusal.UNREADABLE]


# Any file at all

PIECES = [
    ONE.privkey_pem, ONE.cert_pem, ONE.chain_pem, CA.root_pem, RSA.privkey_pem, RSA.cert_pem,
    ONE.encrypted_privkey_pem(PASSWORD), ONE.encrypted_privkey_pem(PASSWORD, traditional=True),
    ONE.cert_der, ONE.privkey_der, ONE.pkcs12(), b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n",
    b"-----BEGIN PRIVATE KEY-----\n", b"AAAA\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Pieces in any order with a few bytes changed, taken out or put in."""
    content = bytearray(b"".join(draw(st.lists(st.sampled_from(PIECES), max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(content)))
        change = draw(st.sampled_from(["set", "cut", "insert"]))
        if change == "set" and position < len(content):
            content[position] = draw(st.integers(0, 255))
        elif change == "cut":
            del content[position : position + draw(st.integers(1, 200))]
        else:
            content[position:position] = draw(st.binary(max_size=8))
    return bytes(content)


# The crypto library warns of oddities in certificates that mutation makes; a warning is not what this is about.
@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    st.lists(mutated() | st.binary(max_size=60), max_size=3),
    st.sampled_from([None, b"", PASSWORD]),
    st.sampled_from([(), ("a.test",), ("*.a.test", "b.test")]),
    st.booleans(),
)
def test_any_files_give_a_bundle_or_reasons_and_never_raise(
    contents: list[bytes], password: bytes | None, names: tuple[str, ...], force: bool
) -> None:
    result = read(*contents, password=password, names=names, force=force)
    if isinstance(result, Refused):
        assert result.findings
        assert "PRIVATE KEY" not in repr(result)
        return
    again = read(result.primary.combined_pem, names=names, force=True)
    assert isinstance(again, CertificateBundle)
    assert again.primary == result.primary, "what comes out is in normal form"


WORST = [
    b"-----BEGIN ", b"-----BEGIN CERTIFICATE-----", b"-----END X-----", b"-----", b"0\x82", b"-----BEGIN A-----\n",
    b"-----BEGIN A-----\na: b\n  x\n-----END A-----\n", b"-----BEGIN A-----\nMA==\n-----END A-----\n", b"0\x80",
    b"0\x00", b"0\x80\x06\x00\x00\x00", b"MAAw", b"\xc2\xa0", b"-\x00", b"-----BEGIN A----------END A-----",
]  # fmt: skip


def test_headers_without_an_end_cost_nothing() -> None:
    """Each line could be read in two ways, which an expression would try in all combinations."""
    started = time.process_time()
    assert isinstance(
        read(b"-----BEGIN CERTIFICATE-----\na: b\n" + b"   x\n" * 1000 + b"-----END CERTIFICATE-----"), Refused
    )
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", [b"", b"a.test", b"*"])
def test_a_megabyte_of_names_costs_less_than_two_seconds(name: bytes) -> None:
    names = sequence(*[encoded(0x82, name)] * (900_000 // (len(name) + 2)))
    content = changed(with_extension(SAN, names)) + changed(with_extension(POLICIES, sequence(*[b"\x30\x00"] * 20_000)))
    started = time.process_time()
    assert isinstance(read(content[:1_000_000]), Refused)
    assert time.process_time() - started < 2


def test_hundreds_of_namesakes_cost_less_than_a_second() -> None:
    serials = (put(SERIAL, encoded(2, number.to_bytes(2, "big"))) for number in range(0x1000, 0x1000 + 190))
    namesakes = b"".join(changed(each, certificate=ODD.chain[0]) for each in serials)
    started = time.process_time()
    assert isinstance(read(ODD.privkey_pem, ODD.cert_der + namesakes), CertificateBundle)
    assert time.process_time() - started < 1


@pytest.mark.slow
@settings(max_examples=30)
@given(st.sampled_from(WORST))
def test_a_megabyte_of_the_worst_is_read_in_no_time(piece: bytes) -> None:
    content = (piece * 1_000_000)[:1_000_000]
    started = time.process_time()
    assert isinstance(read(content), Refused)
    assert time.process_time() - started < 2
