"""Certificates that few CAs issue, made by the `openssl` program: odd keys, odd signatures, odd intermediates.

Every one is whole and signed as it should be; what differs is whether a TLS library serves it. Must not import the
product.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

NAME = "odd.test"

_SETTINGS = f"""
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, digitalSignature
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:{NAME}
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""

PSS = ("RSA-PSS", "rsa_keygen_bits:2048")


def pss(digest: str, salt: int) -> tuple[str, ...]:
    """An RSA-PSS key that may only sign with this hash and at least this salt (RFC 4055 §3.1)."""
    options = (f"rsa_pss_keygen_md:{digest}", f"rsa_pss_keygen_mgf1_md:{digest}", f"rsa_pss_keygen_saltlen:{salt}")
    return *PSS, *options


def ec(curve: str, encoding: str = "named_curve") -> tuple[str, ...]:
    return "EC", f"ec_paramgen_curve:{curve}", f"ec_param_enc:{encoding}"


def rsa(bits: int, *options: str) -> tuple[str, ...]:
    return "RSA", f"rsa_keygen_bits:{bits}", *options


@dataclass(frozen=True, slots=True)
class Odd:
    """`key` and `intermediate` are an algorithm and its options; `digest` signs the leaf, `ca_digest` the intermediate.
    `change` may spoil the finished files.
    """

    key: tuple[str, ...] = ec("P-256")
    intermediate: tuple[str, ...] = ec("P-256")
    digest: str = "sha256"
    ca_digest: str = "sha256"
    change: Callable[[dict[str, bytes]], dict[str, bytes]] = field(default=lambda files: files)


@functools.cache
def make(odd: Odd) -> dict[str, bytes]:
    """`fullchain.pem` and `privkey.pem`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "settings").write_text(_SETTINGS)
        _key(folder, "root", ec("P-256"))
        _run(folder, "req -x509 -new -key root.key -out root.pem -subj /CN=Root -config settings -extensions ca")
        _key(folder, "middle", odd.intermediate)
        _sign(folder, "middle", "root", "Middle", "ca", odd.ca_digest)
        _key(folder, "leaf", odd.key)
        _sign(folder, "leaf", "middle", NAME, "leaf", odd.digest)
        chain = (folder / "leaf.pem").read_bytes() + (folder / "middle.pem").read_bytes()
        return odd.change({"fullchain.pem": chain, "privkey.pem": (folder / "leaf.key").read_bytes()})


def converted(key: bytes, command: str) -> bytes:
    """What `openssl COMMAND` makes of a key."""
    return subprocess.run(["openssl", *command.split()], input=key, capture_output=True, check=True).stdout


def _key(folder: Path, name: str, kind: tuple[str, ...]) -> None:
    algorithm, *options = kind
    chosen = " ".join(f"-pkeyopt {each}" for each in options)
    if algorithm == "DSA":
        _run(folder, f"genpkey -genparam -algorithm DSA {chosen} -out parameters")
        _run(folder, f"genpkey -paramfile parameters -out {name}.key")
    else:
        _run(folder, f"genpkey -algorithm {algorithm} {chosen} -out {name}.key")


def _sign(folder: Path, name: str, signer: str, subject: str, extensions: str, digest: str) -> None:
    # A key that can't sign has no request: the certificate is made for the signer's and gets this key instead.
    _run(folder, f"pkey -in {name}.key -pubout -out {name}.pub")
    _run(folder, f"req -new -key {signer}.key -out request -subj /CN={subject} -config settings")
    _run(
        folder,
        f"x509 -req -in request -CA {signer}.pem -CAkey {signer}.key -CAcreateserial -days 90 -{digest} "
        f"-force_pubkey {name}.pub -extfile settings -extensions {extensions} -out {name}.pem",
    )


def _run(folder: Path, command: str) -> None:
    ended = subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"openssl {command}: {ended.stderr}"
