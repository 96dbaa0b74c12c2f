"""What happens to a field, by its name."""

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
from edge_addon.http.refusal import BadMessage, Cause

OWN = build_fields([("Strict-Transport-Security", "max-age=2"), ("X-Own", "1")])


@pytest.mark.parametrize(
    ("table", "name", "treatment"),
    [
        (request_fields, b"X-Kept", Treatment.KEEP),
        (request_fields, b"X-FORWARDED-For", Treatment.FORWARDED),
        (request_fields, b"X_Forwarded_For", Treatment.DROP),
        (request_fields, b"X.Forwarded.For", Treatment.DROP),
        (request_fields, b"X-Forwarded!For", Treatment.DROP),
        (request_fields, b"Content~Length", Treatment.DROP),
        (request_fields, b"$x", Treatment.DROP),
        (request_fields, b"X-1", Treatment.KEEP),
        (response_fields, b"x.y", Treatment.KEEP),
        (trailer_fields, b"x.y", Treatment.DROP),
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
        if table is response_fields and cause is Cause.SPACE_BEFORE_COLON:
            assert table[name] is Treatment.TRIM
            continue
        with pytest.raises(BadMessage) as refused:
            table[name]
        assert refused.value.cause is cause
