"""Server names are read from ordinary ClientHellos, and always as OpenSSL reads them."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.transport.client_hello import NO_NAME, plain_server_name
from edge_addon.transport.tls_stage import Hello, HelloContext, HelloReader


def hello(
    server_name: str | None,
    *,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    alpn: tuple[str, ...] = (),
) -> bytes:
    """The ClientHello of an OpenSSL client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version, context.maximum_version = minimum, maximum
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def by_openssl(data: bytes) -> str | None:
    """The name that OpenSSL reads; raises AssertionError when it refuses the hello or waits for more."""
    context = HelloContext(ssl.TLSVersion.TLSv1_2)
    context.reads_plain = False
    answer = HelloReader(context).feed(data)
    assert isinstance(answer, Hello)
    return answer.server_name


HELLOS = {
    "with ALPN": hello("webmail.client-a.com", alpn=("h2", "http/1.1")),
    "TLS 1.2 alone": hello("a.test", maximum=ssl.TLSVersion.TLSv1_2),
    "TLS 1.3 alone": hello("a.test", minimum=ssl.TLSVersion.TLSv1_3),
    "upper case": hello("WebMail.Client-A.com"),
    "without a name": hello(None),
}
NAMED = HELLOS["with ALPN"]
NAME_AT = NAMED.index(b"webmail.client-a.com")


@pytest.mark.parametrize("data", HELLOS.values(), ids=HELLOS)
def test_an_ordinary_hello_gives_the_name_that_openssl_reads(data: bytes) -> None:
    name = plain_server_name(data)

    assert name is not None
    assert (name.decode() or None) == by_openssl(data)


def test_a_hello_without_a_name_has_none() -> None:
    assert plain_server_name(HELLOS["without a name"]) == NO_NAME


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(NAMED[:-1], id="a byte short"),
        pytest.param(NAMED + b"\x14", id="a byte more"),
        pytest.param(NAMED + b"\x17\x03\x03\x00\x01x", id="early data behind it"),
        pytest.param(NAMED[:5] + NAMED[5:60] + b"\x16\x03\x01" + NAMED[60:], id="bytes of another record in it"),
        pytest.param(b"\x16\x03\x01\x00\x04" + NAMED[5:9] + b"\x16\x03\x01\x01\x00" + NAMED[9:], id="in two records"),
        pytest.param(NAMED[:9] + b"\x03\x01" + NAMED[11:], id="client_version TLS 1.0"),
        pytest.param(NAMED.replace(b"webmail", b"web\0ail"), id="a NUL in the name"),
        pytest.param(NAMED.replace(b"webmail", b"web ail"), id="a space in the name"),
        pytest.param(NAMED.replace(b"webmail", b"web\xe4ail"[:7]), id="a byte of Latin-1 in the name"),
        pytest.param(NAMED[: NAME_AT - 3] + b"\x01" + NAMED[NAME_AT - 2 :], id="a name of another type"),
        pytest.param(NAMED[: NAME_AT - 1] + b"\x13" + NAMED[NAME_AT:], id="a second, broken name in the list"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="plain HTTP"),
    ],
)
def test_any_other_hello_is_left_to_openssl(data: bytes) -> None:
    assert plain_server_name(data) is None


@given(
    data=st.sampled_from(sorted(HELLOS.values())),
    changes=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=4),
    cut=st.none() | st.integers(0, 600),
)
def test_no_mutation_of_a_hello_gives_another_name_than_openssl(
    data: bytes, changes: list[tuple[int, int]], cut: int | None
) -> None:
    changed = bytearray(data)
    for position, byte in changes:
        changed[position % len(changed)] = byte
    name = plain_server_name(bytes(changed[:cut]))

    if name is None:
        return
    context = HelloContext(ssl.TLSVersion.TLSv1_2)
    context.reads_plain = False
    answer = HelloReader(context).feed(bytes(changed[:cut]))
    # If OpenSSL refuses the hello for another reason, the handshake on the selected context fails too.
    if isinstance(answer, Hello):
        assert answer.server_name == (name.decode() or None)


@given(junk=st.binary(max_size=400))
def test_junk_never_raises(junk: bytes) -> None:
    assert plain_server_name(junk) is None
    plain_server_name(b"\x16\x03\x01" + junk)
