"""Addresses, networks and names as you write them in `edge.yaml` and `site.yaml`: the types of single values.

Knows no key, and looks nothing up.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator

from certstore.model.names import DomainName, InvalidName


class HostPort(NamedTuple):
    """An address as written: an IP literal without brackets or a host name, and a port (0: the system chooses one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(text: object) -> object:
    """`host:port`, `[v6]:port` or `:port` (every address); raises ValueError with what is allowed."""
    if isinstance(text, HostPort):
        return text
    host, separator, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    is_port = port.isascii() and port.isdigit() and int(port) <= 65535
    if not separator or not is_port or (":" in host and not bracketed):
        raise ValueError("expected host:port, for example 127.0.0.1:8080 or [::1]:8080")
    host = host[1:-1] if bracketed else host
    if bracketed:
        ipaddress.IPv6Address(host)
    return HostPort(host or "::", int(port))


def is_address(text: str) -> bool:
    """Whether this is an IP address, without brackets, and not a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def parse_network(text: object) -> object:
    """An address or network in text; a bare number or boolean, which `ipaddress` would accept, is a mistake."""
    if not isinstance(text, (str, ipaddress.IPv4Network, ipaddress.IPv6Network)):
        raise ValueError("expected an address or network, for example 10.0.0.5 or 10.0.0.0/8")  # noqa: TRY004
    return text


NetworkField = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(parse_network)]
HostPortField = Annotated[HostPort, BeforeValidator(parse_host_port)]


def domain_name(text: Any, *, wildcard: bool = False) -> str:
    """A host name as lower-case A-labels; raises ValueError with what is wrong with it."""
    if not isinstance(text, str):
        raise ValueError("expected a host name")  # noqa: TRY004  pydantic turns a ValueError into its own report
    try:
        return DomainName.parse(text, wildcard=wildcard).value
    except InvalidName as error:
        raise ValueError(str(error)) from error


HostName = Annotated[str, BeforeValidator(domain_name)]
"""Held as lower-case A-labels."""


def _certificate_name(text: Any) -> Any:
    """Certificates can be for addresses too."""
    try:
        return str(ipaddress.ip_address(str(text)))
    except ValueError:
        return domain_name(text)


CertificateName = Annotated[str, BeforeValidator(_certificate_name)]
"""What a server's certificate must cover: a host name or an IP address."""
