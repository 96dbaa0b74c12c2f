"""What a thief of the engine's disk, or of its backup, finds: the files of a real etcd, searched byte for byte."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certstore.cluster.access import open_engine
from certstore.cluster.engine import Engine, ModifiedAt, Put
from certstore.cluster.invitation import Invitation
from certstore.cluster.keys import KeyRing, read_keys
from certstore.cluster.sealing import KeyRingSealer
from certstore.control.commands.requests import (
    CommandRequest,
    InitClusterRequest,
    InviteNodeRequest,
    JoinClusterRequest,
    LeaveClusterRequest,
)
from certstore.control.commands.results import CommandResult
from certstore.control.commands.table import perform
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.cluster.paths import CLASSES, ClusterPaths, Shelf
from certstore.model.settings.cluster import ClusterSettings
from certstore.model.settings.models import SiteSettings
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.stores import SITE, acquire
from tests.peers.etcd import Etcd

CONTACT = "anna.secret@client-a.test"
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"
AUTHORIZATION = f"{'t' * 43}.nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ"
ACCOUNT = "https://ca.test/acct/4711-secret"


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    """Its files are searched at the end."""
    with Etcd(1) as running:
        yield running


def forms_of_key(pem: bytes) -> Iterator[bytes]:
    """A private key as PEM lines, as DER, and its secret number alone."""
    lines = [line for line in pem.splitlines() if not line.startswith(b"-----")]
    yield from (line for line in lines if len(line) >= 32)
    yield base64.b64decode(b"".join(lines))[-48:]
    key = load_pem_private_key(pem, None)
    assert isinstance(key, (EllipticCurvePrivateKey, RSAPrivateKey))
    numbers = key.private_numbers()
    secret = numbers.p if isinstance(numbers, RSAPrivateNumbers) else numbers.private_value
    yield secret.to_bytes((secret.bit_length() + 7) // 8)


def forms_of_secret(raw: bytes) -> Iterator[bytes]:
    yield raw
    yield raw.hex().encode()
    yield base64.b64encode(raw).rstrip(b"=")[:-1]  # the last character depends on what follows
    yield base64.urlsafe_b64encode(raw).rstrip(b"=")[:-1]


def forms_of_ring(ring: KeyRing) -> Iterator[bytes]:
    for key in ring.keys.values():
        for raw in (key.seal_sites, key.seal_control, key.sign):
            if raw is not None:
                yield from forms_of_secret(raw)
    for raw in (ring.own.sign, ring.own.exchange):
        yield from forms_of_secret(raw)


class Machines:
    """Two stores with a cluster over the real engine."""

    def __init__(self, folder: Path, etcd: Etcd) -> None:
        self.folder = folder
        self.section = {
            "engine": list(etcd.endpoints), "ca_file": str(etcd.ca_file), "client_cert": str(etcd.client_cert)
        }  # fmt: skip
        self.first, self.second = acquire(folder / "a"), acquire(folder / "b")

    def ask[R: CommandResult](self, writer: StoreWriter, request: CommandRequest[R]) -> R:
        return perform(writer, request)

    def invite(self, node: str) -> str:
        return self.ask(self.first, InviteNodeRequest(self.section, str(self.folder), node)).text

    def engine(self) -> Engine:
        return open_engine(ClusterSettings.model_validate(self.section), self.folder)

    def close(self) -> None:
        self.first.close()
        self.second.close()


def put_records_of_every_class(engine: Engine, ring: KeyRing) -> None:
    """Also those that no part of the program writes yet."""
    paths, sealer = ClusterPaths(ring.cluster), KeyRingSealer(ring)
    parts = {Shelf.COUNTER: ("ca", "x"), Shelf.ADMIN: ("user", "anna"), Shelf.SAID: ("edge-a", SITE), Shelf.ACME: ()}
    for shelf, record_class in CLASSES.items():
        if shelf in (Shelf.META, Shelf.MEMBER, Shelf.LIVE, Shelf.SITE, Shelf.HEAD, Shelf.PREV):
            continue
        words = ("t" * 43,) if shelf is Shelf.TOKEN else parts.get(shelf, ("x",))
        path = paths.of(shelf, *words)
        plaintext = f"{AUTHORIZATION} {HASH} {CONTACT} {ACCOUNT}".encode()
        engine.commit([ModifiedAt(path, 0)], [Put(path, sealer.seal(path, 1, record_class, plaintext))])
    path = paths.live("edge-a")
    engine.commit([ModifiedAt(path, 0)], [Put(path, sealer.seal_live(path, 1, CONTACT.encode()))])


def live_a_while(machines: Machines) -> tuple[list[Issued], list[bytes]]:
    """Everything that a cluster does with secrets. Returns the certificates and all other secrets, in all forms."""
    ca = CertificateAuthority()
    issued = [ca.issue(SITE), ca.issue(SITE, key_type="rsa2048"), ca.issue(SITE)]
    first, base = machines.first, str(machines.folder)
    first.add_site(SITE, SiteSettings(host=SITE, contact=(CONTACT,)))
    for files in (issued[:2], issued[2:]):
        first.install_files(SITE, [DroppedFile("a.pem", each.combined_pem) for each in files], source="upload")
    machines.ask(first, InitClusterRequest(machines.section, base, "edge-a"))
    ring = read_keys(first.layout.cluster_keys)
    texts = [machines.invite("edge-b"), machines.invite("edge-unused")]
    machines.ask(machines.second, JoinClusterRequest(machines.section, base, texts[0]))
    other = read_keys(machines.second.layout.cluster_keys)
    engine = machines.engine()
    put_records_of_every_class(engine, ring)
    engine.close()
    main_key = (first.layout.live("main") / "privkey.pem").read_bytes()
    assert (machines.second.layout.live("main") / "privkey.pem").read_bytes() == main_key, "it has gone over the engine"
    machines.ask(machines.second, LeaveClusterRequest(machines.section, base))
    secrets = [*forms_of_key(main_key), *forms_of_ring(ring), *forms_of_ring(other)]
    for text in texts:
        secrets += forms_of_secret(Invitation.from_text(text).key)
    for word in (CONTACT, HASH, AUTHORIZATION, AUTHORIZATION.partition(".")[2], ACCOUNT):
        secrets += [word.encode(), base64.b64encode(word.encode())[:-4]]
    return issued, secrets


@pytest.mark.peer
def test_the_files_of_the_engine_hold_no_secret(tmp_path: Path, etcd: Etcd) -> None:
    machines = Machines(tmp_path, etcd)
    try:
        issued, secrets = live_a_while(machines)
    finally:
        machines.close()
    etcd.stop()
    files = {path: path.read_bytes() for path in etcd.members[0].data.rglob("*") if path.is_file()}
    held = b"".join(files.values())
    assert SITE.encode() in held, "names of sites can be found, so what is searched is what was written"
    assert re.search(rb"/certedge/[0-9a-f]{16}/d/head/", held)
    assert held.count(b"CE1") > len(CLASSES)
    secrets += [form for each in issued for form in forms_of_key(each.privkey_pem)]
    assert len(secrets) > 80
    found = [number for number, secret in enumerate(secrets) if secret in held]
    assert not found, f"{len(found)} of {len(secrets)} secrets are in the engine's files"
    for words in (rb"PRIVATE KEY", rb"BEGIN CERTIFICATE", rb"argon2", rb'"privkey', rb"[\w.-]+@[\w.-]+\.test"):
        assert re.search(words, held) is None, words


@pytest.mark.peer
def test_what_is_searched_would_be_found(tmp_path: Path, etcd: Etcd) -> None:
    """The negative control: the same secrets, written without a seal."""
    key = CertificateAuthority().issue(SITE).privkey_pem
    machines = Machines(tmp_path, etcd)
    try:
        engine = machines.engine()
        engine.commit([ModifiedAt("/leak", 0)], [Put("/leak", key + CONTACT.encode())])
        engine.close()
    finally:
        machines.close()
    etcd.stop()
    held = b"".join(path.read_bytes() for path in etcd.members[0].data.rglob("*") if path.is_file())
    assert [line for line in forms_of_key(key) if line in held]
    assert re.search(rb"[\w.-]+@[\w.-]+\.test", held)
