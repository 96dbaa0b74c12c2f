"""Where a request came from: our lines and a trusted proxy's."""

import pytest

from edge_addon.http.forwarded import build_forwarded, claims_https, plain_address


def lines(client: str, host: bytes = b"a.test", **said: bytes) -> dict[bytes, bytes]:
    claimed = [(name.replace("_", "-").encode(), value) for name, value in said.items()]
    text = build_forwarded(client, 443, host, is_secure=True, claimed=claimed)
    return dict(line.split(b": ", 1) for line in text.split(b"\r\n"))


@pytest.mark.parametrize(
    ("client", "address", "node"),
    [
        ("192.0.2.1", b"192.0.2.1", b"192.0.2.1"),
        ("2001:db8::1", b"2001:db8::1", b'"[2001:db8::1]"'),
        ("fe80::1%eth0", b"fe80::1", b'"[fe80::1]"'),
        ("::ffff:192.0.2.1", b"192.0.2.1", b"192.0.2.1"),
        ("", b"unknown", b"unknown"),
    ],
)
def test_client_address_is_written_in_the_form_of_each_header(client: str, address: bytes, node: bytes) -> None:
    assert lines(client) == {
        b"X-Forwarded-For": address,
        b"X-Forwarded-Proto": b"https",
        b"X-Forwarded-Host": b"a.test",
        b"X-Forwarded-Port": b"443",
        b"X-Real-IP": address,
        b"Forwarded": b"for=" + node + b";host=a.test;proto=https",
    }


def test_host_with_a_port_is_quoted_in_forwarded() -> None:
    assert b';host="a.test:8443";' in lines("192.0.2.1", b"a.test:8443")[b"Forwarded"]


def test_invalid_scheme_is_not_passed_on() -> None:
    assert lines("192.0.2.1", x_forwarded_proto=b"javascript")[b"X-Forwarded-Proto"] == b"https"


def test_plain_address_keeps_ipv6_that_only_looks_mapped() -> None:
    assert plain_address("::ffff:1") == "::ffff:1"


def test_https_is_believed_only_when_it_is_the_whole_claim() -> None:
    assert claims_https([(b"x-forwarded-proto", b"HTTPS")])
    assert not claims_https([(b"x-forwarded-proto", b"http"), (b"x-forwarded-proto", b"https")])
    assert not claims_https([])
