"""Names: what people write, what clients send, what a certificate covers."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from certstore.model.names import (
    DomainName,
    InvalidName,
    covers,
    is_host_name,
    is_public_suffix,
    is_site_key,
    normalise_server_name,
    wildcard_for,
)

LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
ALMOST_NAMES = st.text(alphabet=string.ascii_letters + string.digits + "-._*xn. \tüß。", max_size=80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("mail.example.com", "mail.example.com", id="a usual name stays as it is"),
        pytest.param("Mail.EXAMPLE.com", "mail.example.com", id="capitals become small"),
        pytest.param("mail.example.com.", "mail.example.com", id="the trailing dot goes"),
        pytest.param("  mail.example.com\n", "mail.example.com", id="surrounding space goes"),
        pytest.param("bücher.example", "xn--bcher-kva.example", id="U-labels become A-labels"),
        pytest.param("BÜCHER.example", "xn--bcher-kva.example", id="capital U-labels become A-labels"),
        pytest.param("straße.example", "xn--strae-oqa.example", id="sharp s is kept as IDNA 2008 has it"),
        pytest.param("mail。example。com", "mail.example.com", id="full-width dots separate labels"),
        pytest.param("XN--BCHER-KVA.example", "xn--bcher-kva.example", id="A-labels become small"),
        pytest.param("localhost", "localhost", id="one label is a name"),
        pytest.param("r3---sn-4g5e.example", "r3---sn-4g5e.example", id="hyphens in third place are allowed in ASCII"),
        pytest.param("3com.example", "3com.example", id="a label may begin with a digit"),
        pytest.param(LONGEST, LONGEST, id="253 characters are allowed"),
    ],
)
def test_written_name_is_normalised(text: str, expected: str) -> None:
    assert DomainName.parse(text).value == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "is empty", id="nothing"),
        pytest.param(".", "not a host name", id="only a dot"),
        pytest.param("a..b", "not a host name", id="an empty label"),
        pytest.param("-a.example", "not a host name", id="a hyphen first"),
        pytest.param("a-.example", "not a host name", id="a hyphen last"),
        pytest.param("a_b.example", "not a host name", id="an underscore"),
        pytest.param("a b.example", "not a host name", id="a space inside"),
        pytest.param("https://a.example", "not a host name", id="a URL"),
        pytest.param("a.example:443", "not a host name", id="a port"),
        pytest.param("../a.example", "not a host name", id="a path"),
        pytest.param("192.0.2.1", "IP address", id="an IPv4 address"),
        pytest.param("a.0x7f", "IP address", id="a hexadecimal number last"),
        pytest.param("2001:db8::1", "not a host name", id="an IPv6 address"),
        pytest.param("a" * 64 + ".example", "not a host name", id="a label of 64 characters"),
        pytest.param("x." + LONGEST, "longer than 253", id="255 characters"),
        pytest.param("a.*.example", "whole left-most label", id="a star inside"),
        pytest.param("ü" * 60 + ".example", "international form", id="a U-label whose A-label is too long"),
        pytest.param("😀.example", "international form", id="an emoji"),
        pytest.param("a.example\x00.evil", "not a host name", id="a NUL byte"),
    ],
)
def test_text_that_is_no_name_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(InvalidName, match=said):
        DomainName.parse(text)


def test_long_junk_is_not_repeated_whole_in_the_message() -> None:
    with pytest.raises(InvalidName) as caught:
        DomainName.parse("!" * 100_000)
    assert len(str(caught.value)) < 400


def test_wildcard_is_a_name_only_where_it_is_allowed() -> None:
    name = DomainName.parse("*.Example.com", wildcard=True)
    assert (name.value, name.is_wildcard) == ("*.example.com", True)
    assert not DomainName.parse("mail.example.com", wildcard=True).is_wildcard
    with pytest.raises(InvalidName, match="wildcard"):
        DomainName.parse("*.example.com")


@pytest.mark.parametrize("text", ["*", "*.", "**.example", "*.*.example", "w*.example", "*.192.0.2.1"])
def test_other_uses_of_the_star_are_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        DomainName.parse(text, wildcard=True)


@given(ALMOST_NAMES)
def test_parsing_is_stable_or_refuses(text: str) -> None:
    try:
        name = DomainName.parse(text, wildcard=True)
    except InvalidName:
        return
    assert DomainName.parse(name.value, wildcard=True) == name
    assert name.value.isascii()
    assert len(name.value) <= 253


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("mail.example.com", "mail.example.com", id="a usual name"),
        pytest.param("MAIL.example.COM.", "mail.example.com", id="capitals and a trailing dot"),
        pytest.param("bücher.example", "xn--bcher-kva.example", id="U-labels"),
        pytest.param("my_host.example.com", "my_host.example.com", id="an underscore, which resolvers allow"),
        pytest.param("_dmarc.example.com", "_dmarc.example.com", id="an underscore first"),
        pytest.param("face.example", "face.example", id="a name that ends like a hexadecimal number"),
        pytest.param("example.0xyz", "example.0xyz", id="a last label that only begins like a number"),
        pytest.param(None, None, id="no name"),
        pytest.param("", None, id="an empty name"),
        pytest.param(".", None, id="only a dot"),
        pytest.param("192.0.2.1", None, id="an IPv4 literal"),
        pytest.param("0x7f000001", None, id="an IPv4 literal in hexadecimal"),
        pytest.param("[::1]", None, id="an IPv6 literal"),
        pytest.param("*.example.com", None, id="a wildcard is not a server name"),
        pytest.param("a b", None, id="a space"),
        pytest.param("a\x00b", None, id="a NUL"),
        pytest.param("../../etc/passwd", None, id="a path"),
        pytest.param("mail.example.com..", None, id="two trailing dots"),
        pytest.param("a" * 64, None, id="a label too long"),
        pytest.param("a." * 127 + "com", None, id="a name too long"),
        pytest.param("ü" * 64 + ".example", None, id="a U-label too long"),
    ],
)
def test_server_name_is_normalised_or_none(sent: str | None, expected: str | None) -> None:
    assert normalise_server_name(sent) == expected


@given(st.text(max_size=300) | ALMOST_NAMES)
@example("\u212a.example")  # the Kelvin sign lower-cases to an ASCII k
def test_server_name_never_raises_and_normalises_once(sent: str) -> None:
    name = normalise_server_name(sent)
    if name is not None:
        assert name.isascii()
        assert normalise_server_name(name) == name


@given(ALMOST_NAMES)
def test_every_written_host_name_is_found_when_a_client_sends_it(text: str) -> None:
    try:
        name = DomainName.parse(text)
    except InvalidName:
        return
    assert normalise_server_name(name.value) == name.value


@pytest.mark.parametrize(
    ("name", "expected"), [("a.b.c", "*.b.c"), ("a.b", "*.b"), ("a", None), ("*.b.c", None), ("", None), ("a.", None)]
)
def test_wildcard_for_replaces_exactly_the_first_label(name: str, expected: str | None) -> None:
    assert wildcard_for(name) == expected


@pytest.mark.parametrize(
    ("name", "is_covered"),
    [
        pytest.param("a.test", True, id="an exact name is covered"),
        pytest.param("x.wild.test", True, id="a wildcard covers one label"),
        pytest.param("x.y.wild.test", False, id="a wildcard does not span two labels"),
        pytest.param("wild.test", False, id="a wildcard does not cover its own parent"),
        pytest.param("x.a.test", False, id="an exact name covers nothing below"),
        pytest.param("*.wild.test", True, id="a wildcard is covered by the same wildcard"),
        pytest.param("*.a.test", False, id="a wildcard is not covered by an exact name"),
        pytest.param("*.x.wild.test", False, id="a wildcard below is not covered by a wildcard above"),
        pytest.param("other.test", False, id="another name is not covered"),
        pytest.param("", False, id="an empty name is not covered"),
    ],
)
def test_certificate_names_cover(name: str, is_covered: bool) -> None:
    assert covers(("a.test", "*.wild.test"), name) is is_covered


@pytest.mark.parametrize(
    ("text", "is_key"),
    [
        pytest.param("webmail.example.com", True, id="a host name"),
        pytest.param("client-a", True, id="a plain key"),
        pytest.param("main", True, id="the main site's key"),
        pytest.param("42", True, id="digits alone"),
        pytest.param("Webmail.example.com", False, id="capitals"),
        pytest.param("webmail.example.com.", False, id="a trailing dot"),
        pytest.param("bücher.example", False, id="U-labels"),
        pytest.param("*.example.com", False, id="a wildcard"),
        pytest.param("..", False, id="the parent folder"),
        pytest.param(".hidden", False, id="a hidden file"),
        pytest.param("a/b", False, id="a path"),
        pytest.param("a_b", False, id="an underscore"),
        pytest.param("", False, id="nothing"),
        pytest.param("a\n", False, id="a line end"),
        pytest.param("192.0.2.1", False, id="an IPv4 address"),
        pytest.param("a" * 241, False, id="too long for a file name with its suffix"),
    ],
)
def test_site_key(text: str, is_key: bool) -> None:
    assert is_site_key(text) is is_key


def test_host_name_has_to_be_in_normal_form() -> None:
    assert is_host_name("mail.example.com")
    for text in ("Mail.example.com", "mail.example.com.", "*.example.com", "192.0.2.1", "", "bücher.example"):
        assert not is_host_name(text), text


@pytest.mark.parametrize(
    ("name", "is_public"),
    [
        ("com", True),
        ("co.uk", True),
        ("github.io", True),
        ("no-such-top-level-domain", True),
        ("example.com", False),
        ("client.co.uk", False),
        ("mail.client.co.uk", False),
    ],
)
def test_public_suffix(name: str, is_public: bool) -> None:
    assert is_public_suffix(name) is is_public
