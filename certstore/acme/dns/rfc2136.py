"""Dynamic updates (RFC 2136) to the primary server of a zone, over TCP, signed with TSIG (RFC 8945).

The zone is asked of that server itself: it may be a hidden primary, or have the zone in a view of its own. Only single
values are added and removed, so other records at the name stay as they are.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.tsig import TsigKey, read_tsig_key
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.acme.dns.zones import Place
from certstore.model.settings.addresses import HostPort
from certstore.model.settings.dns import Rfc2136Settings

TTL_SECONDS = 60
EXCHANGE_SECONDS = 15.0

_CHECK_KEY = "Check name, algorithm and secret of the key here and at the DNS server."
_TSIG_ERRORS = {
    dns.tsig.PeerBadKey: ("does not know the TSIG key", _CHECK_KEY),
    dns.tsig.PeerBadSignature: ("refuses the signature: its key has another secret", _CHECK_KEY),
    dns.tsig.PeerBadTime: ("refuses the signature: its clock and this server's differ", "Correct both clocks (NTP)."),
    dns.tsig.BadTime: ("answers with a time that differs from this server's clock", "Correct both clocks (NTP)."),
    dns.tsig.BadSignature: ("answers with a signature that is not the key's", _CHECK_KEY),
    dns.message.UnknownTSIGKey: ("answers with a signature of another key", _CHECK_KEY),
}
_RCODES = {
    dns.rcode.NOTAUTH: ("does not accept the key, or is not the primary server of the zone", _CHECK_KEY),
    dns.rcode.REFUSED: (
        "refuses the update: the key may not change this name",
        "Allow it there, in BIND for example: update-policy { grant KEY name _acme-challenge.client-a.com. TXT; };",
    ),
    dns.rcode.NOTZONE: ("says that the name is not in the zone", "Check which server has the zone."),
}


@dataclass(frozen=True, slots=True)
class Rfc2136Writer:
    """`base` is the folder of edge.yaml. The key is read at each use, so that a new one counts at once."""

    settings: Rfc2136Settings
    base: Path

    def add(self, place: Place, values: Sequence[str], bounds: Bounds) -> None:
        self._change(place, values, bounds, is_addition=True)

    def remove(self, place: Place, values: Sequence[str], bounds: Bounds) -> None:
        self._change(place, values, bounds, is_addition=False)

    def _change(self, place: Place, values: Sequence[str], bounds: Bounds, *, is_addition: bool) -> None:
        key = read_tsig_key(self.base / self.settings.tsig_secret_file, self.settings)
        exchange = _Exchange(self.settings.server, key, bounds)
        name = dns.name.from_text(place.name)
        zone = exchange.zone_of(name)
        update = dns.update.UpdateMessage(zone, keyring=key.key)
        for value in values:
            if is_addition:
                update.add(name, TTL_SECONDS, dns.rdatatype.TXT, _quoted(value))
            else:
                update.delete(name, dns.rdatatype.TXT, _quoted(value))
        answer = exchange.send(update)
        if answer.rcode() != dns.rcode.NOERROR:
            raise exchange.refused(answer, f"an update of {place.name} in the zone {zone.to_text(True)}")


class _Exchange:
    """With one server, in the name of one key."""

    def __init__(self, server: HostPort, key: TsigKey, bounds: Bounds) -> None:
        self._server = server
        self._key = key
        self._bounds = bounds

    def zone_of(self, name: dns.name.Name) -> dns.name.Name:
        """The closest zone on the way up that this server has."""
        at, refusal = name, None
        while at != dns.name.root:
            query = dns.message.make_query(at, dns.rdatatype.SOA, flags=0)
            query.use_tsig(self._key.key)
            answer = self.send(query)
            if answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                if (zone := _zone_in(answer, at)) is not None:
                    return zone
            else:
                refusal = answer
            at = at.parent()
        if refusal is not None and refusal.rcode() not in (dns.rcode.REFUSED, dns.rcode.SERVFAIL):
            raise self.refused(refusal, f"a question about the zone of {name.to_text(True)}")
        raise CannotWrite(
            f"the DNS server {self._server} has no zone that contains {name.to_text(True)}",
            remedy="Check acme.dns: another server may be the primary one of this zone.",
            needs_person=True,
        )

    def send(self, message: dns.message.Message) -> dns.message.Message:
        try:
            return self._bounds.run(lambda seconds: self._send(message, seconds), EXCHANGE_SECONDS)
        except (TimeoutError, dns.exception.Timeout):
            raise CannotWrite(f"the DNS server {self._server} did not answer in time") from None
        except tuple(_TSIG_ERRORS) as error:
            raise self._unsigned(error) from None
        except OSError as error:
            reason = error.strerror or "no connection"
            raise CannotWrite(f"could not connect to the DNS server {self._server}: {reason}") from None
        except (dns.exception.DNSException, EOFError, ValueError) as error:
            detail = f"the DNS server {self._server} gave an answer that can't be read ({type(error).__name__})"
            raise CannotWrite(detail) from None

    def _send(self, message: dns.message.Message, seconds: float) -> dns.message.Message:
        address = socket.getaddrinfo(self._server.host, self._server.port, type=socket.SOCK_STREAM)[0][4][0]
        return dns.query.tcp(message, str(address), seconds, self._server.port)

    def _unsigned(self, error: Exception) -> CannotWrite:
        said, remedy = next(words for kind, words in _TSIG_ERRORS.items() if isinstance(error, kind))
        detail = f"the DNS server {self._server} {said} ({self._key.name})"
        return CannotWrite(detail, remedy=remedy, needs_person=True)

    def refused(self, answer: dns.message.Message, what: str) -> CannotWrite:
        code: Any = answer.rcode()
        said, remedy = _RCODES.get(code, (f"answered {dns.rcode.to_text(code)}", ""))
        return CannotWrite(f"the DNS server {self._server} {said}: {what}", remedy=remedy, needs_person=code in _RCODES)


def _zone_in(answer: dns.message.Message, name: dns.name.Name) -> dns.name.Name | None:
    """The SOA record's owner: the name itself, or in a negative answer the zone above it."""
    if not answer.flags & dns.flags.AA:
        return None
    for group in (*answer.answer, *answer.authority):
        if group.rdtype == dns.rdatatype.SOA and name.is_subdomain(group.name):
            return group.name
    return None


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
