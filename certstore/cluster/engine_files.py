"""Everything that an etcd of one to five members needs: its authority, certificates and settings, as files in memory.

Certificates have no CommonName: where etcd's authentication is on, its JSON gateway refuses every request whose client
certificate has one. Starts nothing and touches no disk.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SETTINGS = "etcd.default"
"""What becomes /etc/default/etcd, where Debian's unit reads the settings of a member."""
INSTALL = "install"
TLS_FOLDER = "/etc/etcd"
AUTHORITY = "engine-ca.pem"
AUTHORITY_KEY = "engine-ca-key.pem"
CLIENT = "engine.pem"
DATA_FOLDER = "/var/lib/etcd/certedge"
"""Not Debian's own: its package starts a single member there, which could not become one of several."""
_QUOTA_BYTES = 4 << 30
_LIFETIME = timedelta(days=3650)
# So that machines whose clock is behind accept it.
_BACKDATED = timedelta(days=1)
_INSTALL = """\
#!/bin/sh
# Puts the files beside this script where Debian's etcd reads them, and starts it. Run it as root on the member's
# machine, after: apt install etcd-server. With DESTDIR it only puts the files below that folder.
set -eu
cd "$(dirname "$0")"
root=${DESTDIR:-}
install -d -o root -g etcd -m 750 "$root/etc/etcd"
install -o root -g etcd -m 640 ca.pem member.pem member-key.pem "$root/etc/etcd/"
install -d "$root/etc/default"
install --backup=numbered -m 644 etcd.default "$root/etc/default/etcd"
if [ -z "$root" ]; then
    systemctl enable etcd
    # The first members wait for the others, so nobody waits for them here.
    systemctl restart --no-block etcd
fi
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the engine. `host` is an IP address, as etcd listens on no name."""

    name: str
    host: str
    client_port: int = 2379
    peer_port: int = 2380

    @property
    def endpoint(self) -> str:
        """What `cluster.engine` in edge.yaml lists."""
        return f"https://{self._written_host}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"https://{self._written_host}:{self.peer_port}"

    @property
    def _written_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


class BadMembers(ValueError):
    """The members can't form an engine; the message says why."""


def parse_members(text: str) -> tuple[Member, ...]:
    """`edge-a=10.0.0.11,edge-b=10.0.0.12,…`; raises BadMembers."""
    members = []
    for part in text.split(","):
        name, equals, host = part.strip().partition("=")
        try:
            address = str(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            address = ""
        if not equals or not name or not name.isascii() or not name.replace("-", "").isalnum() or not address:
            raise BadMembers(f"{part.strip()!r}: expected NAME=ADDRESS, for example edge-a=10.0.0.11")
        members.append(Member(name, address))
    if len({member.name for member in members}) < len(members) or len({each.host for each in members}) < len(members):
        raise BadMembers("two members have the same name or address")
    if len(members) not in (1, 3, 5):
        raise BadMembers(
            f"{len(members)} members: use 3 or 5 (or 1, which stops when its machine does). An even number tolerates "
            "no more failures than the odd one below it; with two edges, any small machine can be the third member"
        )
    return tuple(members)


class Authority:
    """Issues the certificates of one engine."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "certedge cluster engine")])
        self._certificate = (
            _builder(self._key.public_key(), name, name, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate_pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return _key_pem(self._key)

    def issue_member(self, host: str) -> tuple[bytes, bytes]:
        """Certificate and key, PEM. Members are clients of each other, and each gateway is one of its own member."""
        addresses = dict.fromkeys([host, "127.0.0.1", "::1"])
        names = [*(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses), x509.DNSName("localhost")]
        return self._issue([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], names)

    def issue_client(self, node: str) -> tuple[bytes, bytes]:
        """Certificate and key, PEM. Its subject is empty: the node's name is only in the alternative names."""
        return self._issue([ExtendedKeyUsageOID.CLIENT_AUTH], [x509.DNSName(node)])

    def _issue(self, usages: Sequence[x509.ObjectIdentifier], names: Sequence[x509.GeneralName]) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(key.public_key(), x509.Name([]), self._certificate.subject, self._now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            # RFC 5280 §4.2.1.6: critical where the subject is empty.
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def engine_files(members: Sequence[Member], clients: Sequence[str], token: str, now: datetime) -> Mapping[str, bytes]:
    """Relative paths and contents: the authority, a folder for each member's machine, a credential for each node.

    `token` tells this engine from others on the same network; it is not a secret, but most of the files are.
    """
    authority = Authority(now)
    files = {AUTHORITY: authority.certificate_pem, AUTHORITY_KEY: authority.key_pem}
    for member in members:
        certificate, key = authority.issue_member(member.host)
        root = f"members/{member.name}"
        files[f"{root}/ca.pem"] = authority.certificate_pem
        files[f"{root}/member.pem"] = certificate
        files[f"{root}/member-key.pem"] = key
        files[f"{root}/{SETTINGS}"] = settings_text(member, members, token).encode()
        files[f"{root}/{INSTALL}"] = _INSTALL.encode()
    for node in clients:
        certificate, key = authority.issue_client(node)
        files[f"nodes/{node}/{AUTHORITY}"] = authority.certificate_pem
        files[f"nodes/{node}/{CLIENT}"] = key + certificate
    return files


def settings_text(member: Member, members: Sequence[Member], token: str) -> str:
    """The member's /etc/default/etcd."""
    lines = [f"# Member {member.name} of the engine of a certedge cluster.", *_assignments(member, members, token)]
    return "\n".join(lines) + "\n"


def _assignments(member: Member, members: Sequence[Member], token: str) -> list[str]:
    everyone = ",".join(f"{each.name}={each.peer_url}" for each in members)
    local = f",https://127.0.0.1:{member.client_port}" if member.host != "127.0.0.1" else ""
    values = {
        "NAME": member.name,
        "DATA_DIR": DATA_FOLDER,
        "LISTEN_CLIENT_URLS": member.endpoint + local,
        "ADVERTISE_CLIENT_URLS": member.endpoint,
        "LISTEN_PEER_URLS": member.peer_url,
        "INITIAL_ADVERTISE_PEER_URLS": member.peer_url,
        "INITIAL_CLUSTER": everyone,
        "INITIAL_CLUSTER_TOKEN": token,
        "INITIAL_CLUSTER_STATE": "new",
        "CLIENT_CERT_AUTH": "true",
        "TRUSTED_CA_FILE": f"{TLS_FOLDER}/ca.pem",
        "CERT_FILE": f"{TLS_FOLDER}/member.pem",
        "KEY_FILE": f"{TLS_FOLDER}/member-key.pem",
        "PEER_CLIENT_CERT_AUTH": "true",
        "PEER_TRUSTED_CA_FILE": f"{TLS_FOLDER}/ca.pem",
        "PEER_CERT_FILE": f"{TLS_FOLDER}/member.pem",
        "PEER_KEY_FILE": f"{TLS_FOLDER}/member-key.pem",
        # A day of history: a node that was away for longer reads everything again.
        "AUTO_COMPACTION_MODE": "periodic",
        "AUTO_COMPACTION_RETENTION": "24h",
        # A member that comes back after a cut does not depose the leader.
        "PRE_VOTE": "true",
        "QUOTA_BACKEND_BYTES": str(_QUOTA_BYTES),
    }
    return [f'ETCD_{name}="{value}"' for name, value in values.items()]


def _builder(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
