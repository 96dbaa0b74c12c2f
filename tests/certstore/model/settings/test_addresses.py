"""Addresses, networks and names as the settings take them, and what they say to others."""

import ipaddress
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from certstore.model.settings.addresses import (
    CertificateName,
    HostName,
    HostPort,
    HostPortField,
    NetworkField,
    is_address,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:8080", "::1", 8080),
        ("mail.a.test:25", "mail.a.test", 25),
        (":443", "::", 443),
        ("127.0.0.1:0", "127.0.0.1", 0),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    address = TypeAdapter(HostPortField).validate_python(text)
    assert address == (host, port)
    assert TypeAdapter(HostPortField).validate_python(str(address)) == address


@pytest.mark.parametrize("given", ["localhost", "::1:80", "[a.test]:80", "a.test:65536", "a.test:²", "a.test:", 443])
def test_anything_else_is_no_address(given: Any) -> None:
    with pytest.raises(ValidationError, match=r"host:port|IPv6|At least"):
        TypeAdapter(HostPortField).validate_python(given)


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert str(HostPort("::1", 443)) == "[::1]:443"
    assert str(HostPort("a.test", 443)) == "a.test:443"


def test_a_bare_number_is_no_network() -> None:
    assert TypeAdapter(NetworkField).validate_python("10.0.0.5") == ipaddress.ip_network("10.0.0.5/32")
    for number in (10, True):
        with pytest.raises(ValidationError, match=r"10\.0\.0\.0/8"):
            TypeAdapter(NetworkField).validate_python(number)


def test_host_names_are_lower_case_a_labels() -> None:
    assert TypeAdapter(HostName).validate_python("Bücher.Test") == "xn--bcher-kva.test"
    with pytest.raises(ValidationError, match="expected a host name"):
        TypeAdapter(HostName).validate_python(10)


@pytest.mark.parametrize(
    ("text", "name"), [("Mail.A.Test", "mail.a.test"), ("::0001", "::1"), ("10.0.0.5", "10.0.0.5")]
)
def test_certificates_are_for_names_or_addresses(text: str, name: str) -> None:
    assert TypeAdapter(CertificateName).validate_python(text) == name


def test_an_address_is_told_from_a_name() -> None:
    assert is_address("::1")
    assert is_address("10.0.0.5")
    assert not any(map(is_address, ("a.test", "[::1]", "10.0.0", "")))
