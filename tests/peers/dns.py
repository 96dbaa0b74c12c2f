"""A DNS server for the answers that pebble-challtestsrv can't give: NXDOMAIN, REFUSED, silence."""

from __future__ import annotations

import socketserver
import threading
from types import TracebackType
from typing import Any, Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class DnsServer:
    """`records` maps (name, type) to texts; `codes` maps a name to a response code; names in `silent` get no
    answer; every other name does not exist. It calls itself a zone's own server with `is_authoritative`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, is_authoritative: bool = False) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.codes: dict[str, dns.rcode.Rcode] = {}
        self.silent: set[str] = set()
        self._flags = dns.flags.AA if is_authoritative else dns.flags.RA
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                query, channel = self.request
                answer = server.answer(query)
                if answer is not None:
                    channel.sendto(answer, self.client_address)

        self._server = socketserver.ThreadingUDPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text().rstrip(".").lower()
        if name in self.silent:
            return None
        response: Any = dns.message.make_response(query)
        response.flags |= self._flags
        kind = dns.rdatatype.to_text(question.rdtype)
        if name in self.codes:
            response.set_rcode(self.codes[name])
        elif (name, kind) in self.records:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *self.records[name, kind]))
        elif not any(known == name or known.endswith(f".{name}") for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        content: bytes = response.to_wire()
        return content

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
