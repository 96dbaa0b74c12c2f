"""A real ACME server (Pebble) with its own DNS (pebble-challtestsrv), on loopback, for as long as the `with` lasts.

    with Pebble(http_port=edge.port("http")) as pebble:
        pebble.directory, pebble.ca_file, pebble.root(), pebble.dns.add_a("a.test", "127.0.0.1"), pebble.orders()

Every name resolves to 127.0.0.1 unless set otherwise. By default it validates without pauses and accepts every valid
nonce.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.ports import free_port


class MockDns:
    """pebble-challtestsrv as a DNS server whose answers are set over HTTP."""

    def __init__(self, *, default_ipv4: str = "127.0.0.1") -> None:
        self._program = require_peer("pebble-challtestsrv")
        self._default_ipv4 = default_ipv4
        self.port = free_port()
        self._management = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [
                str(self._program),
                *("-dns01", self.address, "-management", f"127.0.0.1:{self._management}"),
                *("-http01", "", "-https01", "", "-tlsalpn01", ""),
                *("-defaultIPv4", self._default_ipv4, "-defaultIPv6", ""),
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_for(self._answers, "the mock DNS listens")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(self._process)
        self._log.close()

    def _answers(self) -> bool:
        try:
            self._tell("clear-servfail", {"host": "nothing.test"})
        except OSError:
            return False
        return True

    def _tell(self, verb: str, facts: Mapping[str, Any]) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._management}/{verb}", json.dumps(facts).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            response.read()

    def add_a(self, host: str, *addresses: str) -> None:
        self._tell("add-a", {"host": f"{host}.", "addresses": addresses})

    def add_aaaa(self, host: str, *addresses: str) -> None:
        self._tell("add-aaaa", {"host": f"{host}.", "addresses": addresses})

    def clear_a(self, host: str) -> None:
        self._tell("clear-a", {"host": f"{host}."})

    def set_cname(self, host: str, target: str) -> None:
        self._tell("set-cname", {"host": f"{host}.", "target": f"{target}."})

    def add_caa(self, host: str, *policies: tuple[str, str]) -> None:
        listed = [{"tag": tag, "value": value} for tag, value in policies]
        self._tell("add-caa", {"host": f"{host}.", "policies": listed})

    def set_servfail(self, host: str) -> None:
        self._tell("set-servfail", {"host": f"{host}."})

    def clear_servfail(self, host: str) -> None:
        self._tell("clear-servfail", {"host": f"{host}."})


class Pebble:
    """`http_port` is where it validates http-01, and `tls_port` where tls-alpn-01; both may be set until the `with`
    begins. `environment` are Pebble's own switches (PEBBLE_…). `dns_server` (host:port) is asked in place of its own
    DNS."""

    def __init__(
        self,
        http_port: int,
        *,
        environment: Mapping[str, str] | None = None,
        external_accounts: Mapping[str, str] | None = None,
        dns_server: str | None = None,
    ) -> None:
        self._program = require_peer("pebble")
        self._folder = Path(tempfile.mkdtemp(prefix="pebble-"))
        self.dns = MockDns()
        self._port, self._management = free_port(), free_port()
        self.http_port = http_port
        self.tls_port = 1
        self._environment = {
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": "0",
            "PEBBLE_AUTHZREUSE": "0",
            **(environment or {}),
        }
        self._external_accounts = external_accounts
        self._dns_server = dns_server or self.dns.address
        self.ca_file = self._folder / "authority.pem"
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> str:
        return f"https://localhost:{self._port}/dir"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        self._stack.enter_context(self.dns)
        self._write_configuration()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._stack.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start again after `stop`: Pebble has forgotten everything, its root too."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), "-config", str(self._folder / "config.json"), "-dnsserver", self._dns_server],
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "Pebble listens")

    def stop(self) -> None:
        _end(self._process)
        self._process = None

    def root(self, position: int = 0) -> bytes:
        """The root that its certificates lead to, PEM; new at each start."""
        return self._get(self._management, f"/roots/{position}")

    def orders(self) -> int:
        """How many new orders it has accepted."""
        return self.log.count("Added order ")

    def accounts(self) -> int:
        """How many accounts it has created since its last start."""
        counts = [line.split("There are now ")[1] for line in self.log.splitlines() if "accounts in memory" in line]
        return int(counts[-1].split()[0]) if counts else 0

    def _answers(self) -> bool:
        try:
            return bool(self._get(self._port, "/dir"))
        except OSError:
            assert self._process is None or self._process.poll() is None, self.log
            return False

    def _get(self, port: int, path: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(f"https://localhost:{port}{path}", timeout=5, context=context) as response:
            content: bytes = response.read()
        return content

    def _write_configuration(self) -> None:
        authority = CertificateAuthority()
        server = authority.issue("localhost")
        self.ca_file.write_bytes(authority.root_pem)
        (self._folder / "cert.pem").write_bytes(server.fullchain_pem)
        (self._folder / "key.pem").write_bytes(server.privkey_pem)
        configuration: dict[str, Any] = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(self._folder / "cert.pem"),
            "privateKey": str(self._folder / "key.pem"),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": self._external_accounts is not None,
            "externalAccountMACKeys": dict(self._external_accounts or {}),
        }
        (self._folder / "config.json").write_text(json.dumps({"pebble": configuration}), encoding="utf-8")


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None and process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
