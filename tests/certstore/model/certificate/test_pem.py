"""Finding PEM blocks in bytes, and knowing a file that is still being written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.certificate.pem import find_blocks, looks_like_pem, plain_bytes, to_pem

BLOCK = b"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"
WHOLE = [("CERTIFICATE", b"\1\2\3")]
OTHER = b"-----BEGIN X509 CRL-----\nBAUG\n-----END X509 CRL-----\n"


@pytest.mark.parametrize(
    ("content", "found", "is_incomplete"),
    [
        pytest.param(BLOCK, [("CERTIFICATE", b"\1\2\3")], False, id="one block"),
        pytest.param(BLOCK + OTHER, [("CERTIFICATE", b"\1\2\3"), ("X509 CRL", b"\4\5\6")], False, id="two, in order"),
        pytest.param(BLOCK + BLOCK, [("CERTIFICATE", b"\1\2\3")] * 2, False, id="twice the same"),
        pytest.param(BLOCK[:-1] + BLOCK, [("CERTIFICATE", b"\1\2\3")] * 2, False, id="no line end between"),
        pytest.param(b"text\n" + BLOCK + b"----- text\n", [("CERTIFICATE", b"\1\2\3")], False, id="text around"),
        pytest.param(BLOCK.replace(b"\n", b" \t\r\n "), [("CERTIFICATE", b"\1\2\3")], False, id="white space"),
        pytest.param(BLOCK.replace(b"\n", b""), [("CERTIFICATE", b"\1\2\3")], False, id="all on one line"),
        pytest.param(BLOCK.replace(b"AQID", b"AQI*"), [("CERTIFICATE", None)], False, id="base64 that is none"),
        pytest.param(BLOCK.replace(b"AQID", b"AQI"), [("CERTIFICATE", None)], False, id="base64 cut within"),
        pytest.param(BLOCK.replace(b"AQID", b""), [("CERTIFICATE", None)], False, id="an empty block"),
        pytest.param(b"", [], False, id="nothing"),
        pytest.param(BLOCK[:-2], [], True, id="the last boundary cut"),
        pytest.param(BLOCK[:30], [], True, id="only the first boundary"),
        pytest.param(BLOCK + b"-----BEGIN CERT", [("CERTIFICATE", b"\1\2\3")], True, id="a first boundary cut"),
        pytest.param(BLOCK[30:], [], True, id="only the last boundary"),
        pytest.param(BLOCK[:32] + BLOCK, [("CERTIFICATE", b"\1\2\3")], True, id="a block begins within a block"),
        pytest.param(BLOCK.replace(b"END CERT", b"END XERT"), [], True, id="boundaries with two labels"),
        # A boundary is a whole line.
        pytest.param(b"see -----BEGIN CERTIFICATE-----\n", [], False, id="a boundary behind words"),
        pytest.param(b"-----BEGIN CERTIFICATE-----.\n", [], False, id="a boundary before a full stop"),
        pytest.param(b"-----BEGIN CERTIFICATE----- and so on\n", [], False, id="a boundary before words"),
        pytest.param(b"-----BEGIN X----- is not -----END X-----!", [], False, id="two boundaries among words"),
        pytest.param(b"# " + BLOCK.replace(b"\n", b"\n# ") + b"\n" + BLOCK, WHOLE, False, id="a comment of a block"),
        pytest.param(b"> " + BLOCK.replace(b"\n", b"\n> ") + b"\n", [], False, id="a quoted block"),
        pytest.param(b"'" + BLOCK + b"'", [], True, id="a quotation mark before the first boundary"),
        pytest.param(BLOCK.replace(b"\n", b"\r"), WHOLE, False, id="CR"),
        pytest.param(BLOCK.replace(b"\n", b"\n\r\n\r"), WHOLE, False, id="empty lines between"),
        pytest.param(BLOCK.replace(b"\n", "\u00a0\n".encode()), WHOLE, False, id="no-break spaces"),
        pytest.param(BLOCK.replace(b"\n", b"\xa0\r\n"), WHOLE, False, id="no-break spaces in latin-1"),
        pytest.param(BLOCK.replace(b"\n", "\n\u200b".encode()), WHOLE, False, id="zero-width spaces"),
        pytest.param(b"\t" + BLOCK.replace(b"\n", b"\n  "), WHOLE, False, id="indented"),
        pytest.param(BLOCK + "\ufeff".encode() + BLOCK, WHOLE * 2, False, id="a mark between joined files"),
        pytest.param(BLOCK.replace(b"-----\nA", b"-----A").replace(b"D\n", b"D"), WHOLE, False, id="no line ends"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nAQ" + BLOCK, WHOLE, True, id="a whole one right behind a half"),
        pytest.param(b"Bag Attributes\n    a: b\nsubject=C = DE\n" + BLOCK, WHOLE, False, id="bag attributes"),
        pytest.param(BLOCK.replace(b"\n", b"\nComment: x\n\n", 1), WHOLE, False, id="header lines"),
        pytest.param(b"-----BEGIN PGP MESSAGE-----\n\nx\n", [], True, id="a half of something else"),
        pytest.param(b"-----BEGIN CERT\n" + BLOCK, WHOLE, False, id="a cut boundary above"),
    ],
)
def test_blocks(content: bytes, found: list[tuple[str, bytes | None]], is_incomplete: bool) -> None:
    blocks = find_blocks(content)
    assert [(block.label, block.der) for block in blocks.blocks] == found
    assert blocks.is_incomplete is is_incomplete


def test_encrypted_block_keeps_its_text_for_the_library() -> None:
    text = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END RSA PRIVATE KEY-----\n"
    (block,) = find_blocks(b"before\n" + text + b"after").blocks
    assert (block.has_headers, block.der, block.text) == (True, None, text)


def test_representation_of_a_block_shows_nothing_of_it() -> None:
    (block,) = find_blocks(b"-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n").blocks
    assert "AQID" not in repr(block)
    assert "\\x01" not in repr(block)


@pytest.mark.parametrize(
    ("content", "plain"),
    [
        pytest.param(b"\xef\xbb\xbf" + BLOCK, BLOCK, id="UTF-8 with a mark"),
        pytest.param(b"\xff\xfe" + BLOCK.decode().encode("utf-16-le"), BLOCK, id="UTF-16, little end first"),
        pytest.param(b"\xfe\xff" + BLOCK.decode().encode("utf-16-be"), BLOCK, id="UTF-16, big end first"),
        pytest.param(BLOCK.decode().encode("utf-16-le"), BLOCK, id="UTF-16 without a mark, little end first"),
        pytest.param(BLOCK.decode().encode("utf-16-be"), BLOCK, id="UTF-16 without a mark, big end first"),
        pytest.param(b"\xff\xfex", b"\xff\xfex", id="no UTF-16 although it begins so"),
        pytest.param(BLOCK, BLOCK, id="plain"),
    ],
)
def test_byte_order_marks(content: bytes, plain: bytes) -> None:
    assert plain_bytes(content) == plain


def test_what_looks_like_pem() -> None:
    assert looks_like_pem(BLOCK)
    assert looks_like_pem(BLOCK[20:])
    assert not looks_like_pem(b"-----BEGI")


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["CERTIFICATE", "EC PRIVATE KEY"]))
def test_what_is_written_is_read_back(der: bytes, label: str) -> None:
    pem = to_pem(label, der)
    assert all(len(line) <= 64 for line in pem.splitlines())
    (block,) = find_blocks(pem).blocks
    assert (block.label, block.der) == (label, der)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_cut_anywhere_a_file_is_incomplete_or_has_fewer_blocks(der: bytes, length: int) -> None:
    whole = to_pem("CERTIFICATE", der + b"x") * 2
    blocks = find_blocks(whole[:length])
    assert len(blocks.blocks) <= 2
    assert all(block.der == der + b"x" for block in blocks.blocks)
