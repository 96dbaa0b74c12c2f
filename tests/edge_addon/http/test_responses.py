"""The edge's own answers as they are written."""

from datetime import UTC, datetime

import pytest

from edge_addon.http.fields import build_fields
from edge_addon.http.responses import encode_answer, page, redirect

OWN = build_fields([("Strict-Transport-Security", "max-age=2"), ("X-Own", "1")])
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("status", [400, 404, 405, 408, 417, 421, 431, 502, 503, 504])
def test_a_page_names_its_status_and_is_not_kept_by_caches(status: int) -> None:
    answer = page(status, "cause")
    assert answer.is_refusal
    assert f"<h1>{status} ".encode() in answer.body
    written = encode_answer(answer, NOW, (), is_head=False, connection=b"close")
    assert written.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n" in written
    assert (
        b"\r\nCache-Control: no-store\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(answer.body) in written
    )
    assert written.endswith(answer.body)


@pytest.mark.parametrize(("is_safe", "status"), [(True, 301), (False, 308)])
def test_a_redirect_keeps_the_method_where_it_matters(is_safe: bool, status: int) -> None:
    answer = redirect(b"https://a.test/", is_safe=is_safe)
    assert (answer.status, answer.body, answer.is_refusal) == (status, b"", False)
    assert answer.fields == (b"Location: https://a.test/",)


def test_pages_of_our_own_have_them_too() -> None:
    answer = encode_answer(page(404, "x"), NOW, OWN, is_head=True, connection=None)
    assert b"\r\nStrict-Transport-Security: max-age=2\r\nX-Own: 1\r\n" in answer


def test_the_answer_to_head_has_the_length_and_no_body() -> None:
    written = encode_answer(page(404, "x"), NOW, (), is_head=True, connection=None)
    assert b"\r\nContent-Length: %d\r\n\r\n" % len(page(404, "x").body) in written
    assert written.endswith(b"\r\n\r\n")
