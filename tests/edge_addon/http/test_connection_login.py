"""Which fields say that a login belongs to the connection."""

import time

import pytest

from edge_addon.http.connection_login import carries_login, is_persistent, offers_login
from edge_addon.http.framing import parse_request, parse_response


@pytest.mark.parametrize(
    ("value", "is_login"),
    [
        (b"NTLM TlRMTVNTUAABAAAA", True),
        (b"ntlm TlRMTVNTUAABAAAA", True),
        (b"Negotiate YIIJ", True),
        (b"NEGOTIATE\tYIIJ", True),
        (b"Nego2 YIIJ", True),
        (b"Kerberos YIIJ", True),
        (b", NTLM TlRM", True),
        (b"Basic bnRsbTpudGxt", False),
        (b"Bearer ntlm", False),
        (b'Digest username="ntlm"', False),
        (b"", False),
    ],
)
def test_credentials_of_a_login_that_belongs_to_the_connection(value: bytes, is_login: bool) -> None:
    assert carries_login(value) is is_login
    for name in (b"Authorization", b"authorization", b"Proxy-Authorization"):
        head = parse_request(b"GET / HTTP/1.1\r\nHost: a.test\r\n%b: %b" % (name, value))
        assert head.is_login is is_login
        assert head.lines[-1] == b"%b: %b" % (name, value)


@pytest.mark.parametrize(
    ("value", "is_login"),
    [
        (b"NTLM", True),
        (b"Negotiate", True),
        (b"negotiate oRQwEqADCgEB", True),
        (b"Negotiate, NTLM", True),
        (b'Basic realm="mail", NTLM', True),
        (b'Basic realm="mail",NTLM', True),
        (b'Digest realm="a\\"b", nonce="x,y", Negotiate', True),
        (b'Basic realm="not closed, NTLM', True),
        (b'Basic realm="NTLM, Negotiate"', False),
        (b'Basic realm="a \\" NTLM"', False),
        (b'Basic realm="mail"', False),
        (b"Bearer scope=ntlm", False),
        (b"", False),
    ],
)
@pytest.mark.parametrize(
    "name", [b"WWW-Authenticate", b"www-authenticate", b"Proxy-Authenticate", b"Authentication-Info"]
)
def test_challenges_that_offer_a_login_of_the_connection(name: bytes, value: bytes, is_login: bool) -> None:
    assert offers_login(value) is is_login
    head = parse_response(b"HTTP/1.1 401 No\r\n%b: %b" % (name, value), is_head_request=False)
    assert head.is_login is is_login
    assert b"%b: %b" % (name, value) in head.lines


def test_one_of_several_fields_is_enough() -> None:
    fields = (b"Basic realm=x", b"NTLM", b"Bearer")
    response = b"".join(b"\r\nWWW-Authenticate: " + each for each in fields)
    assert parse_response(b"HTTP/1.1 401 No" + response, is_head_request=False).is_login
    request = b"".join(b"\r\nAuthorization: " + each for each in fields)
    assert parse_request(b"GET / HTTP/1.1\r\nHost: a.test" + request).is_login


@pytest.mark.parametrize(("value", "is_login"), [(b"true", True), (b"TRUE", True), (b"", True), (b"False", False)])
def test_persistent_auth(value: bytes, is_login: bool) -> None:
    assert is_persistent(value) is is_login
    head = parse_response(b"HTTP/1.1 200 OK\r\nPersistent-Auth: " + value, is_head_request=False)
    assert head.is_login is is_login


@pytest.mark.parametrize("unit", [b'"', b'\\"', b'"\\', b",", b"ntl,", b" ", b"\\"])
def test_the_work_grows_with_the_bytes_only(unit: bytes) -> None:
    value = b'x="' + unit * (65536 // len(unit))

    started = time.process_time()
    offers_login(value)
    carries_login(value)

    assert time.process_time() - started < 0.2
