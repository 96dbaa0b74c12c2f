"""Names by table, and fields of our own in place of the upstream's."""

from datetime import UTC, datetime

import pytest

from edge_addon.http.fields import (
    FieldTable,
    Treatment,
    build_fields,
    replacing_table,
    request_fields,
    response_fields,
    trailer_fields,
)
from edge_addon.http.framing import parse_response
from edge_addon.http.reframing import response_bytes
from edge_addon.http.refusal import BadMessage, Cause
from edge_addon.http.responses import encode_answer, page

OWN = build_fields([("Strict-Transport-Security", "max-age=2"), ("X-Own", "1")])
RESPONSE = b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=1\r\nX-OWN: 0\r\nX-Kept: 1\r\nContent-Length: 0"


@pytest.mark.parametrize(
    ("table", "name", "treatment"),
    [
        (request_fields, b"X-Kept", Treatment.KEEP),
        (request_fields, b"X-FORWARDED-For", Treatment.FORWARDED),
        (request_fields, b"X_Forwarded_For", Treatment.DROP),
        (request_fields, b"Proxy", Treatment.DROP),
        (response_fields, b"X-Forwarded-For", Treatment.KEEP),
        (response_fields, b"x_y", Treatment.KEEP),
        (response_fields, b"Strict-Transport-Security", Treatment.KEEP),
        (trailer_fields, b"X-Forwarded-For", Treatment.DROP),
        (trailer_fields, b"x_y", Treatment.DROP),
        (replacing_table(OWN), b"X-own", Treatment.DROP),
        (replacing_table(OWN), b"X-Kept", Treatment.KEEP),
        (replacing_table(OWN), b"Content-LENGTH", Treatment.CONTENT_LENGTH),
    ],
)
def test_a_name_has_the_same_treatment_in_any_case_and_every_time(
    table: FieldTable, name: bytes, treatment: Treatment
) -> None:
    for spelt in (name, name.lower(), name.upper(), name):
        assert table[spelt] is treatment


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        (b"", Cause.BAD_FIELD_NAME),
        (b"a b", Cause.BAD_FIELD_NAME),
        (b"name ", Cause.SPACE_BEFORE_COLON),
        (b"\tfolded", Cause.OBS_FOLD),
    ],
)
def test_invalid_names_are_refused(name: bytes, cause: Cause) -> None:
    for table in (request_fields, response_fields, trailer_fields):
        with pytest.raises(BadMessage) as refused:
            table[name]
        assert refused.value.cause is cause


def test_fields_of_our_own_take_the_upstreams_place() -> None:
    head = parse_response(RESPONSE, is_head_request=False, fields=replacing_table(OWN))
    data, _, _ = response_bytes(head, b"", 1, OWN, is_complete=True, is_last=False)
    assert data.split(b"\r\n")[1:] == [
        b"X-Kept: 1", b"Content-Length: 0", b"Strict-Transport-Security: max-age=2", b"X-Own: 1", b"", b"",
    ]  # fmt: skip


def test_without_fields_of_our_own_the_upstreams_stay_as_they_are() -> None:
    head = parse_response(RESPONSE, is_head_request=False)
    data, _, _ = response_bytes(head, b"", 1, (), is_complete=True, is_last=False)
    assert data == RESPONSE + b"\r\n\r\n"


def test_pages_of_our_own_have_them_too() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    answer = encode_answer(page(404, "x"), now, OWN, is_head=True, connection=None)
    assert b"\r\nStrict-Transport-Security: max-age=2\r\nX-Own: 1\r\n" in answer
