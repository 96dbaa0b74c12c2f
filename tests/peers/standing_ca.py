"""A small ACME server that offers dns-persist-01 and nothing else, as no real one does yet.

It trusts every signature. What it checks is the draft's own rule: a TXT record at `_validation-persist.` of a name, in
the zone of `dns_server`, for one of its issuer names, this account and, for a wildcard, with the policy. Without a
`hash_prefix` it follows draft -01, whose records hold the account's URL.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dns.message
import dns.query
import dns.rdatatype
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from josepy.jwk import JWK

from tests.certificates import CertificateAuthority

ISSUER = "ca.standing.test"


def unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def packed(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def thumbprint_of(jwk: dict[str, Any]) -> bytes:
    key: Any = JWK.from_json(jwk)
    thumbprint: bytes = key.thumbprint()
    return thumbprint


class StandingCa:
    """`orders` counts new orders, `refused` holds the names that failed."""

    def __init__(self, dns_server: tuple[str, int], *, is_hashed: bool = True) -> None:
        self._dns = dns_server
        self.is_hashed = is_hashed
        self.refused: list[str] = []
        self.orders: list[dict[str, Any]] = []
        self._accounts: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="standing-ca-")
        authority = CertificateAuthority()
        server = authority.issue("localhost")
        self.ca_file = Path(self._folder.name) / "root.pem"
        self.ca_file.write_bytes(authority.root_pem)
        combined = Path(self._folder.name) / "server.pem"
        combined.write_bytes(server.combined_pem)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Standing CA")])
        ca = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(200, ca.directory_facts())

            def do_HEAD(self) -> None:
                self._answer(200, None)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                payload = unpacked(body["payload"])
                head = json.loads(unpacked(body["protected"]))
                self._answer(*ca.answer(self.path, head, json.loads(payload) if payload else None))

            def _answer(self, status: int, facts: Any, location: str | None = None) -> None:
                content = facts.encode() if isinstance(facts, str) else json.dumps(facts).encode()
                self.send_response(status)
                self.send_header("Replay-Nonce", packed(b"nonce of no meaning"))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "0" if facts is None else str(len(content)))
                if location is not None:
                    self.send_header("Location", location)
                self.end_headers()
                if facts is not None:
                    self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(combined)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def url(self, path: str = "/dir") -> str:
        return f"https://localhost:{self._server.server_address[1]}{path}"

    @property
    def directory(self) -> str:
        return self.url()

    def directory_facts(self) -> dict[str, Any]:
        meta: dict[str, Any] = {"caaIdentities": [ISSUER]}
        if self.is_hashed:
            meta |= {"issuerDomainNames": [ISSUER], "accountHashPrefix": self.url("/hash/")}
        return {"meta": meta} | {f"new{each}": self.url(f"/{each.lower()}") for each in ("Nonce", "Account", "Order")}

    def answer(self, path: str, head: dict[str, Any], payload: Any) -> tuple[int, Any, str | None]:
        kind, _, number = path.strip("/").partition("/")
        if kind == "account":
            self._accounts.append(packed(thumbprint_of(head["jwk"])))
            return 201, {"status": "valid"}, self.url(f"/acct/{len(self._accounts) - 1}")
        if kind == "order" and not number:
            names = [each["value"] for each in payload["identifiers"]]
            self.orders.append(
                {"names": names, "valid": set(), "refused": set(), "account": head["kid"], "chain": None}
            )
            number = str(len(self.orders) - 1)
            return 201, self._order(int(number)), self.url(f"/order/{number}")
        at, _, name_at = number.partition("/")
        order = self.orders[int(at)]
        if kind == "order":
            return 200, self._order(int(at)), None
        if kind == "finalize":
            order["chain"] = self._signed(unpacked(payload["csr"]))
            return 200, self._order(int(at)), None
        if kind == "chain":
            return 200, order["chain"], None
        name = order["names"][int(name_at)]
        if kind == "challenge":
            (order["valid"] if self._is_proven(name, order["account"]) else order["refused"]).add(name)
            self.refused += [name] if name in order["refused"] else []
        authorization = self._authorization(int(at), int(name_at))
        return 200, authorization["challenges"][0] if kind == "challenge" else authorization, None

    def _order(self, number: int) -> dict[str, Any]:
        order, status = self.orders[number], "pending"
        if order["refused"]:
            status = "invalid"
        elif order["chain"]:
            status = "valid"
        elif order["valid"] >= set(order["names"]):
            status = "ready"
        facts = {
            "status": status,
            "identifiers": [{"type": "dns", "value": name} for name in order["names"]],
            "authorizations": [self.url(f"/authz/{number}/{at}") for at in range(len(order["names"]))],
            "finalize": self.url(f"/finalize/{number}"),
        }
        return facts | ({"certificate": self.url(f"/chain/{number}")} if order["chain"] else {})

    def _authorization(self, number: int, at: int) -> dict[str, Any]:
        order = self.orders[number]
        name = order["names"][at]
        status = "valid" if name in order["valid"] else "invalid" if name in order["refused"] else "pending"
        challenge: dict[str, Any] = {
            "type": "dns-persist-01",
            "url": self.url(f"/challenge/{number}/{at}"),
            "status": status,
            "issuerDomainNames" if self.is_hashed else "issuer-domain-names": [ISSUER],
        }
        if status == "invalid":
            problem = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": f"no record for {name}"}
            challenge["error"] = problem
        facts = {"identifier": {"type": "dns", "value": name.removeprefix("*.")}, "status": status}
        return facts | {"challenges": [challenge], "wildcard": name.startswith("*.")}

    def _is_proven(self, name: str, account: str) -> bool:
        """By the draft's §4.2, written independently of the edge's own reading of it."""
        base = name.removeprefix("*.")
        query = dns.message.make_query(f"_validation-persist.{base}.", "TXT")
        answer = dns.query.tcp(query, self._dns[0], 5, self._dns[1])
        uri = account
        if self.is_hashed:
            key = self._accounts[int(account.rpartition("/")[2])]
            digest = hashlib.sha256(len(base).to_bytes(1) + base.encode() + key.encode() + account.encode()).digest()
            uri = self.url("/hash/") + "sha-256/" + packed(digest)
        for group in answer.answer:
            for record in group:
                issuer, *parameters = [part.strip() for part in b"".join(record.strings).decode().split(";")]
                is_wide = "policy=wildcard" in parameters or not name.startswith("*.")
                if issuer == ISSUER and f"accounturi={uri}" in parameters and is_wide:
                    return True
        return False

    def _signed(self, request: bytes) -> str:
        csr = x509.load_der_x509_csr(request)
        now = datetime.now(UTC)
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._name)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=90))
            .add_extension(names.value, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._folder.cleanup()
