"""A real authoritative DNS server (BIND) that takes signed updates, on loopback, for as long as the `with` lasts.

    with Bind({"client-a.test": ["www A 127.0.0.1"]}) as bind:
        bind.address, bind.key_file, bind.texts("_acme-challenge.client-a.test")

Each zone has the name servers ns1 (127.0.0.1), and ns2 (127.0.0.2) with `has_second`. The key may change TXT records in
all zones but those in `read_only`. `server_address` is what the zones say of ns1. There is an empty zone test too, so
that questions about what is above the zones end here.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update

from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.ports import free_port

KEY_NAME = "certedge-key"


class Bind:
    def __init__(
        self,
        zones: Mapping[str, Sequence[str]],
        *,
        read_only: Collection[str] = (),
        has_second: bool = False,
        server_address: str = "127.0.0.1",
    ) -> None:
        self._program = require_peer("named")
        self._folder = Path(tempfile.mkdtemp(prefix="bind-"))
        self._zones = {**zones, "test": ()}
        self._read_only = {*read_only, "test"}
        self._has_second = has_second
        self._server_address = server_address
        self.host = "127.0.0.1"
        self.port = free_port()
        self.secret = base64.b64encode(os.urandom(32)).decode()
        self.key_file = self._folder / "tsig.key"
        self.key_file.write_text(
            f'key "{KEY_NAME}" {{\n\talgorithm hmac-sha256;\n\tsecret "{self.secret}";\n}};\n', encoding="ascii"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        for zone, records in self._zones.items():
            (self._folder / f"{zone}.zone").write_text(self._zone_file(zone, records), encoding="ascii")
        (self._folder / "named.conf").write_text(self._configuration(), encoding="ascii")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start, or start again after `stop`, with the records as they are."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), "-f", "-n", "1", "-U", "1", "-c", str(self._folder / "named.conf")],
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "BIND listens")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)
        self._process = None

    def _answers(self) -> bool:
        assert self._process is None or self._process.poll() is None, self.log
        try:
            zone = next(iter(self._zones))
            return self._ask(zone, "SOA").rcode() == dns.rcode.NOERROR
        except (OSError, dns.exception.DNSException):
            return False

    def _ask(self, name: str, kind: str) -> dns.message.Message:
        return dns.query.tcp(dns.message.make_query(f"{name}.", kind), self.host, 5, self.port)

    def texts(self, name: str) -> set[str]:
        """The values of the TXT records at this very name."""
        return {
            b"".join(record.strings).decode()
            for group in self._ask(name, "TXT").answer
            if group.rdtype == dns.rdatatype.TXT
            for record in group
        }

    def add_text(self, zone: str, name: str, value: str) -> None:
        key = dns.tsig.Key(KEY_NAME, self.secret, dns.tsig.HMAC_SHA256)
        update = dns.update.UpdateMessage(zone, keyring=key)
        update.add(f"{name}.", 60, "TXT", f'"{value}"')
        assert dns.query.tcp(update, self.host, 10, self.port).rcode() == dns.rcode.NOERROR

    def _zone_file(self, zone: str, records: Sequence[str]) -> str:
        servers = ["@ NS ns1", f"ns1 A {self._server_address}"]
        if self._has_second:
            servers += ["@ NS ns2", "ns2 A 127.0.0.2"]
        lines = [f"$ORIGIN {zone}.", "$TTL 60", "@ SOA ns1 hostmaster 1 3600 600 86400 60", *servers, *records]
        return "\n".join(lines) + "\n"

    def _configuration(self) -> str:
        zones = "".join(
            f'zone "{zone}" {{ type primary; file "{zone}.zone"; '
            + ("" if zone in self._read_only else f"update-policy {{ grant {KEY_NAME} zonesub TXT; }}; ")
            + "};\n"
            for zone in self._zones
        )
        return f"""\
include "{self.key_file}";
options {{
    directory "{self._folder}";
    pid-file "{self._folder / "named.pid"}";
    session-keyfile none;
    lock-file none;
    listen-on port {self.port} {{ {self.host}; }};
    listen-on-v6 {{ none; }};
    recursion yes;
    dnssec-validation no;
    empty-zones-enable no;
    notify no;
}};
controls {{ }};
logging {{ channel out {{ stderr; severity info; }}; category default {{ out; }}; }};
{zones}"""
