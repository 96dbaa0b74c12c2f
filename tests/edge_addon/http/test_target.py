"""Targets and hosts by table."""

import pytest

from edge_addon.http.refusal import BadMessage, Cause
from edge_addon.http.target import check_authority, parse_host, split_absolute


@pytest.mark.parametrize(
    ("value", "name", "port"),
    [
        (b"a.test", "a.test", None),
        (b"A.Test:8443", "A.Test", 8443),
        (b"127.0.0.1:65535", "127.0.0.1", 65535),
        (b"[2001:db8::1]:443", "[2001:db8::1]", 443),
        (b"a_b.test.", "a_b.test.", None),
    ],
)
def test_a_host_is_split_from_its_port(value: bytes, name: str, port: int | None) -> None:
    assert parse_host(value) == (name, port)


@pytest.mark.parametrize(
    "value",
    [b"", b":80", b"a.test:", b"a.test:65536", b"user@a.test", b"a%2etest", b"a.test/", b"[::1", b"a b", b"\xe4"],
)
def test_an_invalid_host_is_refused(value: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        parse_host(value)
    assert refused.value.cause is Cause.BAD_HOST


@pytest.mark.parametrize(
    ("target", "is_options", "parts"),
    [
        (b"http://a.test/x?y", False, (b"a.test", b"/x?y")),
        (b"HTTPS://a.test:8443", False, (b"a.test:8443", b"/")),
        (b"http://a.test?y", False, (b"a.test", b"/?y")),
        (b"http://a.test", True, (b"a.test", b"*")),
    ],
)
def test_an_absolute_target_becomes_authority_and_origin_form(
    target: bytes, is_options: bool, parts: tuple[bytes, bytes]
) -> None:
    assert split_absolute(target, is_options=is_options) == parts


@pytest.mark.parametrize("target", [b"ftp://a.test/", b"http:///x", b"x", b"http:/a.test"])
def test_another_form_is_refused(target: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        split_absolute(target, is_options=False)
    assert refused.value.cause is Cause.BAD_TARGET


def test_the_authority_must_equal_the_host_in_any_case() -> None:
    check_authority(b"A.test:80", b"a.TEST:80")
    for host in (None, b"b.test", b"a.test"):
        with pytest.raises(BadMessage) as refused:
            check_authority(b"a.test:80", host)
        assert refused.value.cause is Cause.HOST_CONFLICT
