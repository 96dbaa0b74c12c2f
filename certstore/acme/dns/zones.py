"""Where a record has to be: the zone of a name, the zone's own servers, and the name after any CNAME.

The zone and its servers come from the resolver; everything else is asked at those servers, as a resolver's cache may be
an hour behind. The owner of a name chooses its servers and CNAMEs, so both are few, and only addresses that `allows`
names are asked. Where none of them answers, as behind a firewall that lets no DNS out, the resolver is asked instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns_facts import Resolver
from certstore.model.renewal.preflight_facts import Lookup
from certstore.model.settings.dns import DNS_PORT
from certstore.model.text import shown

SERVERS_MOST, ADDRESSES_MOST = 13, 16
CNAMES_MOST = 8
_ASKED_FOR_CNAME = 4
_USUAL_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
"""A stranger chooses where a CNAME leads: to no wildcard, and to nothing that a hook or a provider might misread."""
ASK_SECONDS = 3.0
LOOK_UP_SECONDS = 8.0


class NotLocated(Exception):
    """The zone could not be found out; the message says why."""


@dataclass(frozen=True, slots=True)
class ZoneServer:
    """One address of one of a zone's name servers."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{shown(self.name)} ({self.address})"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the record for `asked` has to be: at `name`, in `zone`. They differ where a CNAME leads elsewhere;
    `first_zone` is the zone that `asked` lies in."""

    asked: str
    name: str
    zone: str
    first_zone: str
    servers: tuple[ZoneServer, ...]

    @property
    def is_elsewhere(self) -> bool:
        """Whether a CNAME leads into another zone."""
        return self.zone != self.first_zone


@dataclass(frozen=True, slots=True)
class Zones:
    """`allows` says whether to ask an address. `port` is another one than 53 only in tests. May be used from several
    threads."""

    resolver: Resolver
    allows: Callable[[str], bool]
    port: int = DNS_PORT

    def locate(self, name: str, bounds: Bounds) -> Place:
        """Follow CNAMEs to where a record has to be. Raises NotLocated, Interrupted."""
        seen, at, first_zone = [name], name, ""
        while True:
            zone = self._zone_of(at, bounds)
            first_zone = first_zone or zone
            servers = self.servers_of(zone, bounds)
            target = self._cname(at, servers, bounds)
            if target is None:
                return Place(name, at, zone, first_zone, servers)
            if not _USUAL_NAME.fullmatch(target):
                raise NotLocated(f"{shown(at)} leads to {shown(target)}, which is not the name of a record for this")
            if target in seen:
                raise NotLocated(f"the CNAME records that begin at {name} lead in a circle")
            if len(seen) > CNAMES_MOST:
                raise NotLocated(
                    f"there are more than {CNAMES_MOST} CNAME records, one after the other, from {name} on"
                )
            seen.append(target)
            at = target

    def _zone_of(self, name: str, bounds: Bounds) -> str:
        lookup, zone = self._look_up(partial(self.resolver.zone_of, name), bounds)
        if zone is None:
            # Resolvers follow a CNAME by themselves and fail where it leads nowhere: only its owner's zone matters.
            lookup, zone = self._look_up(partial(self.resolver.zone_of, name.partition(".")[2]), bounds)
        if zone is None:
            reason = "the DNS answers SERVFAIL" if lookup is Lookup.SERVER_FAILURE else "no DNS server answered"
            raise NotLocated(f"could not find out which zone {shown(name)} is in: {reason}")
        return zone

    def servers_of(self, zone: str, bounds: Bounds) -> tuple[ZoneServer, ...]:
        """All addresses of the zone's name servers that may be asked."""
        _, names = self._look_up(partial(self.resolver.name_servers, zone), bounds)
        found = []
        for name in (names or ())[:SERVERS_MOST]:
            for version in (4, 6):
                _, addresses = self._look_up(partial(self.resolver.addresses, name, version=version), bounds)
                found += [ZoneServer(name, each) for each in addresses or () if self.allows(each)]
        return tuple(found[:ADDRESSES_MOST])

    def _look_up[R](self, work: Callable[..., tuple[Lookup, R]], bounds: Bounds) -> tuple[Lookup, R | None]:
        try:
            return bounds.run(lambda seconds: work(seconds=seconds), LOOK_UP_SECONDS)
        except TimeoutError:
            return Lookup.TIMED_OUT, None

    def texts(self, name: str, bounds: Bounds) -> frozenset[str]:
        """The values of the TXT records at a name, or where a CNAME leads. Raises NotLocated, Interrupted."""
        place = self.locate(name, bounds)
        asked = place.servers[:_ASKED_FOR_CNAME]
        for answer in bounds.run_all(
            lambda each: self.ask(each, place.name, "TXT", ASK_SECONDS), asked, ASK_SECONDS + 1
        ):
            if answer is not None:
                return texts_of(answer, place.name)
        _, texts = self._look_up(partial(self.resolver.texts, name), bounds)
        return texts or frozenset()

    def _cname(self, name: str, servers: Sequence[ZoneServer], bounds: Bounds) -> str | None:
        asked = servers[:_ASKED_FOR_CNAME]
        answers = bounds.run_all(lambda each: self.ask(each, name, "CNAME", ASK_SECONDS), asked, ASK_SECONDS + 1)
        for answer in answers:
            if answer is not None:
                return _only_target(answer, name)
        _, target = self._look_up(partial(self.resolver.cname, name), bounds)
        return target

    def ask(self, server: ZoneServer, name: str, kind: str, seconds: float) -> dns.message.Message | None:
        """What one of the zone's own servers says: that there is such a record, or that there is none. None for no
        answer, and for one of a server that does not know the zone. Never raises."""
        query = dns.message.make_query(f"{name}.", kind, flags=0, use_edns=0, payload=1232)
        for timeout in (min(1.0, seconds / 2), seconds / 2):  # a packet may be lost once
            try:
                answer, _ = dns.query.udp_with_fallback(
                    query, server.address, timeout, self.port, ignore_unexpected=True, ignore_trailing=True
                )
            except (dns.exception.DNSException, OSError, EOFError, ValueError):
                continue
            if answer.flags & dns.flags.AA and answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return answer
            return None
        return None


def texts_of(answer: dns.message.Message, name: str) -> frozenset[str]:
    """The values of the TXT records at `name`."""
    wanted = dns.name.from_text(name)
    return frozenset(
        b"".join(record.strings).decode("utf-8", "replace")
        for group in answer.answer
        if group.rdtype == dns.rdatatype.TXT and group.name == wanted
        for record in group
    )


def _only_target(answer: dns.message.Message, name: str) -> str | None:
    wanted = dns.name.from_text(name)
    for group in answer.answer:
        if group.rdtype == dns.rdatatype.CNAME and group.name == wanted:
            return plain(group[0].target)
    return None


def plain(name: dns.name.Name) -> str:
    """In lower case and without the trailing dot; unusual characters come as escapes, so it is printable."""
    return name.to_text(omit_final_dot=True).lower()
