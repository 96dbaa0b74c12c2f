"""What the DNS says about a name: its addresses, and the CAA records that apply to it. Gathers facts, decides nothing.

Asks the resolver of the settings or the system's, through dnspython, as the system's own calls know no CAA and do not
tell SERVFAIL from a name that does not exist.
"""

from __future__ import annotations

import math
import socket

import dns.exception
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver

from certstore.model.renewal.preflight_facts import CaaFacts, Lookup
from certstore.model.settings.addresses import HostPort
from certstore.net.lanes import Budget

LIFETIME_SECONDS = 8.0
"""For one question, with all servers and repetitions."""


class Resolver:
    """Never raises; how a question ended is part of its answer. May be used from several threads."""

    def __init__(self, address: HostPort | None = None, *, lifetime: float = LIFETIME_SECONDS) -> None:
        self._resolver = _make(address)
        self._lifetime = lifetime

    def addresses(self, name: str, *, version: int, seconds: float = math.inf) -> tuple[Lookup, tuple[str, ...]]:
        """A records for `version` 4, AAAA for 6, through any CNAME."""
        lookup, answer = self._ask(name, "A" if version == 4 else "AAAA", seconds)
        return lookup, tuple(sorted({record.address for record in answer or ()}))

    def caa(self, name: str, budget: Budget | None = None) -> CaaFacts:
        """The closest set on the way up (RFC 8659 §3)."""
        labels = name.split(".")
        for position in range(len(labels)):
            domain = ".".join(labels[position:])
            lookup, answer = self._ask(domain, "CAA", budget.left if budget is not None else math.inf)
            if lookup is Lookup.FOUND and answer is not None:
                records = tuple(
                    (bool(record.flags & 0x80), record.tag.decode("ascii", "replace"), _text(record.value))
                    for record in answer
                )
                return CaaFacts(lookup, domain, records)
            if lookup in (Lookup.SERVER_FAILURE, Lookup.TIMED_OUT):
                return CaaFacts(lookup, domain)
        return CaaFacts(Lookup.NO_DATA)

    def zone_of(self, name: str, *, seconds: float = math.inf) -> tuple[Lookup, str | None]:
        """The zone that contains the name, as its SOA record or a negative answer shows it (RFC 2308 §3)."""
        if self._resolver is None or seconds <= 0:
            return Lookup.TIMED_OUT, None
        try:
            zone = dns.resolver.zone_for_name(
                f"{name}.", resolver=self._resolver, lifetime=min(self._lifetime, seconds)
            )
        except dns.resolver.NoNameservers as error:
            return (Lookup.SERVER_FAILURE if _is_servfail(error) else Lookup.TIMED_OUT), None
        except (dns.exception.DNSException, OSError):
            return Lookup.TIMED_OUT, None
        return Lookup.FOUND, zone.to_text(omit_final_dot=True).lower()

    def name_servers(self, zone: str, *, seconds: float = math.inf) -> tuple[Lookup, tuple[str, ...]]:
        lookup, answer = self._ask(zone, "NS", seconds)
        return lookup, tuple(sorted({record.target.to_text(omit_final_dot=True).lower() for record in answer or ()}))

    def cname(self, name: str, *, seconds: float = math.inf) -> tuple[Lookup, str | None]:
        lookup, answer = self._ask(name, "CNAME", seconds)
        targets = [record.target.to_text(omit_final_dot=True).lower() for record in answer or ()]
        return lookup, targets[0] if targets else None

    def texts(self, name: str, *, seconds: float = math.inf) -> tuple[Lookup, frozenset[str]]:
        """The values of its TXT records, through any CNAME, as the resolver knows them."""
        lookup, answer = self._ask(name, "TXT", seconds)
        return lookup, frozenset(_text(b"".join(record.strings)) for record in answer or ())

    def _ask(self, name: str, kind: str, seconds: float) -> tuple[Lookup, dns.resolver.Answer | None]:
        if self._resolver is None or seconds <= 0:
            return Lookup.TIMED_OUT, None
        try:
            lifetime = min(self._lifetime, seconds)
            answer = self._resolver.resolve(f"{name}.", kind, search=False, lifetime=lifetime)
        except dns.resolver.NXDOMAIN:
            return Lookup.NO_SUCH_NAME, None
        except dns.resolver.NoAnswer:
            return Lookup.NO_DATA, None
        except dns.resolver.NoNameservers as error:
            return (Lookup.SERVER_FAILURE if _is_servfail(error) else Lookup.TIMED_OUT), None
        except (dns.exception.DNSException, OSError):
            return Lookup.TIMED_OUT, None
        return Lookup.FOUND, answer


def _make(address: HostPort | None) -> dns.resolver.Resolver | None:
    """None on a machine without any resolver."""
    if address is None:
        try:
            system = dns.resolver.Resolver()
        except (dns.resolver.NoResolverConfiguration, OSError):
            return None
        return system
    resolver = dns.resolver.Resolver(configure=False)
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except OSError:
        return None
    resolver.nameservers = [dns.nameserver.Do53Nameserver(str(found[0][4][0]), address.port)]
    return resolver


def _is_servfail(error: dns.resolver.NoNameservers) -> bool:
    """A resolver that refuses to serve us tells nothing about the name; SERVFAIL does."""
    responses = [each[4] for each in error.kwargs.get("errors", ())]
    return any(response is not None and response.rcode() == dns.rcode.SERVFAIL for response in responses)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
