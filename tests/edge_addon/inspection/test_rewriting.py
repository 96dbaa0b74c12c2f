"""What is changed in messages, by table."""

from datetime import UTC, datetime

import pytest
from mitmproxy import http

from edge_addon.http import responses
from edge_addon.http.fields import build_fields
from edge_addon.http.framing import parse_request
from edge_addon.inspection.rewriting import build_response, clean_response, request_fields_of, rewrite_request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def response(*fields: tuple[bytes, bytes], status: int = 200) -> http.Response:
    made = http.Response.make(status, b"", http.Headers(fields))
    made.headers = http.Headers(fields)
    return made


def cleaned(given: http.Response, **how: object) -> list[tuple[bytes, bytes]]:
    usual = {"is_http2": False, "minor": 1, "keeps_alive": True, "is_last": False, "own_fields": (), **how}
    clean_response(given, **usual)  # type: ignore[arg-type]
    return list(given.headers.fields)


CHUNKED = (b"Transfer-Encoding", b"chunked")
LENGTH = (b"Content-Length", b"2")
UPGRADE = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]


@pytest.mark.parametrize(
    ("fields", "how", "left"),
    [
        pytest.param([CHUNKED], {}, [CHUNKED], id="chunked stays for HTTP/1.1"),
        pytest.param([CHUNKED], {"minor": 0}, [], id="chunked goes for HTTP/1.0"),
        pytest.param([CHUNKED], {"is_http2": True}, [], id="chunked goes for HTTP/2"),
        pytest.param([(b"Keep-Alive", b"timeout=5")], {}, [], id="keep-alive goes"),
        pytest.param(
            [(b"Connection", b"X-A, close"), (b"X-A", b"1"), LENGTH], {}, [LENGTH], id="what Connection lists"
        ),
        pytest.param(
            [(b"Connection", b"Content-Length"), LENGTH], {}, [LENGTH], id="Connection can't take the length out"
        ),
        pytest.param([LENGTH], {"is_last": True}, [LENGTH, (b"Connection", b"close")], id="the last answer says so"),
        pytest.param([LENGTH], {"is_last": True, "is_http2": True}, [LENGTH], id="HTTP/2 says it in another way"),
        pytest.param(
            [LENGTH], {"minor": 0}, [LENGTH, (b"Connection", b"keep-alive")], id="HTTP/1.0 hears that it may go on"
        ),
        pytest.param(
            [(b"Strict-Transport-Security", b"a")],
            {"own_fields": build_fields([("Strict-Transport-Security", "b")])},
            [(b"Strict-Transport-Security", b"b")],
            id="our own field wins",
        ),
        pytest.param(
            [(b"Strict-Transport-Security", b"a")], {}, [(b"Strict-Transport-Security", b"a")], id="theirs stays"
        ),
    ],
)
def test_responses_lose_what_is_not_for_the_client(
    fields: list[tuple[bytes, bytes]], how: dict[str, object], left: list[tuple[bytes, bytes]]
) -> None:
    assert cleaned(response(*fields), **how) == left


def test_an_upgrade_keeps_its_connection_fields() -> None:
    assert cleaned(response(*UPGRADE, status=101)) == UPGRADE


def test_a_request_goes_on_with_the_heads_fields_and_ours_in_origin_form() -> None:
    head = parse_request(b"POST http://a.test/x HTTP/1.0\r\nHost: a.test\r\nX-A: 1\r\nX_B: 2\r\nContent-Length: 3")
    request = http.Request.make("POST", "http://a.test/x", b"")
    rewrite_request(request, head, b"X-Real-IP: 192.0.2.1\r\nForwarded: for=192.0.2.1")
    assert request.headers.fields == (
        (b"Host", b"a.test"),
        (b"X-A", b"1"),
        (b"Content-Length", b"3"),
        (b"X-Real-IP", b"192.0.2.1"),
        (b"Forwarded", b"for=192.0.2.1"),
    )
    assert (request.path, request.authority, request.http_version) == ("/x", "", "HTTP/1.1")


def test_pseudo_headers_are_put_back_in_front() -> None:
    request = http.Request.make("GET", "https://a.test/x", b"", http.Headers(accept="*/*"))
    request.data.authority = b"a.test"
    names = [name for name, _ in request_fields_of(request)]
    assert names[:4] == [b":method", b":scheme", b":path", b":authority"]


def test_an_answer_of_the_edges_own_has_its_length_and_date() -> None:
    made = build_response(responses.page(421, "misdirected"), NOW)
    assert made.status_code == 421
    assert made.headers["content-length"] == str(len(made.raw_content or b""))
    assert made.headers["date"] == "Fri, 02 Jan 2026 03:04:05 GMT"
