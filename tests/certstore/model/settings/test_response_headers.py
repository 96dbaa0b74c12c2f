"""`http.headers`: what may be added to every answer, and what would break or split one."""

import re

import pytest

from certstore.model.settings.loading import SettingsError, parse_settings
from certstore.model.settings.models import HttpSettings, Settings
from certstore.model.settings.response_headers import (
    MOST_BYTES,
    MOST_HEADERS,
    check_headers,
    parse_header_name,
    parse_header_value,
)


@pytest.mark.parametrize(
    "name", ["X-Frame-Options", "Content-Security-Policy", "content-security-policy-report-only", "Server", "a_b", "!x"]
)
def test_names_that_say_something_about_every_answer_are_allowed(name: str) -> None:
    assert parse_header_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "X Y", "X:", "X-Ö", "X\r\nY", "X\0", ":status", " X", "X\n", "x" * 65, "X\N{KELVIN SIGN}"]
)
def test_what_is_no_header_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a header name"):
        parse_header_name(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, "framing of the message") for name in (
            "Connection", "CONTENT-LENGTH", "HTTP2-Settings", "keep-alive", "TE", "Trailer", "Transfer-Encoding",
            "Upgrade", "Proxy-Connection", "Proxy-Authenticate", "proxy-anything",
        )),
        *((name, "single answer") for name in (
            "Date", "Content-Type", "content-encoding", "Location", "ETag", "Cache-Control", "Vary", "Allow",
            "Retry-After", "WWW-Authenticate", "Sec-WebSocket-Accept",
        )),
        ("Set-Cookie", "same cookie"),
        ("strict-transport-security", "`http.hsts`"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_the_administrators_to_set_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} can't be set here: .*{re.escape(reason)}"):
        parse_header_name(name)


@pytest.mark.parametrize("value", ["DENY", "default-src 'self'; img-src *", "1", '"a"', "x" * 4096])
def test_a_value_is_one_line_of_visible_text(value: str) -> None:
    assert parse_header_value(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        " a",
        "a ",
        "a\r\nSet-Cookie: b=c",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\tb",
        "a\x7fb",
        "é",
        "a\x85b",
        "a\u2028b",
        "a\n",
    ],
)
def test_anything_else_is_no_value(value: str) -> None:
    with pytest.raises(ValueError, match="expected one line"):
        parse_header_value(value)


def test_number_and_size_are_bounded() -> None:
    check_headers({f"X-{number}": "v" for number in range(MOST_HEADERS)})
    with pytest.raises(ValueError, match="33 headers, and at most 32"):
        check_headers({f"X-{number}": "v" for number in range(MOST_HEADERS + 1)})
    check_headers({"X-A": "v" * (MOST_BYTES - 3)})
    with pytest.raises(ValueError, match="8193 bytes together, and at most 8192"):
        check_headers({"X-A": "v" * (MOST_BYTES - 2)})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{X-A: a, x-a: b}", "edge.yaml:1: http.headers: X-A and x-a are the same header"),
        ("{X-A: 1}", "edge.yaml:1: http.headers.X-A: found 1; allowed: text"),
        ("{X-A: null}", "edge.yaml:1: http.headers.X-A: no value is given; allowed: text"),
        ("[X-A]", "edge.yaml:1: http.headers: found a list; allowed: keys with values"),
        ('\n    X-A: "1"\n    X-B: "a\\r\\nb"', "edge.yaml:4: http.headers.X-B: found"),
        ('\n    X-A: "1"\n    Date: "now"', "edge.yaml:4: http.headers.Date: Date can't be set here: it describes"),
    ],
)
def test_a_fault_names_the_line_and_the_header(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(
            f"http:\n  headers: {text}\n" if text.startswith("\n") else f"http: {{headers: {text}}}", "edge.yaml"
        )
    (fault,) = str(refused.value).splitlines()
    assert fault.startswith(said)


def test_the_fields_of_every_answer_are_hsts_and_the_headers_in_their_order() -> None:
    http = {"hsts": "max-age=1", "headers": {"X-B": "1", "X-A": "2"}}
    settings = Settings.model_validate({"http": http})
    assert settings.http.own_fields == (("Strict-Transport-Security", "max-age=1"), ("X-B", "1"), ("X-A", "2"))
    assert HttpSettings().own_fields == ()
