"""The QR code of a secret for one-time codes, read by a reader of another make."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
import zxingcpp

from certstore.admin.pages.qr import QUIET, QrCode, qr_code
from certstore.model.console.totp import provisioning_uri
from tests.certstore.admin.browser import hidden, sign_in
from tests.certstore.admin.console import RunningConsole, running_console

SCALE = 4


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store") as running:
        running.add_user("anna")
        yield running


def drawn(code: QrCode) -> list[bytearray]:
    """One byte a pixel, as a browser fills the path."""
    rows = [bytearray(b"\xff" * code.side * SCALE) for _ in range(code.side * SCALE)]
    for x, y, width in (map(int, run) for run in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", code.path)):
        for row in rows[y * SCALE : (y + 1) * SCALE]:
            row[x * SCALE : (x + width) * SCALE] = bytes(width * SCALE)
    return rows


def read(code: QrCode) -> list[str]:
    rows = drawn(code)
    picture = memoryview(b"".join(rows)).cast("B", (len(rows), len(rows)))
    return [each.text for each in zxingcpp.read_barcodes(picture)]


@pytest.mark.parametrize(
    "text",
    [
        provisioning_uri("A" * 32, "anna", "edge.example"),
        provisioning_uri("B" * 100, "x" * 64, ".".join(["name" * 15] * 4)),
    ],
    ids=["usual", "longest"],
)
def test_a_reader_reads_what_is_drawn(text: str) -> None:
    assert read(qr_code(text)) == [text]


def test_margin_is_empty() -> None:
    code = qr_code("x")
    corners = re.findall(r"M(\d+) (\d+)h(\d+)", code.path)
    assert min(int(x) for x, _, _ in corners) == QUIET
    assert max(int(x) + int(width) for x, _, width in corners) == code.side - QUIET
    assert min(int(y) for _, y, _ in corners) == QUIET


def test_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=r"(?i)data|fit|version"):
        qr_code("x" * 5000)


def test_profile_shows_the_secret_of_its_form_and_asks_for_no_password_there(console: RunningConsole) -> None:
    page = sign_in(console).get("/profile")
    found = re.search(r'viewBox="0 0 (\d+) \1"[^>]*>.*?<path d="([^"]+)"', page.text)
    assert found is not None
    (uri,) = read(QrCode(int(found[1]), unescape(found[2])))
    assert f"secret={hidden(page)['secret']}&" in uri
    form = page.text.partition('action="/profile/codes"')[2].partition("</form>")[0]
    assert 'type="password"' not in form
    assert "style=" not in page.text
