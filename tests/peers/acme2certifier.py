"""A second ACME server besides Pebble: acme2certifier, on loopback, for as long as the `with` lasts.

    with Acme2certifier(http_port=edge.port("http")) as server:
        server.directory, server.ca_file, server.root(), server.dns.add_a("a.test", "127.0.0.1"), server.log

Companies put it in front of their internal CA. It differs from Pebble in what RFC 8555 leaves open: it validates while
it answers, sends no Retry-After where Pebble does, uses other account paths, keeps everything in a file across
restarts, checks contacts and speaks HTTP/1.0. Runs as `python -m tests.peers.acme2certifier_server`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.peers import do_without
from tests.peers.pebble import MockDns
from tests.ports import free_port

ROOT = Path(__file__).parents[2]


class Acme2certifier:
    """`http_port` is where it validates http-01; it may be set until the `with` begins. `external_accounts` are HMAC
    keys in base64url by key id; `settings` its own options by section."""

    def __init__(
        self,
        http_port: int,
        *,
        external_accounts: Mapping[str, str] | None = None,
        settings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        try:
            importlib.import_module("acme2certifier")
        except ImportError:
            do_without("acme2certifier (pip install acme2certifier)")
        self._folder = Path(tempfile.mkdtemp(prefix="acme2certifier-"))
        self.dns = MockDns()
        self._port = free_port()
        self.http_port = http_port
        self._external_accounts = external_accounts
        self._settings = settings or {}
        self._authority = CertificateAuthority("Company")
        self.ca_file = self._folder / "front.pem"
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> str:
        return f"https://localhost:{self._port}/directory"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def root(self) -> bytes:
        """The root that its certificates lead to, PEM; the same after a restart."""
        return self._authority.root_pem

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
        """Start again after `stop`: it remembers accounts, orders and certificates."""
        dns_port = str(self.dns.port)
        program = [sys.executable, "-m", "tests.peers.acme2certifier_server"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*program, str(self._folder), str(self._port), str(self.http_port), dns_port],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "acme2certifier listens", seconds=60, pause=0.05)

    def forget(self) -> None:
        """Forget everything; call it while the server is stopped."""
        assert self._process is None, "its file is open"
        for path in self._folder.glob("acme.db*"):
            path.unlink()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)
        self._process = None

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            with urllib.request.urlopen(self.directory, timeout=5, context=context) as response:
                return bool(json.load(response))
        except OSError:
            assert self._process is None or self._process.poll() is None, self.log
            return False

    def _write_configuration(self) -> None:
        front = CertificateAuthority("Front")
        self.ca_file.write_bytes(front.root_pem)
        (self._folder / "issued").mkdir()
        (self._folder / "server.pem").write_bytes(front.issue("localhost").combined_pem)
        (self._folder / "ca-key.pem").write_bytes(self._authority.signing_key_pem)
        (self._folder / "ca.pem").write_bytes(self._authority.intermediate_pem)
        (self._folder / "root.pem").write_bytes(self._authority.root_pem)
        facts: dict[str, dict[str, str]] = {
            "DEFAULT": {"debug": "False", "dns_server_list": json.dumps(["127.0.0.1"])},
            "DBhandler": {
                "handler_module": "acme2certifier.dbhandlers.wsgi_handler",
                "dbfile": str(self._folder / "acme.db"),
            },
            "CAhandler": {
                "handler_module": "acme2certifier.cahandlers.openssl_ca_handler",
                "issuing_ca_key": "ca-key.pem",
                "issuing_ca_cert": "ca.pem",
                "issuing_ca_crl": "crl.pem",
                "ca_cert_chain_list": json.dumps(["root.pem"]),
                "cert_save_path": "issued",
                "cert_validity_days": "90",
            },
            "Directory": {"tos_url": "https://localhost/terms"},
        }
        if self._external_accounts is not None:
            (self._folder / "external.json").write_text(json.dumps(dict(self._external_accounts)), encoding="utf-8")
            facts["EABhandler"] = {
                "eab_handler_module": "acme2certifier.eabhandlers.json_handler",
                "key_file": str(self._folder / "external.json"),
            }
        for section, options in self._settings.items():
            facts.setdefault(section, {}).update(options)
        configuration = ConfigParser(interpolation=None)
        configuration.read_dict(facts)
        with (self._folder / "acme_srv.cfg").open("w", encoding="utf-8") as file:
            configuration.write(file)
